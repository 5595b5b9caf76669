"""What a command says where an extra is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from weak2wise.errors import ConfigError


@contextmanager
def needing_ray() -> Iterator[None]:
    """Import in this what needs Ray. Raises ``ConfigError`` if it is not installed."""
    try:
        yield
    except ImportError as error:
        if error.name != "ray":
            raise
        raise ConfigError("--ray needs Ray: pip install '.[ray]' in weak2wise's folder") from None
