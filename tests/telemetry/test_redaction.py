"""No form of a secret that a provider may repeat stays in a text, and a text without one stays as it is."""

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from weak2wise.telemetry.redaction import answer_redactor, message_redactor, short_secret

TOKEN = "sk-proj-Ab3_xY9zQwErTyUiOpAsDfGhJkLzXcVbNm0123456789"
ODD = "p&s\"w<o>r'd/é+=%\\~12345"
"""A secret that looks different in every notation."""

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "in a URL": lambda text: quote(text, safe=""),
    "in a path": quote,
    "in a query": quote_plus,
    "in a URL, lower case": lambda text: quote(text, safe="").lower(),
    "in HTML": html.escape,
    "in HTML, as Go does it": lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "in JSON": lambda text: json.dumps(text)[1:-1],
    "in JSON, Unicode": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "in JSON, as PHP does it": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "in JSON inside JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "in HTML inside JSON": lambda text: json.dumps(html.escape(text))[1:-1],
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "in base64 behind a word": lambda text: base64.b64encode(b"Bearer " + text.encode()).decode(),
    "in base64 behind a letter": lambda text: base64.b64encode(b"u" + text.encode() + b"x").decode(),
    "in base64 behind two": lambda text: base64.b64encode(b"u:" + text.encode() + b"xy").decode(),
    "in hex": lambda text: text.encode().hex(),
}


def leaks(text: str, secret: str, least: int = 8) -> list[str]:
    """Every piece of a secret of so many characters that is in a text."""
    pieces = (secret[at : at + least] for at in range(len(secret) - least + 1))
    return [piece for piece in pieces if piece.lower() in text.lower()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [TOKEN, ODD])
@pytest.mark.parametrize("header", ["{}", "Bearer {}", "session={}; theme=dark"])
def test_every_form_of_a_secret_is_removed(header: str, secret: str, form: str) -> None:
    for redactor in (message_redactor, answer_redactor):
        redact = redactor([header.format(secret)])
        written = FORMS[form](secret)
        found = redact(f"before {written} after")
        # Characters of base64 that hold what is around it, too, or the secret's last bits alone.
        around = 14 if "behind" in form else 4 if "base64" in form else 0
        assert len(found) <= len("before [redacted] after") + around, found
        assert found.startswith("before ")
        assert found.endswith(" after")


def test_both_halves_of_basic_authentication_are_removed_together_and_alone() -> None:
    pair = "lab-account:correct-horse-battery"
    header = "Basic " + base64.b64encode(pair.encode()).decode()
    for redactor in (message_redactor, answer_redactor):
        redact = redactor([header])
        for secret in (header.partition(" ")[2], "correct-horse-battery"):
            assert not leaks(redact(f"not accepted: {secret}."), secret)
    redact = message_redactor([header])
    assert redact("user lab-account unknown") == "user [redacted] unknown"


@pytest.mark.parametrize("length", range(8, len(TOKEN) + 1, 3))
def test_a_key_cut_short_is_removed_from_either_end(length: int) -> None:
    redact = message_redactor([f"Bearer {TOKEN}"])
    assert redact(f"key {TOKEN[:length]}… is wrong") == "key [redacted]… is wrong"
    assert redact(f"key …{TOKEN[-length:]} is wrong") == "key …[redacted] is wrong"
    if length >= 12:
        assert answer_redactor([f"Bearer {TOKEN}"])(f"key {TOKEN[:length]}") == "key [redacted]"


def test_a_piece_out_of_the_middle_is_removed() -> None:
    redact = message_redactor([TOKEN])
    for at in range(len(TOKEN) - 15):
        piece = TOKEN[at : at + 15]
        assert redact(f"({piece})") == "([redacted])"


def test_a_short_secret_is_removed_as_a_word_and_changes_no_path_or_longer_word() -> None:
    redact = message_redactor(["test"])
    assert redact("the key TEST is wrong; testing /data/test/in.jsonl, a-test") == (
        "the key [redacted] is wrong; testing /data/test/in.jsonl, a-test"
    )
    assert answer_redactor(["test", "fifteen-letters"])("test: fifteen-letters") == "test: fifteen-letters"
    assert [short_secret(secret) for secret in ("Bearer fifteen-letters", "Bearer sixteen-letters-")] == [True, False]


def test_a_text_without_a_secret_is_the_same_object() -> None:
    text = "Ünïcödé \ud800 and an answer that says sk-proj and Bearer, nothing else. " * 50
    for redactor in (message_redactor, answer_redactor):
        for secrets in ([], [""], [TOKEN], [f"Bearer {TOKEN}", ODD], ["unsound\udcff-secret-of-its-own"], ["test"]):
            assert redactor(secrets)(text) is text


def test_two_secrets_that_overlap_are_both_removed_whole() -> None:
    longer = f"{TOKEN}-and-some-more"
    for secrets in ([TOKEN, longer], [longer, TOKEN]):
        assert message_redactor(secrets)(f"({longer}) ({TOKEN})") == "([redacted]) ([redacted])"
    assert message_redactor([TOKEN, ODD])(f"é{TOKEN}{ODD}é") == "é[redacted]é"


@pytest.mark.slow
@pytest.mark.parametrize("redactor", [message_redactor, answer_redactor])
@pytest.mark.parametrize("shape", ["a", TOKEN, TOKEN[:8], TOKEN[:12], TOKEN[:11] + " ", "é", "c2s", "\\u002"])
def test_time_is_linear_in_the_text(redactor: Callable[[list[str]], Callable[[str], str]], shape: str) -> None:
    """Also for a secret that repeats itself."""
    redact = redactor([f"Bearer {TOKEN}", "a" * 40])

    def seconds(size: int) -> float:
        text = (shape * size)[:size]
        best = 1e9
        for _ in range(3):
            began = time.process_time()
            redact(text)
            best = min(best, time.process_time() - began)
        return best

    assert seconds(300_000) < 12 * seconds(75_000) + 0.05
    assert seconds(300_000) < 3
