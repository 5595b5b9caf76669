"""The frame of an HTML file that needs no network and no script: head, style, and cards."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from importlib.resources import files


def document(title: str, parts: Iterable[str]) -> Iterator[str]:
    """The whole file; ``title`` and ``parts`` are HTML."""
    style = files(__package__).joinpath("style.css").read_text("utf-8")
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hashed}'; "
        "base-uri 'none'; form-action 'none'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{title}</title><style>{style}</style></head><body>'
    )
    yield from parts
    yield "</body></html>\n"


def card(title: str, body: str, note: str = "") -> str:
    """A chart with its heading; all are HTML."""
    return f"<figure><figcaption><h2>{title}</h2>{f'<p>{note}</p>' if note else ''}</figcaption>{body}</figure>"
