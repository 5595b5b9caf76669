"""Every way by which text of a model, a provider or the input enters code of ours that searches it.

Each reader takes the text whole, or puts it where a bounded part of it is read. Those of the parsing tier
(``workers.answers.algebra``) are missing: it runs in a process that can be killed.
"""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.config import Columns
from weak2wise.dataset.json_text import array
from weak2wise.dataset.raw import Written
from weak2wise.dataset.rows import parse_row
from weak2wise.ledger.reading import Damage
from weak2wise.llm.batch.requests_file import Asker
from weak2wise.llm.batch.results import read_result
from weak2wise.llm.errors import Transient
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.rate_limit_headers import remaining, retry_after
from weak2wise.llm.http.responses import parse_reply
from weak2wise.llm.http.stream import Stream
from weak2wise.llm.thinking import split_thinking
from weak2wise.outputs.history import read_history
from weak2wise.outputs.report import text as report
from weak2wise.outputs.report.traces import end_of_prefix
from weak2wise.run.repair import _lost
from weak2wise.telemetry.plain import plain
from weak2wise.telemetry.redaction import answer_redactor, message_redactor
from workers.answers import (
    bare_reference,
    first_sentence_with,
    in_brief,
    normalised,
    quick_verdict,
    worth_parsing,
)
from workers.answers.compare import quick_compare
from workers.answers.doubts import may_be_no_arithmetic, may_join_digits, with_braced_index, with_joined_digits
from workers.answers.extract import find_final, has_no_answer
from workers.answers.number import read_number
from workers.answers.text import LONGEST, clean, plain as plain_answer
from workers.decontaminate import Overlap, words
from workers.judge import yes_or_no
from workers.rules import RULES
from workers.scorers.masking import hint
from workers.scorers.votes import spelled_answer
from workers.signs import signs_of, tokens
from workers.trace_steps import split_steps, states_answer
from workers.truncate import _checked, anchor_end

_ANSWER = LONGEST - 20
"""Characters of a text that, with what is put around it, still counts as an answer."""
_NUMBER = 150
_SECRET = 100
_HEADER = 8000
"""A longer header is refused before we see it."""
_SECRETS = ["sk-aaaaaaaaaaaaaaaa", "1111111111111111"]
_REDACT, _REDACT_ANSWER = message_redactor(_SECRETS), answer_redactor(_SECRETS)
_REDACT_WORDS = message_redactor(["7", "not"])
_COLUMNS = Columns()

Reader = Callable[[str], Any]


def _reply(text: str) -> None:
    body = {"choices": [{"message": {"content": text, "reasoning_content": None}, "finish_reason": text}]}
    parse_reply(msgspec.json.encode(body), "strong")


def _streamed(text: str) -> None:
    stream = Stream("strong")
    with suppress(Transient):
        stream.feed(b"data: " + text.encode() + b"\n\n")


def _refused(text: str) -> None:
    details = [{"retryDelay": "1" + text}]
    error_for(429, msgspec.json.encode({"error": {"message": text, "code": text, "details": details}}), "strong")
    for status in (None, 400, 403, 429):
        said = {"message": f"try again in 1{text}", "code": text[:3]}
        error_for(status, msgspec.json.encode({"error": said}), "strong")


def _refused_by_code(status: int, code: str) -> Reader:
    return lambda text: error_for(status, msgspec.json.encode({"error": {"message": text, "code": code}}), "strong")


def _headers(text: str) -> None:
    text = text[:_HEADER]
    retry_after({"Retry-After": text, "Date": text})
    remaining({"x-ratelimit-remaining-tokens": "1", "x-ratelimit-reset-tokens": "1" + text}, "tokens")


def _row(text: str) -> None:
    for fields in ({"question": text, "answer": text, "id": text}, {text: text}):
        parse_row(Written(1, msgspec.json.encode(fields)), _COLUMNS)


def _file(begin: str) -> Reader:
    """Reads a file that the hostile text follows in."""

    def read(text: str) -> None:
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            file.write((begin + text).encode())
            file.flush()
            list(array(Path(file.name)))

    return read


def _logged(text: str) -> None:
    """Reads a run.log that holds the text outside of an event, and inside of one."""
    with tempfile.NamedTemporaryFile(suffix=".log") as file:
        for line in (
            text,
            f'{{"event": "progress", "message": {msgspec.json.encode(text).decode()}}}',
            '"event": ' + text,
        ):
            file.write(line.encode(errors="replace") + b"\n")
        file.flush()
        read_history(Path(file.name))


def _traced(text: str) -> None:
    hint(split_steps(f"## Read\n{text}\n## Final Answer\n7"), 1, 4)


def _anchored(text: str) -> None:
    """Reads a quote of half the text, and one that is nowhere, as the first may be found at once or late."""
    half = text[: len(text) // 2]
    anchor_end(text, half)
    anchor_end(text, half + "@")


def _computed(text: str) -> None:
    for read in (may_be_no_arithmetic, may_join_digits, with_braced_index, with_joined_digits):
        read(text[:_ANSWER])
        read(f"1, {text[:_ANSWER]}-")


def _boxed(text: str) -> Reader:
    """Reads an attempt whose box has the hostile text next to it and, cut to an answer's length, inside."""
    return lambda hostile: quick_verdict(text.format(hostile=hostile, inside=hostile[:_ANSWER]), "7")


def _compared(answer: str, reference: str) -> Reader:
    def read(hostile: str) -> None:
        inside = hostile[:_ANSWER]
        quick_compare(answer.replace("@", inside), reference.replace("@", inside))

    return read


def _located(reference: str) -> Reader:
    return lambda text: first_sentence_with(text, reference)


_PREFIX = "A first sentence. "


def _result(text: str) -> None:
    """A line of results, as a whole and in each of its parts."""
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    lines = (
        {"custom_id": text, "response": {"status_code": 200, "body": body}},
        {"custom_id": "c", "response": {"status_code": 400, "body": {"error": {"message": text, "code": text[:100]}}}},
        {"custom_id": "c", "error": {"message": text, "code": text[:100]}},
    )
    for line in (*map(msgspec.json.encode, lines), text.encode(errors="replace")):
        if read := read_result(line, "e"):
            Asker.of(read[0])


READERS: Mapping[str, Reader] = {
    "a line of a batch's results": _result,
    "a final answer": find_final,
    "a missing answer": has_no_answer,
    "an attempt in brief": in_brief,
    "a tagged answer": lambda text: find_final(f"{text}<answer>{text[:500]}</answer>"),
    "an answer to be computed": _computed,
    "a reference that is a solution": lambda text: bare_reference("#### " + text),
    "a box inside text": _boxed(r"{hostile} \boxed{{{inside}}} {hostile}"),
    "text before and after a box": _boxed(r"{hostile}\boxed{{5}}{hostile}"),
    "a box in brackets": _boxed(r"x = (\boxed{{5}}{hostile})"),
    "a box without braces": _boxed(r"\boxed {hostile}"),
    "a unit after a box": _boxed(r"\boxed{{5}} cm{hostile}"),
    "a marked unit after a box": _boxed(r"\boxed{{x}} \text{{cm}} {hostile}"),
    "a closing phrase": _boxed("so the answer is 5 because {hostile}"),
    "a closing phrase after text": _boxed("{hostile} the answer is {inside}."),
    "a cut-off attempt": lambda text: quick_verdict(text, "7", cut_off=True),
    "a hostile reference": lambda text: quick_verdict("\\boxed{5}\n\n" + "so " * 40 + "\n\n\\boxed{7}", text),
    "worth parsing": lambda text: worth_parsing("\\boxed{x^2}", text[:_ANSWER]),
    "an answer against a number": _compared("@", "7"),
    "an equation": _compared("x = @", "x = @1"),
    "a sum": _compared("@ + 1 = 7", "7"),
    "a based number": _compared("10_{2}", "@_3"),
    "an option's letter": _compared("(A) @", "(A)"),
    "an option against its text": _compared("A", "(A) @"),
    "words": _compared("x @", "y @"),
    "a question to compare with others": tokens,
    "an answer to compare with others": lambda text: signs_of([], text),
    "a number": lambda text: read_number("5 " + text[:_NUMBER]),
    "a number with a unit": lambda text: read_number(f"5 \\text{{ {text[:_NUMBER]} }}"),
    "a vote": spelled_answer,
    "a vote's spelling": lambda text: normalised(text[:_ANSWER]),
    "clean": clean,
    "one spelling": plain_answer,
    "a sentence with a number": _located("7"),
    "a sentence with a percentage": _located("5%"),
    "a sentence with a pair": _located("(1, 2)"),
    "a sentence with a letter": _located("(C)"),
    "a sentence that chooses an option": lambda text: first_sentence_with(f"{text} answer (C) {text}", "(C)"),
    "a sentence with a formula": _located(r"\frac{\sqrt{3}}{2}"),
    "a sentence with words": lambda text: first_sentence_with(f"= {text} Ada Lovelace", "Ada Lovelace"),
    "a sentence with a spelled number": lambda text: first_sentence_with(f"= {text} seven", "7"),
    "a text's own anchor": _anchored,
    "a short anchor": lambda text: anchor_end(text, text[:40]),
    "a fenced anchor": lambda text: anchor_end(_PREFIX + text, f"```\n- {text}\n```"),
    "a rewritten text": lambda text: _checked("rewrite", text, text[:-1], "7", RULES),
    "the steps of a trace": split_steps,
    "a masked trace": _traced,
    "a subtitle": lambda text: states_answer("## " + text),
    "words of a question": words,
    "an evaluation set": lambda text: Overlap([("set", [text])]).find(text),
    "a judge's reply": yes_or_no,
    "a reply": _reply,
    "a stream": _streamed,
    "thinking": split_thinking,
    "channels": lambda text: split_thinking(f"<|channel|>{text}<|message|>{text}"),
    "a refusal": _refused,
    "a refusal for lack of credit": _refused_by_code(429, "insufficient_quota"),
    "a refused parameter": _refused_by_code(400, "unsupported_parameter"),
    "a refusal that is no JSON": lambda text: error_for(502, text.encode(), "strong"),
    "headers": _headers,
    "an input row": _row,
    "an input file's beginning": _file('{ "data" '),
    "an input file": _file("["),
    "a log of a run": _logged,
    "a damaged line of the ledger": lambda text: _lost(Damage(Path("0"), 1, "", f'"row":1{text}'.encode())),
    "a secret": lambda text: answer_redactor([text[:_SECRET]]),
    "a log line with short secrets": _REDACT_WORDS,
    "a log line": lambda text: plain(_REDACT(text)),
    "an answer to be redacted": _REDACT_ANSWER,
    "a title": report.title,
    "a line": report.line,
    "an escaped text": report.escape,
    "a text in the report": report.prose,
    "a formula in the report": lambda text: report.prose(f"$x{text[:300]}$ \\[{text[:300]}\\]"),
    "an answer in the report": lambda text: report.answer("\\x" + text[:900]),
    "where a trace was cut": lambda text: end_of_prefix(text, text[:-2] + "y"),
}
