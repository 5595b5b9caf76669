"""Parses a provider's list of its models (``GET /models``)."""

from datetime import UTC, date, datetime
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.llm.http.odd_json import UNREADABLE


class _Model(Struct):
    id: str
    shutdown_date: Any = None


class _List(Struct):
    data: list[_Model]


_LIST = msgspec.json.Decoder(_List)


def parse_models(body: bytes) -> dict[str, date | None]:
    """Each model with the day on which it is switched off, if the list has it (OpenAI's does).

    Empty if it is no such list.
    """
    try:
        return {model.id: _day(model.shutdown_date) for model in _LIST.decode(body).data}
    except UNREADABLE:
        return {}


def _day(written: Any) -> date | None:
    """A day as a provider writes it: ISO, or seconds since 1970."""
    try:
        if isinstance(written, int | float):
            return datetime.fromtimestamp(written, UTC).date()
        return date.fromisoformat(written[:10])
    except (TypeError, ValueError, OverflowError, OSError):
        return None
