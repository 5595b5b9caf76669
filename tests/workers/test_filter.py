"""The filter as a pass rate: several attempts, and a band of what is kept."""

from pathlib import Path

import pytest

import weak2wise
from tests.api.runs import config_at, questions
from tests.contexts import PROMPTS
from tests.engine_runs import lines
from tests.loopback import LoopbackProcess
from weak2wise.config import Params
from weak2wise.errors import ConfigError
from weak2wise.llm.model import Completion, Prompt
from weak2wise.process_pool import KillablePool
from weak2wise.worker import Drop
from workers import output_lines
from workers.filter import Filter
from workers.judge import Judge
from workers.records import Asked, Question, Unsolved

ASKED = Asked(question=Question(row=3, id=None, text="2 + 3?", answer="5"))


class Tries:
    """A weak LLM whose attempts succeed by their number."""

    def __init__(self, *right: bool) -> None:
        self.right = right
        self.asked: list[Prompt] = []

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.asked.append(prompt)
        return Completion(text=f"{'So ' * prompt.sample}it is \\boxed{{{5 if self.right[prompt.sample] else 7}}}")


async def filtered(weak: Tries, **params: object) -> Unsolved | Drop:
    given = Params(filter_attempts=len(weak.right), **params)  # type: ignore[arg-type]
    return await Filter(weak, Judge(prompts=PROMPTS, pool=KillablePool(), mode="rule"), given)(ASKED)


@pytest.mark.parametrize(
    ("band", "kept"),
    [
        ((0.0, 0.75), ["kept", "kept", "kept", "kept", "weak_solves"]),
        ((0.0, 0.0), ["kept", *["weak_solves"] * 4]),
        ((0.25, 0.5), ["too_hard", "kept", "kept", "weak_solves", "weak_solves"]),
        ((0.0, 1.0), ["kept"] * 5),
    ],
)
async def test_a_question_is_kept_if_its_pass_rate_is_in_the_band(band: tuple[float, float], kept: list[str]) -> None:
    for solved in range(5):
        found = await filtered(Tries(*(at < solved for at in range(4))), filter_band=band)
        assert (found.reason if isinstance(found, Drop) else "kept") == kept[solved]
        if isinstance(found, Unsolved):
            assert found.pass_rate == solved / 4
            assert next(output_lines.s_prime(found))["pass_rate"] == solved / 4


@pytest.mark.parametrize("band", [(1 / 3, 1 / 3), (0.3, 0.34)])
async def test_thirds_are_compared_as_the_decimals_that_are_written(band: tuple[float, float]) -> None:
    """0.3333333333333333 is less than a third."""
    found = await filtered(Tries(True, False, False), filter_band=(band[0], 0.5))
    assert isinstance(found, Unsolved)


async def test_the_first_failed_attempt_is_the_one_that_is_shown() -> None:
    found = await filtered(Tries(True, False, False))
    assert isinstance(found, Unsolved)
    assert found.weak_attempt == "So it is \\boxed{7}"


async def test_one_attempt_is_asked_and_written_as_ever() -> None:
    """The same prompt as before there were several, so a journal of then still has the answer."""
    one, four = Tries(False), Tries(*[False] * 4)
    found = await filtered(one)
    await filtered(four)
    assert one.asked[0] == four.asked[0]
    assert one.asked[0].sample == 0
    assert len({prompt.seed for prompt in four.asked}) == 4
    assert isinstance(found, Unsolved)
    assert list(next(output_lines.s_prime(found))) == ["row", "question", "answer", "weak_attempt"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"filter_band": (0.5, 0.2)}, r"params\.filter_band: expected the lower share first"),
        ({"filter_band": (0.1, 0.9)}, r"params\.filter_band: 1 attempts have no share"),
        ({"filter_band": (0.0, 1.5)}, r"params\.filter_band"),
        ({"filter_attempts": 0}, r"params\.filter_attempts"),
    ],
)
def test_a_band_that_makes_no_sense_is_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Params(**keys)  # type: ignore[arg-type]


def test_a_run_with_several_attempts_names_the_reasons(tmp_path: Path, server: LoopbackProcess) -> None:
    params = weak2wise.Params(samples_per_model=1, n_mask=2, judge_mode="rule", filter_attempts=3)
    run = weak2wise.synthesize(questions(12), config_at(server.base_url, params=params), work_dir=tmp_path / "work")
    rates = [line["pass_rate"] for line in lines(tmp_path / "work" / "s_prime.jsonl")]
    assert rates
    assert set(rates) <= {0.0, 1 / 3, 2 / 3}
    assert set(run.totals.dropped) <= {"weak_solves"}
    other = weak2wise.Params(samples_per_model=1, n_mask=2, judge_mode="rule", filter_attempts=2)
    with pytest.raises(ConfigError, match=r"Changed since: params\.filter_attempts\."):
        weak2wise.synthesize(questions(12), config_at(server.base_url, params=other), work_dir=tmp_path / "work")
