"""No text stops the service: whatever reads what a model, a provider or the input says takes linear time.

A search with a regular expression holds the interpreter's lock until it ends: the event loop, the page and the signals
wait for it, on whichever thread it runs.
"""

import gc
import time
from collections.abc import Iterator

import pytest

from tests.hostile.readers import READERS, Reader
from tests.hostile.shapes import SHAPES, Shape
from tests.hostile.uses import Ran, uses
from weak2wise.outputs.report.text import _mathml
from workers.answers.extract import bare_reference, find_final
from workers.answers.number import read_number
from workers.answers.respell import respelled
from workers.answers.text import clean

LONGEST = 300_000
GROWTH = 4
SIZES = [LONGEST // GROWTH**step for step in (4, 3, 2, 1, 0)]
SHORT = (12, 24, 48, 150, 600)
SHORT_SECONDS = 0.1
"""Even a pattern that reads only a few characters may take exponential time."""
FASTEST = 0.15e-6
"""Seconds a character that always pass, so that no clock has to measure microseconds: 45 ms for the longest text."""
ALLOWED = 2.5 * GROWTH
"""How many times longer a text of four times the length may take; quadratic time is 16 times longer."""
WINDOW = {
    "a text in the report": LONGEST // GROWTH**2,  # a formula may have 2,000 characters, a text shown 20,000
    "an answer in the report": LONGEST // GROWTH**2,
    **dict.fromkeys(("a text's own anchor", "a short anchor", "a fenced anchor"), LONGEST // GROWTH**3),  # 300 places
}
"""Readers that look ahead for so long at most, at each place: their time is linear only in longer texts."""

NOT_HOSTILE = {
    "weak2wise/commands/evaluate.py": "messages about the user's own command line",
    "weak2wise/commands/report.py": "the user's own command line",
    "weak2wise/commands/say.py": "the user's own command line",
    "weak2wise/config/openai_endpoint.py": "keys of the user's own config",
    "weak2wise/config/prices.py": "hours in the user's own config",
    "weak2wise/config/response.py": "a template in the user's own config",
    "weak2wise/config/section.py": "messages about the user's own config",
    "weak2wise/ledger/epochs.py": "names of files, of 255 bytes at most",
    "weak2wise/ledger/files.py": "names of files, of 255 bytes at most",
    "weak2wise/ledger/reading.py": "names of files, of 255 bytes at most",
    "weak2wise/llm/vllm/engine_log.py": "the last 16 KiB of the engine's log, each line matched from its start",
    "weak2wise/outputs/report/take.py": "the titles of charts, as we write them",
    "weak2wise/proof/evaluation_files.py": "the name of the user's own model",
    "weak2wise/run/garbage.py": "names of files, of 255 bytes at most",
    "workers/answers/algebra.py": "runs only in a process that can be killed",
}
"""Modules whose patterns see no text of others, or harmlessly."""


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def _forget() -> None:
    """Nothing is remembered that was read before."""
    for cached in (find_final, bare_reference, clean, read_number, respelled, _mathml):
        cached.cache_clear()


def _seconds(read: Reader, text: str) -> float:
    """CPU seconds of this process, whatever else the machine does."""
    _forget()
    began = time.process_time()
    read(text)
    return time.process_time() - began


def _superlinear(reader: str, shape: Shape) -> str:
    """Where the time grows faster than the text; empty if it does not."""
    read, (shortest, *longer) = READERS[reader], [size for size in SIZES if size >= WINDOW.get(reader, 0)]
    for size in SHORT:
        if (took := _seconds(read, shape(size))) > SHORT_SECONDS and _seconds(read, shape(size)) > SHORT_SECONDS:
            return f"{size} characters took {took:.3f} s"
    shorter, before = shape(shortest), _seconds(read, shape(shortest))
    for size in longer:
        text = shape(size)
        took = _seconds(read, text)
        for again in range(3):
            if again:  # something else may have slowed down only one of the two
                before, took = _seconds(read, shorter), _seconds(read, text)
            if took <= max(FASTEST * size, ALLOWED * before):
                break
        else:
            return f"{size:,} characters took {took:.3f} s, a quarter of them {before:.3f} s"
        shorter, before = text, took
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_time_grows_no_faster_than_the_text(reader: str) -> None:
    found = {name: slow for name, shape in SHAPES.items() if (slow := _superlinear(reader, shape))}
    assert not found


@pytest.mark.slow
def test_every_search_of_the_project_reads_the_hostile_texts() -> None:
    searches = [use for use in uses() if use.path not in NOT_HOSTILE]
    ran = Ran({use.path for use in searches})
    _forget()
    with ran.recording():
        for read in READERS.values():
            for shape in SHAPES.values():
                read(shape(150))
    assert sorted(str(use) for use in searches if not ran.has(use)) == []


@pytest.mark.slow
def test_no_module_is_excused_without_need() -> None:
    assert {use.path for use in uses()} >= NOT_HOSTILE.keys()
