"""Text from models and providers made safe to show and to keep."""


def plain(text: str) -> str:
    """The text on one line, with every control, format and direction character replaced by a space."""
    return "".join(c if c.isprintable() else " " for c in text)
