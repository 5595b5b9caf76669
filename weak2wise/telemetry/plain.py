"""Text from models and providers made safe to show and to keep."""

from collections.abc import Callable, Iterable


def plain(text: str) -> str:
    """The text on one line, with every control, format and direction character replaced by a space."""
    return "".join(c if c.isprintable() else " " for c in text)


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that removes these secrets from a text."""
    hidden = sorted(filter(None, secrets), key=len, reverse=True)  # longest first: one may be part of another

    def redact(text: str) -> str:
        for secret in hidden:
            text = text.replace(secret, "[redacted]")
        return text

    return redact
