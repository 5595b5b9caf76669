"""What a work_dir of version 171ecf7 holds is written today in the same bytes: manifest, journal keys, ledger lines.

Today a line begins with a checksum; behind it, the bytes are the same.

The files in ``tests/data/golden`` were written by that commit from ``config.yaml`` and the records below;
``checksums.json`` has the checksums of their lines, as the first version that wrote any computed them. A test that
fails here means that users' work_dirs could not be resumed, or that their answers would be paid for again: change
the code, not the file.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from weak2wise.config import Config, load_config
from weak2wise.config.shape import result_shape
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, Outcome
from weak2wise.llm.call import Call, calling
from weak2wise.llm.journal import Answer, Journal, Journaled
from weak2wise.llm.model import Completion, Message, Prompt, Usage
from workers.method import METHOD, step_named
from workers.prompts import Prompts
from workers.records import Candidate, Golden, Question, Score, Scored, SftRow, Traced, Unsolved

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
LIMITS: dict[str, Any] = {"max_bytes": 1 << 20, "fsync_seconds": 0.01}

QUESTION = Question(row=3, id="q-3", text='Größe of x\u2028in 2 < x?\n\t"quoted" \\boxed{} 🙂', answer="x = 4")
BARE = Question(row=4, id=None, text="What is 1 + 1?", answer="2")
OWN = Candidate(
    m_strong="remote",
    sample=0,
    step_reasoning="## Step 1\nAdd.\n\n## Final Answer\n2",
    step_list=("## Step 1\nAdd.", "## Final Answer\n2"),
    normal="Let me think. 1 + 1 = 2.",
    normal_is_own=True,
)
MARKED = Candidate(
    m_strong="plain",
    sample=1,
    step_reasoning="2",
    step_list=("2",),
    normal="2",
    normal_is_own=False,
    marks=("length", "no_final_answer", "unfaithful"),
)
PROVEN = Score(score=0.6, s_list=(1, 1, 0), savg=2 / 3, sew=0.123456789)
BOUND = Score(score=1e-05, s_list=(0, None, None), savg=0.0, sew=0.0, is_bound=True)
FAILED = Failed(
    row=7,
    stage="generate",
    kind="content_filter",
    message="strong-b: withheld",
    endpoint="strong-b",
    attempts=4,
    title="Größe?",
    trials=2,
    id="q-7",
)
OUTCOMES: dict[str, list[Outcome[Any]]] = {
    "input": [Failed(row=2, stage="input", kind="not_json", message="line 2: not JSON")],
    "filter": [
        Done(3, Unsolved(question=QUESTION, weak_attempt="\\boxed{5}"), 1.25),
        Done(4, Unsolved(question=BARE, weak_attempt=None)),
        Dropped(5, "weak_solves"),
    ],
    "generate": [Done(4, Traced(question=BARE, candidates=(OWN, MARKED)), 0.001), FAILED],
    "stepmask": [Done(4, Scored(question=BARE, candidates=(OWN, MARKED), scores=(PROVEN, BOUND)), 12.0)],
    "select": [Done(4, Golden(question=BARE, winner=OWN, score=PROVEN, truncated="1 + 1 = 2.", cut_by="anchor"), 0.5)],
    "sft": [Done(3, SftRow(question=QUESTION, prompt=QUESTION.text, response="<think> 4 </think>"), 0.0)],
}
"""By ledger, what it is given to write."""

PROMPTS = (
    Prompt(messages=(Message("user", QUESTION.text),), temperature=0.0, seed=5),
    Prompt(
        messages=(Message("system", "s"), Message("user", "u"), Message("assistant", "a")),
        temperature=0.6,
        seed=2**31 - 1,
        sample=2,
    ),
)
COMPLETIONS = (
    Completion(text="\\boxed{4}"),
    Completion(
        text="", reasoning="Grübeln.", finish_reason="length", usage=Usage(10, 20, cached_tokens=4, estimated=True)
    ),
)


class Recorded:
    """A model that has one answer to each prompt."""

    async def complete(self, prompt: Prompt, /) -> Completion:
        return COMPLETIONS[PROMPTS.index(prompt)]


@pytest.fixture
def config() -> Config:
    """A config in which nearly every option is set."""
    return load_config(GOLDEN / "config.yaml", env={"GOLDEN_KEY": "secret"})


def with_checksums(name: str) -> bytes:
    """A golden file's lines as they are written today: each begins with its checksum, of the bytes that follow."""
    checksums = msgspec.json.decode((GOLDEN / "checksums.json").read_bytes(), type=dict[str, list[str]])[name]
    old = (GOLDEN / name).read_bytes().splitlines(keepends=True)
    return b"".join(
        b'{"xxh64":"%s",' % checksum.encode() + line[1:] for checksum, line in zip(checksums, old, strict=True)
    )


class Silent:
    """A model that must not be asked."""

    async def complete(self, _prompt: Prompt, /) -> Completion:
        raise AssertionError("asked")


def test_the_manifest_still_names_the_same_settings(config: Config) -> None:
    """A new key may come in addition; whether an old work_dir then still goes on is ``test_old_work_dir``'s to say."""
    shape = result_shape(config, msgspec.to_builtins(Prompts.of(config.prompts)))
    expected = msgspec.json.decode((GOLDEN / "shape.json").read_bytes())
    assert {key: shape.get(key, "missing") for key in expected} == expected
    assert "secret" not in msgspec.json.encode(shape).decode()


@pytest.mark.parametrize("name", ["local", "remote", "plain", "reference"])
def test_the_settings_in_a_journal_key_still_have_the_same_bytes(config: Config, name: str) -> None:
    """These bytes go into every key of the journal."""
    expected = msgspec.json.decode((GOLDEN / "answer_settings.json").read_bytes(), type=dict[str, msgspec.Raw])
    assert msgspec.json.encode(config.endpoints[name].answer_settings(), order="sorted") == bytes(expected[name])


async def test_a_journal_line_still_has_the_same_key_and_bytes(config: Config, tmp_path: Path) -> None:
    """Two prompts to each kind of endpoint, and an answer that could not be used."""
    journal = Journal(tmp_path, **LIMITS)
    journal.open(lambda _role: b"")
    for name, endpoint in config.endpoints.items():
        settings = endpoint.answer_settings()
        model = Journaled(
            Recorded(), journal, role=f"strong/{name}", endpoint=name, settings=settings, cost=lambda u: u.tokens / 1e6
        )
        for row, prompt in enumerate(PROMPTS, 3):
            with calling(Call(row=row)):
                await model.complete(prompt)
    await journal.record(Answer(9, "", "judge", "remote", Completion(text="", usage=Usage(7)), 0.25))
    await journal.close()
    assert (tmp_path / "journal" / "00000.jsonl").read_bytes() == with_checksums("journal.jsonl")


@pytest.mark.parametrize("step", OUTCOMES)
async def test_a_ledger_line_still_has_the_same_bytes_and_reads_back(step: str, tmp_path: Path) -> None:
    record = object if step == "input" else step_named(step).makes
    ledger: Ledger[Any] = Ledger(step, tmp_path, record, **LIMITS)
    ledger.open()
    for outcome in OUTCOMES[step]:
        await ledger.append(outcome)
    assert [ledger.read(outcome.row) for outcome in OUTCOMES[step]] == OUTCOMES[step]
    await ledger.close()
    assert (tmp_path / step / "00000.jsonl").read_bytes() == with_checksums(f"ledger-{step}.jsonl")


@pytest.mark.parametrize("step", OUTCOMES)
async def test_a_ledger_line_without_a_checksum_is_still_read_and_new_ones_follow_it(step: str, tmp_path: Path) -> None:
    record = object if step == "input" else step_named(step).makes
    (tmp_path / step).mkdir()
    old = (GOLDEN / f"ledger-{step}.jsonl").read_bytes()
    (tmp_path / step / "00000.jsonl").write_bytes(old)
    again = Failed(row=99, stage=step, kind="timeout", message="new")
    for _ in range(2):
        ledger: Ledger[Any] = Ledger(step, tmp_path, record, **LIMITS)
        ledger.open()
        assert [ledger.read(outcome.row) for outcome in OUTCOMES[step]] == OUTCOMES[step]
        await ledger.append(again)
        assert ledger.read(99) == again
        await ledger.close()
    mixed = (tmp_path / step / "00000.jsonl").read_bytes()
    assert mixed.startswith(old + b'{"xxh64":"')
    assert mixed.count(b"\n") == len(OUTCOMES[step]) + 2


async def test_an_answer_in_a_journal_without_checksums_is_still_found(config: Config, tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "00000.jsonl").write_bytes((GOLDEN / "journal.jsonl").read_bytes())
    journal = Journal(tmp_path, **LIMITS)
    journal.open(lambda _role: b"")
    for name, endpoint in config.endpoints.items():
        settings = endpoint.answer_settings()
        model = Journaled(Silent(), journal, role=f"strong/{name}", endpoint=name, settings=settings)
        for row, prompt in enumerate(PROMPTS, 3):
            with calling(Call(row=row)):
                assert await model.complete(prompt) == await Recorded().complete(prompt)
    await journal.close()


def test_every_step_of_the_method_has_a_golden_ledger() -> None:
    assert list(OUTCOMES) == ["input", *(step.name for step in METHOD)]
