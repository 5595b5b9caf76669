"""Prices that depend on the hour: which hours are meant, in the provider's zone, and when they end."""

from datetime import UTC, datetime
from typing import Any

import pytest

from weak2wise.config.prices import OffPeak
from weak2wise.errors import ConfigError

DEEPSEEK = OffPeak(factor=0.5, peak=("mon-fri 01:00-04:00", "mon-fri 06:00-10:00"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "factor"),
    [
        ("2026-11-27 00:59:59", 0.5),  # a Friday
        ("2026-11-27 01:00:00", 1.0),
        ("2026-11-27 03:59:59", 1.0),
        ("2026-11-27 04:00:00", 0.5),
        ("2026-11-27 09:59:59", 1.0),
        ("2026-11-28 02:00:00", 0.5),
        ("2026-11-30 02:00:00", 1.0),
    ],
)
def test_the_minute_at_which_a_call_is_sent_decides_its_price(when: str, factor: float) -> None:
    assert DEEPSEEK.factor_at(at(when)) == factor


@pytest.mark.parametrize(
    ("keys", "when", "ends"),
    [
        ({"peak": ("mon-fri 01:00-04:00",)}, "2026-11-27 02:30:12", "2026-11-27 04:00"),
        ({"peak": ("mon-fri 01:00-04:00",)}, "2026-11-27 04:00:00", None),
        ({"peak": ("01:00-04:00", "04:00-05:30")}, "2026-11-27 02:30:00", "2026-11-27 05:30"),
        ({"peak": ("22:00-02:00",)}, "2026-11-27 23:10:00", "2026-11-28 02:00"),
        ({"peak": ("sun 22:00-02:00",)}, "2026-11-30 00:30:00", "2026-11-30 02:00"),  # into Monday
        ({"peak": ("fri-mon 08:00-09:00",)}, "2026-11-29 08:15:00", "2026-11-29 09:00"),
        ({"peak": ("fri-mon 08:00-09:00",)}, "2026-12-01 08:15:00", None),
        ({"peak": ("00:00-24:00",), "days": None}, "2026-11-27 02:00:00", "never"),
        ({"peak": ("09:00-12:00",), "zone": "Asia/Shanghai"}, "2026-11-27 01:30:00", "2026-11-27 04:00"),
        ({"peak": ("09:00-12:00",), "zone": "Asia/Kolkata"}, "2026-11-27 03:29:00", None),
        ({"peak": ("09:00-12:00",), "zone": "Asia/Kolkata"}, "2026-11-27 03:30:00", "2026-11-27 06:30"),
    ],
)
def test_peak_hours_end_by_the_clock_of_their_zone(keys: dict[str, Any], when: str, ends: str | None) -> None:
    if ends == "never":
        with pytest.raises(ConfigError, match="leave some of the week off-peak"):
            OffPeak(factor=0.5, peak=keys["peak"])
        return
    assert OffPeak(factor=0.5, **keys).ends(at(when)) == (None if ends is None else at(ends))


def test_the_share_of_the_week_that_is_off_peak_counts_every_minute_once() -> None:
    assert DEEPSEEK.share == pytest.approx(1 - 5 * 7 / (7 * 24))
    assert OffPeak(factor=0.5, peak=("00:00-12:00", "06:00-12:00")).share == 0.5


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"zone": "Mars/Olympus"}, "off_peak.zone: Mars/Olympus: no such time zone"),
        ({"zone": "../etc/passwd"}, "off_peak.zone: ../etc/passwd: no such time zone"),
        ({"zone": "Asia"}, "off_peak.zone: Asia: no such time zone"),
        ({"peak": ("9-12",)}, "off_peak.peak: expected hours such as mon-fri 01:00-04:00, found '9-12'"),
        ({"peak": ("mo-fr 01:00-02:00",)}, "off_peak.peak: expected hours"),
        ({"peak": ("01:00-25:00",)}, "off_peak.peak: expected hours"),
        ({"peak": ("01:60-02:00",)}, "off_peak.peak: expected hours"),
        ({"peak": ()}, "off_peak.peak: "),
        ({"factor": 0.0}, "off_peak.factor: "),
        ({"factor": 1.5}, "off_peak.factor: "),
    ],
)
def test_hours_that_mean_nothing_are_refused_with_their_key(keys: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"factor": 0.5, "peak": ("01:00-04:00",)} | keys
    with pytest.raises(ConfigError) as caught:
        OffPeak(**given)
    assert f"model_endpoints.*.prices.{says}" in str(caught.value)
