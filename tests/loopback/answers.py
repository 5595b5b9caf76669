"""What the loopback models answer: pure functions of the request, so that an oracle can say the same without HTTP.

A model's role is told by how its name begins: ``weak``, ``strong``, ``judge``, ``trunc``; with one of each the whole
method runs end to end. Nothing is random: every choice is a hash of what was asked. Of the sampling parameters the seed
and the temperature count, as for a real model; at temperature 0 the seed does not. ``max_tokens`` is ignored.

Only questions made by ``make_question`` can be solved; to any other the weak model answers wrongly, while the strong
models, the judge and the truncation model work from the reference answer that their prompts hold.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Literal

from msgspec import Struct

Role = Literal["weak", "strong", "judge", "trunc"]
ReasoningKey = Literal["reasoning_content", "reasoning"]

ROLES: tuple[Role, ...] = ("weak", "strong", "judge", "trunc")
TO_BE_CONTINUED = "(to be continued...)"
SOLVE = 0.3
"""Default probability that the weak model solves a question by itself."""
TRACE_CHARS = 1500
"""Default length of the longest traces, in characters; the shortest have a fifth of it."""

_SUM = re.compile(r"What is (\d+) \+ (\d+)\?")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n|$")
_SECTION = re.compile(r"^## (Hint|Attempt|Reasoning Process|Correct Answer)[ \t]*$", re.MULTILINE)
_PREAMBLE = "I will explain how to get to this answer.\n\n"
_SUBTITLES = ("Read the problem", "Choose a way", "Set up the sum", "Add the parts", "Put it together", "Look it over")
_FILLER = tuple(
    sentence + "."
    for sentence in (
        "It helps to keep every part of the problem in view",
        "The order of the parts does not change the result",
        "Each part can be looked at by itself",
        "A careful look at the statement shows what is wanted",
        "Nothing else is given, so nothing else is needed",
        "The numbers are whole, which makes this easier",
        "It is a good habit to write the parts below each other",
        "A carry may come up and must not be forgotten",
        "First the small places, then the large ones",
        "An estimate tells roughly where the result must lie",
        "The estimate and the exact way should agree",
        "There is more than one way to go about this",
        "The plain way is long but hard to get wrong",
        "A shortcut would save little here",
        "Every place value has its own column",
        "Both parts are positive, so the result grows",
        "Breaking a part into rounder pieces is allowed",
        "The pieces must be put back together afterwards",
        "No unit is named, so none has to be converted",
        "The question asks for one value only",
        "A drawing on a number line would show the same",
        "One column at a time keeps mistakes away",
        "The result should be read back into the question",
    )
)


class Message(Struct, frozen=True):
    """One turn of the chat."""

    role: str
    content: str


class StreamOptions(Struct, frozen=True):
    """``stream_options`` of a request."""

    include_usage: bool = False


class Request(Struct, frozen=True):
    """The part of a request body that matters here; other keys are ignored."""

    model: str
    messages: tuple[Message, ...]
    temperature: float = 1.0
    seed: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What a model says; ``reasoning`` comes under ``reasoning_key``, inline thinking is part of ``content``."""

    content: str
    reasoning: str | None = None
    reasoning_key: ReasoningKey = "reasoning_content"
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0


def make_question(i: int) -> tuple[str, str]:
    """Question number ``i`` and its right answer; the same every time, different for every ``i``."""
    key = _hash("question", str(i))
    a, b = 100 + key % 900, 100 + key // 900 % 900
    return f"What is {a} + {b}? (item {i})", str(a + b)


def role_of(model: str) -> Role | None:
    """The role a model's name begins with; ``None`` for a model that does not exist."""
    return next((role for role in ROLES if model.startswith(role)), None)


def unit(*parts: str) -> float:
    """A number in [0, 1) decided by the parts alone."""
    return _hash(*parts) / 2**64


def answer_to(request: Request, *, solve: float = SOLVE, trace_chars: int = TRACE_CHARS) -> Answer:
    """Answer as the model that was asked would.

    Args:
        request: what was asked.
        solve: probability that the weak model solves a bare question.
        trace_chars: length of the longest strong traces, in characters.

    Raises:
        LookupError: there is no such model.
    """
    users = [m.content for m in request.messages if m.role == "user"]
    last = users[-1] if users else ""
    reasoning, key = None, "reasoning_content"
    match role_of(request.model):
        case "weak":
            content = _weak(request, last, solve, trace_chars)
        case "strong":
            content, reasoning = _strong(request, users, trace_chars)
            key = "reasoning" if request.model == "strong-b" else key
            if request.model == "strong-c":
                content, reasoning = f"<think>\n{reasoning}\n</think>\n\n{content}", None
            elif request.model == "strong-d":
                reasoning = None
        case "judge":
            content = _judge(last)
        case "trunc":
            content = _trunc(last)
        case None:
            raise LookupError(request.model)
    return Answer(
        content=content,
        reasoning=reasoning,
        reasoning_key="reasoning" if key == "reasoning" else "reasoning_content",
        prompt_tokens=sum(_tokens(m.content) + 4 for m in request.messages),
        completion_tokens=_tokens(content) + (_tokens(reasoning) if reasoning else 0),
    )


def first_derived(text: str, answer: str) -> tuple[int, int] | None:
    """The span of the first sentence that holds the answer, as offsets; ``None`` if no sentence does."""
    found = re.search(rf"(?<![\w.]){re.escape(answer)}(?!\w|\.\d)", text) if answer else None
    if found is None:
        return None
    start = max((end.end() for end in _SENTENCE_END.finditer(text, 0, found.start()) if end[0]), default=0)
    stop = _SENTENCE_END.search(text, found.end())
    assert stop is not None  # the end of the text is one
    return start + len(text[start:]) - len(text[start:].lstrip()), stop.end()


def _weak(request: Request, prompt: str, solve: float, trace_chars: int) -> str:
    """An attempt; the more of a hint is left, the likelier it is right."""
    hint_at = next((s.end() for s in _SECTION.finditer(prompt) if s[1] == "Hint"), None)
    if hint_at is None and TO_BE_CONTINUED not in prompt:
        chance, key = solve, unit("weak", prompt)
    else:
        left = len(prompt[hint_at or 0 :].replace(TO_BE_CONTINUED, ""))
        chance, key = left / (left + trace_chars / 4), unit("hinted", prompt, _draw(request))
    found = _SUM.search(prompt)
    right = int(found[1]) + int(found[2]) if found else -1
    number = right if found and key < chance else right + 1 + int(key * 9973) % 89
    return f"{_filler(key, 120)}\n\nPutting it together, the answer is \\boxed{{{number}}}."


def _strong(request: Request, users: list[str], trace_chars: int) -> tuple[str, str]:
    """The step-by-step content and the reasoning behind it."""
    question = users[0] if users else ""
    found = _SUM.search(question)
    given = [m.content for m in request.messages if m.role == "assistant"]
    answer = given[0].strip() if given else str(int(found[1]) + int(found[2])) if found else "unknown"
    derived = f"{found[1]} + {found[2]} = {answer}" if found else f"the answer is {answer}"
    draw = (request.model, question, answer, _draw(request))

    length = trace_chars * (0.2 + 0.8 * unit("reasoning", *draw))
    key = unit("filler", *draw)
    before = _filler(key, length * (0.4 + 0.2 * key) - 40)
    check = _filler(1 - key, length - len(before) - 180)
    reasoning = (
        f"Let me think about this. {before} So {derived}. Wait, let me check that once more. {check}"
        f"\n\nYes, I get {answer} again, so the final answer is {answer}."
    )

    length = trace_chars * (0.2 + 0.8 * unit("content", *draw))
    count = 2 + int(unit("steps", *draw) * 5)
    each = (length - 40 * count - 140) / count
    steps = [f"## Step {i + 1}: {_SUBTITLES[i]}\n{_filler(unit(*draw, str(i)), each)}" for i in range(count)]
    content = "\n\n".join(steps) + f" So {derived}.\n\n## Final Answer\nThe final answer is \\boxed{{{answer}}}."
    return (_PREAMBLE + content if key < 0.5 else content), reasoning


def _judge(prompt: str) -> str:
    """The verdict on an attempt: its last box, else its last number, against the correct answer."""
    attempt, correct = _last_two(prompt, "Attempt")
    boxes, numbers = _BOXED.findall(attempt), _NUMBER.findall(attempt)
    stated = boxes[-1] if boxes else numbers[-1] if numbers else attempt
    same = _plain(stated) == _plain(correct)
    said = f"The attempt ends with {stated.strip()[:80]}. The correct answer is {correct[:80]}."
    return f"{said}\nThe two {'agree' if same else 'differ'}.\n\n{'Yes' if same else 'No'}"


def _trunc(prompt: str) -> str:
    """The reasoning up to the first sentence with the answer, or only that sentence if a last sentence is asked for."""
    reasoning, correct = _last_two(prompt, "Reasoning Process")
    span = first_derived(reasoning, correct)
    if span is None:
        return reasoning
    asked_for_sentence = "last sentence" in prompt.replace(reasoning, "")
    return reasoning[span[0] : span[1]].rstrip() if asked_for_sentence else reasoning[: span[1]].rstrip()


def _last_two(prompt: str, section: str) -> tuple[str, str]:
    """The text under a heading and the first line under the last ``## Correct Answer``; other headings are text."""
    headings = list(_SECTION.finditer(prompt))
    first = next((h for h in headings if h[1] == section), None)
    last = next((h for h in reversed(headings) if h[1] == "Correct Answer"), None)
    if first is None or last is None or last.start() < first.end():
        return prompt.strip(), ""
    return prompt[first.end() : last.start()].strip(), prompt[last.end() :].strip().partition("\n")[0].strip()


def _plain(value: str) -> float | str:
    value = value.strip().strip("$").replace(",", "")
    try:
        return float(value)
    except ValueError:
        return value.casefold()


def _filler(key: float, chars: float) -> str:
    """Whole sentences without digits, at least one, of about so many characters together."""
    return " ".join(_sentences(int(key * 2**32), chars))


def _sentences(key: int, chars: float) -> Iterator[str]:
    count = len(_FILLER)  # a prime, so that every stride visits every sentence
    at, stride = key % count, 1 + key // count % (count - 1)
    while True:
        sentence = _FILLER[at]
        yield sentence
        chars -= len(sentence) + 1
        if chars < len(sentence) / 2:
            return
        at = (at + stride) % count


def _draw(request: Request) -> str:
    """What tells apart two draws of the same chat."""
    return "greedy" if request.temperature == 0 else f"{request.temperature:g}/{request.seed}"


def _tokens(text: str) -> int:
    return max(1, len(text) // 4)


def _hash(*parts: str) -> int:
    return int.from_bytes(blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=8).digest(), "big")
