"""``python -m weak2wise.engine``: the same as ``python -m weak2wise``."""

from weak2wise.__main__ import main

if __name__ == "__main__":
    main()
