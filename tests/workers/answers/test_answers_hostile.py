"""Hostile text: the quick tier stays quick, the parsing tier ends at its limit, and neither says Yes."""

import asyncio
import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from tests.workers.answers.cases import HOSTILE, PIECES, YES
from weak2wise.process_pool import KillablePool, PoolTimeout
from workers.answers import final_answer, in_brief, normalised, quick_verdict, verdict, warm_up, worth_parsing


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_cheap_tier_is_quick_on_hostile_text(text: str) -> None:
    """Everything that runs in the engine's own process is linear in its input: the time-out would show it."""
    assert quick_verdict(text, "7") is not YES
    assert quick_verdict(text, "7", cut_off=True) is not YES
    assert quick_verdict("The answer is 7.", text) is not YES
    in_brief(text)
    worth_parsing(text, "7")
    final_answer(text)
    normalised(text)


@pytest.mark.slow
async def test_hostile_mathematics_ends_within_the_limit_and_blocks_nothing() -> None:
    """Whatever the parser does with it, no verdict is Yes and an innocent neighbour gets its own."""
    async with KillablePool(workers=2, warm_up=warm_up) as pool:

        async def judged(text: str) -> bool | None:
            try:
                return await pool.run(verdict, text, r"\sqrt{7}", time_limit=3.0)
            except PoolTimeout:
                return None

        texts = [r"\boxed{10^{10^{10}}}", r"\boxed{9^{9^{9^{9}}}!}", HOSTILE["nested fractions"], HOSTILE["braces"]]
        *hostile, innocent = await asyncio.gather(*map(judged, [*texts, r"\boxed{\frac{7}{\sqrt{7}}}"]))
    assert YES not in hostile
    assert innocent is YES


def test_importing_the_rule_imports_no_computer_algebra() -> None:
    """The engine's process stays light; sympy lives in the workers."""
    code = "import sys, workers.judge, workers.truncate; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


mathematical = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@given(mathematical, mathematical)
def test_no_spelling_upsets_the_quick_tier(attempt: str, reference: str) -> None:
    assert quick_verdict(f"\\boxed{{{attempt}}}", reference) in {True, False, None}
    assert quick_verdict(attempt, reference) in {True, False, None}
