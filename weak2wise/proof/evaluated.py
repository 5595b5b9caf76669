"""What an evaluation asks for, and what it finds."""

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from weak2wise.config.section import Count, Name, Natural, Section, Temperature
from weak2wise.errors import ConfigError
from weak2wise.statistics import Estimate, mean, proportion
from workers.prompts import Template
from workers.records import Question

PROMPT = """\
{question}

Work through the problem step by step and write your final answer as \\boxed{{answer}}."""
"""The default; it fits a model that was never trained on our layout as well as one that was."""

UNSURE = frozenset({"rule_unsure", "llm_unclear"})
"""What decided a verdict that is a No only because nothing was sure of a Yes."""


class EvaluateSettings(Section, frozen=True, kw_only=True):
    """How held-out questions are asked.

    ``samples`` answers to each question; ``max_new_tokens``: the most tokens of one, thinking included, if not the
    endpoint's; ``prompt``: the text that is sent, with ``{question}`` in it and literal braces doubled, as in the
    config's prompts; ``limit``: only the first questions.
    """

    section = "evaluate"

    samples: Annotated[int, Meta(ge=1, le=10_000)] = 4
    temperature: Temperature = 0.6
    max_new_tokens: Count | None = None
    prompt: Name = PROMPT
    seed: Natural = 0
    limit: Count | None = None

    def __post_init__(self) -> None:
        """Check each key, then the prompt, and that samples can differ. Raises ``ConfigError``."""
        super().__post_init__()
        self.template()
        if self.samples > 1 and not self.temperature:
            raise ConfigError("evaluate.temperature: 0 makes all samples of a question the same; ask for one sample")

    def template(self) -> Template:
        """The prompt, ready to be filled. Raises ``ConfigError``."""
        try:
            return Template.parse("prompt", self.prompt, ("question",))
        except ConfigError as error:
            raise ConfigError(str(error).replace("prompts.prompt", "evaluate.prompt", 1)) from None


class Sample(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer to one question.

    ``strict``: finished, in a format that can be asked for (``workers.answers.strict``), and correct by the rule alone.
    ``flexible``: correct as a run would judge it. ``by``: what decided the latter (``workers.judge.Verdict``).
    ``finish_reason``: why it ended, as in the journal. ``tokens``: its length, thinking included. ``text``: without the
    thinking, which the journal has.
    """

    strict: bool
    flexible: bool
    by: str
    finish_reason: str | None
    tokens: int
    text: str
    cut_off: bool = False


class Answered(Struct, frozen=True, kw_only=True):
    """A held-out question and its samples, in order: the record of the evaluation's one step."""

    question: Question
    samples: tuple[Sample, ...]

    @property
    def row(self) -> int:
        """The input line that the question came from."""
        return self.question.row

    @property
    def id(self) -> str | None:
        """The input's own name for the question."""
        return self.question.id

    @property
    def title(self) -> str:
        """The question's text."""
        return self.question.text


class QuestionResult(Struct, frozen=True, kw_only=True):
    """The verdicts on one question, in the order of its samples."""

    row: int
    id: str | None
    strict: list[bool]
    flexible: list[bool]
    unsure: list[bool]
    finish_reasons: list[str | None]
    cut_off: list[bool]
    tokens: list[int]

    @classmethod
    def of(cls, answered: Answered) -> "QuestionResult":
        """Without the texts."""
        samples = answered.samples
        return cls(
            row=answered.row,
            id=answered.id,
            strict=[sample.strict for sample in samples],
            flexible=[sample.flexible for sample in samples],
            unsure=[sample.by in UNSURE for sample in samples],
            finish_reasons=[sample.finish_reason for sample in samples],
            cut_off=[sample.cut_off for sample in samples],
            tokens=[sample.tokens for sample in samples],
        )


class Evaluated(Struct, frozen=True, kw_only=True):
    """An evaluation that got to its end; ``evaluated.json``.

    Attributes:
        name: of the model, for tables: its folder's name, or its endpoint's.
        model: its folder, or the name that its provider has for it.
        folder: what the evaluation has written.
        settings: how it was asked.
        strict: pass@1 by the strict reading.
        flexible: pass@1 by the flexible one.
        unfinished: share of samples that a token limit or a repetition ended.
        unsure: share of samples that are not counted as correct only because neither rule nor judge was sure.
        tokens: mean length of a sample; ``None`` with one question, whose spread is unknown.
        deciders: flexible verdicts by what decided them.
        training_input: the questions that the held-out ones were compared with; ``None`` if none were known.
        left_out: rows of held-out questions that are in the training input too, and were not asked.
        similar: rows that were asked, and share 13 words in a row with a question of the training input.
        failed: questions that could not be asked; they are in no figure. Unreadable rows are among them.
        seconds: of asking, in the start that ended it.
        tokens_per_second: generated in that time.
        questions: each one's verdicts, by row.
    """

    version: int = 1
    name: str
    model: str
    folder: str
    settings: EvaluateSettings
    strict: Estimate
    flexible: Estimate
    unfinished: Estimate
    unsure: Estimate
    tokens: Estimate | None
    deciders: dict[str, int]
    training_input: str | None
    left_out: list[int]
    similar: list[int]
    failed: int
    seconds: float
    tokens_per_second: float
    questions: list[QuestionResult]


Verdicts = Literal["strict", "flexible", "unsure", "cut_off"]


def clusters_of(questions: Iterable[QuestionResult], verdicts: Verdicts) -> list[list[float]]:
    """One kind of verdict as numbers, 1.0 for yes, by question: clusters, as ``weak2wise.statistics`` takes them."""
    return [[float(verdict) for verdict in getattr(one, verdicts)] for one in questions]


def share(questions: Iterable[QuestionResult], verdicts: Verdicts) -> Estimate:
    """The share of samples with a verdict; of ``strict`` or ``flexible`` it is pass@1. There must be a question."""
    return proportion(clusters_of(questions, verdicts))


def mean_length(questions: Iterable[QuestionResult]) -> Estimate | None:
    """Mean tokens of a sample; ``None`` for fewer than two questions."""
    lengths = [[float(tokens) for tokens in one.tokens] for one in questions]
    return mean(lengths) if len(lengths) > 1 else None
