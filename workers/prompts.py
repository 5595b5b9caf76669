"""The texts sent to models: the config's, else those that the run was begun with, else our defaults.

Placeholders are Python format fields, as in the reference: ``{question}`` is filled in, ``{{`` and ``}}`` are literal
braces. ``cgen`` has no placeholders and is sent as it stands.
"""

import string
from collections.abc import Mapping

from msgspec import Struct

from weak2wise.config import PromptTexts
from weak2wise.errors import ConfigError

CGEN = (
    "Explain how to get to this answer, one small step at a time. Begin every step with a line of its own that starts "
    "with '##' and names the step. The last of these lines must be '## Final Answer'."
)

PQR = """\
## Problem
{question}

## Hint
{step_reasoning}

The hint is an outline in which parts are left out. Work through the problem step by step and write your final answer \
as \\boxed{{answer}}."""

PJUDGE = """\
You check answers. Below are a question, somebody's attempt at it, and the correct answer. Decide whether the attempt \
arrives at the correct answer. Another form of the same value is correct. A number or a chosen option must agree \
without any doubt; where the correct answer is an argument, the attempt must be valid and come to the same conclusion.

## Question
{question}
## Attempt
{attempt}
## Correct Answer
{answer}

Give your reasons briefly. Then end with a line that holds one word only: Yes or No."""

PTRUNC = """\
Below are a reasoning process and the correct answer it arrives at. After it first derives that answer it may go on \
checking, doubting or starting over.

Copy the reasoning process word for word from its beginning up to the place where the correct answer is derived for \
the first time, and stop there. Change nothing and add nothing.

## Reasoning Process
{normal_reasoning}
## Correct Answer
{answer}"""

ANCHOR = """\
Below are a reasoning process and the correct answer it arrives at. After it first derives that answer it may go on \
checking, doubting or starting over.

Find the sentence in which the correct answer is derived for the first time. It is the last sentence worth keeping. \
Copy that one sentence word for word, with nothing before or after it.

## Reasoning Process
{normal_reasoning}
## Correct Answer
{answer}"""

FIRST_DEFAULTS: Mapping[str, str] = {"cgen": CGEN, "pqr": PQR, "pjudge": PJUDGE, "ptrunc": PTRUNC, "panchor": ANCHOR}
"""The defaults of work_dirs whose manifest has no texts. They never change."""
DEFAULTS: Mapping[str, str] = FIRST_DEFAULTS
"""The defaults of a run that begins now. A run that has begun keeps its own: its manifest has them."""
_NONE: Mapping[str, str] = {}


class Template(Struct, frozen=True):
    """A text with placeholders: literal pieces, each with the name of the field that follows it."""

    pieces: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, key: str, text: str, fields: tuple[str, ...]) -> "Template":
        """Read a prompt; every field must occur and no other may.

        Raises:
            ConfigError: naming the config key and the placeholder.
        """
        try:
            pieces = tuple((literal, field) for literal, field, _, _ in string.Formatter().parse(text))
        except ValueError as error:
            raise ConfigError(f"prompts.{key}: {error}; write literal braces as {{{{ and }}}}") from None
        names = [field for _, field in pieces if field is not None]
        for name in names:
            if name not in fields:
                raise ConfigError(
                    f"prompts.{key}: unknown placeholder {{{name}}}; expected {_listed(fields)}, and literal braces "
                    "written as {{ and }}"
                )
        for field in fields:
            if field not in names:
                raise ConfigError(f"prompts.{key}: the placeholder {{{field}}} is missing; expected {_listed(fields)}")
        return cls(pieces)

    def fill(self, **values: str) -> str:
        """The text with every placeholder filled; braces in values stay as they are."""
        return "".join(literal + ("" if field is None else values[field]) for literal, field in self.pieces)


def _listed(fields: tuple[str, ...]) -> str:
    return " and ".join(f"{{{field}}}" for field in fields)


class Prompts(Struct, frozen=True, kw_only=True):
    """All texts of a run, checked."""

    cgen: str
    pqr: Template
    pjudge: Template
    ptrunc: Template
    panchor: Template

    @classmethod
    def of(cls, texts: PromptTexts, begun: Mapping[str, str] = _NONE) -> "Prompts":
        """The config's prompts; for the others those that the run was ``begun`` with, else our defaults.

        Raises:
            ConfigError: a placeholder is missing or unknown.
        """

        def template(key: str, *fields: str) -> Template:
            return Template.parse(key, getattr(texts, key) or default[key], fields)

        default = {**DEFAULTS, **begun}
        return cls(
            cgen=texts.cgen or default["cgen"],
            pqr=template("pqr", "question", "step_reasoning"),
            pjudge=template("pjudge", "question", "attempt", "answer"),
            ptrunc=template("ptrunc", "normal_reasoning", "answer"),
            panchor=template("panchor", "normal_reasoning", "answer"),
        )

    def guided(self, question: str, hint: str) -> str:
        """Ask the weak LLM, with a masked trace as a hint."""
        return self.pqr.fill(question=question, step_reasoning=hint)

    def judge(self, question: str, attempt: str, answer: str) -> str:
        """Ask whether an attempt reaches the reference answer."""
        return self.pjudge.fill(question=question, attempt=attempt, answer=answer)

    def rewrite(self, normal: str, answer: str) -> str:
        """Ask for the reasoning up to where the answer is first derived."""
        return self.ptrunc.fill(normal_reasoning=normal, answer=answer)

    def anchor(self, normal: str, answer: str) -> str:
        """Ask for the last sentence to keep, word for word."""
        return self.panchor.fill(normal_reasoning=normal, answer=answer)
