"""How the response of a training row is put together, of the cut reasoning and the reference answer."""

import re

from msgspec import Struct

from weak2wise.errors import ConfigError

RESPONSES = {
    "reference": "<think> {trace} </think> {answer}",
    "think": "<think>\n{trace}\n</think>\n\n{answer}",
    "boxed": "<think>\n{trace}\n</think>\n\n\\boxed{answer}",
    "none": "{trace}\n\n{answer}",
}
"""Templates with a name: the reference's own; as models that think write it; the same with a boxed answer; no marks."""

_FIELDS = ("trace", "answer")
_BOXED = "\\boxed{answer}"
_PLACE = re.compile(r"(\\[A-Za-z]+)?\{([a-z_]+)\}")
"""A field in braces, with the LaTeX command before it, if any."""


class Response(Struct, frozen=True):
    """A template: literal pieces, each with the name of the field that follows it."""

    text: str
    pieces: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, given: str, key: str) -> "Response":
        r"""Read a template, or the name of one of ``RESPONSES``.

        ``{trace}`` and ``{answer}`` are fields, in ``\boxed{answer}`` with the braces kept. All else stays as it is.

        Raises:
            ConfigError: naming the key and what is wrong.
        """
        text = RESPONSES.get(given, given)
        for command, name in _PLACE.findall(text):
            if name not in _FIELDS and not command:
                raise ConfigError(f"{key}: unknown field {{{name}}}; expected {{trace}} and {{answer}}")
        parts = re.split(r"\{(trace|answer)\}", text.replace(_BOXED, "\\boxed{{answer}}"))
        if len(parts) == 1:
            named = ", ".join(RESPONSES)
            raise ConfigError(f"{key}: {given!r} has neither {{trace}} nor {{answer}}, and is not one of {named}")
        return cls(text, tuple(zip(parts[::2], [*parts[1::2], None], strict=True)))

    def fill(self, trace: str, answer: str) -> str:
        """The response. Both texts are stripped; what stands in them is never a field."""
        values = {"trace": trace.strip(), "answer": answer.strip()}
        return "".join(literal + ("" if field is None else values[field]) for literal, field in self.pieces)
