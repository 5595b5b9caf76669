"""Every fault of the loopback server shows at a bare client as it says, when it says, and is over when it says."""

import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.loopback import Fault, Match, Mix, answer_to, make_question, serve
from tests.loopback.asking import chat, events_of, message_in, post
from tests.loopback.faults import KINDS, Faults, read_script
from tests.loopback.spoil import HUGE, STUCK

QUESTION, ANSWER = make_question(12)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


REFUSED: dict[str, tuple[int, str | None]] = {
    "429": (429, "rate_limit_exceeded"),
    "429_date": (429, "rate_limit_exceeded"),
    "429_bare": (429, "rate_limit_exceeded"),
    "429_quota": (429, "insufficient_quota"),
    "500": (500, None),
    "503": (503, None),
    "408": (408, None),
    "400": (400, None),
    "400_context": (400, "context_length_exceeded"),
    "401": (401, "invalid_api_key"),
    "402": (402, "invalid_request_error"),
    "403": (403, None),
    "404": (404, "model_not_found"),
}
BROKEN: dict[str, type[Exception]] = {
    "reset_before_headers": aiohttp.ClientOSError,
    "reset_in_body": aiohttp.ClientPayloadError,
    "wrong_length": aiohttp.ClientPayloadError,
    "hang_before_headers": TimeoutError,
    "hang_in_body": TimeoutError,
}


def is_broken_json(body: bytes) -> bool:
    with contextlib.suppress(msgspec.DecodeError):
        msgspec.json.decode(body)
        return False
    return True


def has_invalid_utf8(body: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        body.decode()
        return False
    return True


SAID = answer_to(chat("strong-a", QUESTION, ANSWER, "Explain.", seed=5))
ODD: dict[str, Callable[[bytes], bool]] = {
    "truncated_json": is_broken_json,
    "no_choices": lambda body: "choices" not in msgspec.json.decode(body),
    "null_content": lambda body: message_in(body) == {"role": "assistant", "content": None},
    "empty_content": lambda body: message_in(body) == {"role": "assistant", "content": ""},
    "empty_length": lambda body: b'"finish_reason":"length"' in body and message_in(body)["content"] == "",
    "broken_off": lambda body: b'"insufficient_' in body and message_in(body)["content"] in SAID.content,
    "deep_nesting": lambda body: body.startswith(b'{"notes":[[[') and body.count(b"[") > 1000,
    "parts_content": lambda body: "".join(part["text"] for part in message_in(body)["content"]) == SAID.content,
    "error_object": lambda body: list(msgspec.json.decode(body)) == ["error"],
    "invalid_utf8": has_invalid_utf8,
    "gzip_bomb": lambda body: len(body) > HUGE and message_in(body)["content"] == SAID.content,
    "huge_body": lambda body: len(body) > HUGE and message_in(body)["content"] == SAID.content,
    "length": lambda body: b'"finish_reason":"length"' in body and message_in(body)["content"] in SAID.content,
    "stuck": lambda body: message_in(body)["content"] == STUCK + SAID.content,
    "content_filter": lambda body: b'"finish_reason":"content_filter"' in body and not message_in(body)["content"],
    "slow_drip": lambda body: message_in(body)["content"] == SAID.content,
    "broken_sse": lambda body: is_broken_json(body.split(b"\n\n")[-1].removeprefix(b"data: ")),
    "sse_keep_alive": lambda body: body.startswith(b": keep-alive") and body.endswith(b"data: [DONE]\r\n\r\n"),
    "no_usage": lambda body: msgspec.json.decode(body)["usage"] is None and message_in(body)["content"] == SAID.content,
    "duplicate_id": lambda body: msgspec.json.decode(body)["id"] == "chatcmpl-the-same-for-all",
    "sse_error_at_end": lambda body: body.split(b"\n\n")[-2].startswith(b"event: error"),
    "sse_without_done": lambda body: events_of(body)[-1]["choices"][0]["finish_reason"] == "stop",
}
ELSEWHERE = {"502", "redirect", "429_storm", "429_words", "403_moderation", "latin1_error", "sse_reset_at_end"}
STILL_WHOLE = {
    *(
        "parts_content",
        "length",
        "stuck",
        "slow_drip",
        "sse_without_done",
        "sse_keep_alive",
        "duplicate_id",
        "no_usage",
    ),
    *("empty_content", "empty_length", "content_filter", "sse_reset_at_end", "sse_error_at_end"),
}


def test_every_fault_is_tried_below() -> None:
    assert {*REFUSED, *BROKEN, *ODD, *ELSEWHERE} == set(KINDS)


async def observed(
    session: aiohttp.ClientSession, fault: Fault, *, seconds: float = 60
) -> tuple[int, dict[str, str], bytes]:
    """The faulty reply; the retry after it must get the plain answer, and the counts must tell the two apart."""
    request = chat("strong-a", QUESTION, ANSWER, "Explain.", seed=5)
    async with serve(faults=(fault,)) as server:
        try:
            return await post(session, server.base_url, request, seconds=seconds)
        finally:
            status, _, body = await post(session, server.base_url, request)
            assert (status, message_in(body)["content"]) == (200, SAID.content)
            count = server.stats.models["strong-a"]
            if fault.fault in STILL_WHOLE:
                assert (count.answered, count.failed) == (2, {})
            else:
                assert (count.answered, count.failed) == (1, {fault.fault: 1})
            (asked,) = server.stats.requests.values()
            assert (asked.asked, asked.answered) == (2, count.answered)


@pytest.mark.parametrize("kind", REFUSED)
async def test_refusals_come_with_their_status_and_code(session: aiohttp.ClientSession, kind: Any) -> None:
    status, headers, body = await observed(session, Fault(kind, retry_after=2.5))
    assert (status, msgspec.json.decode(body)["error"]["code"]) == REFUSED[kind]
    match kind:
        case "429":
            assert headers["retry-after"] == "2.5"
        case "429_date":
            assert 0 < parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time() <= 4
        case _:
            assert "retry-after" not in headers


@pytest.mark.parametrize("kind", BROKEN)
async def test_broken_connections_break(session: aiohttp.ClientSession, kind: Any) -> None:
    with pytest.raises(BROKEN[kind]):
        await observed(session, Fault(kind), seconds=0.3 if BROKEN[kind] is TimeoutError else 60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODD)
async def test_odd_answers_are_odd_in_the_way_they_say(session: aiohttp.ClientSession, kind: Any) -> None:
    status, headers, body = await observed(session, Fault(kind, seconds=0.1))
    assert status == 200
    assert ODD[kind](body)
    if kind == "gzip_bomb":
        assert int(headers["content-length"]) < HUGE // 50


async def test_a_proxy_answers_in_html_and_a_redirect_leads_elsewhere(session: aiohttp.ClientSession) -> None:
    status, headers, body = await observed(session, Fault("502"))
    assert (status, headers["content-type"], body[:6]) == (502, "text/html", b"<html>")
    status, headers, _ = await observed(session, Fault("redirect", location="http://127.0.0.3:1/"))
    assert (status, headers["location"]) == (307, "http://127.0.0.3:1/")


async def test_refusals_in_the_words_of_one_provider(session: aiohttp.ClientSession) -> None:
    status, headers, body = await observed(session, Fault("429_words", retry_after=2.5))
    assert (status, "retry-after" in headers, b"billing. Please retry in 2.5s." in body) == (429, False, True)
    status, _, body = await observed(session, Fault("403_moderation"))
    assert (status, b"flagged" in body) == (403, True)
    status, _, body = await observed(session, Fault("latin1_error"))
    assert (status, has_invalid_utf8(body)) == (500, True)


async def test_a_stream_may_be_cut_when_all_but_its_end_has_come(session: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await observed(session, Fault("sse_reset_at_end"))


async def test_a_storm_refuses_everybody_it_means(session: aiohttp.ClientSession) -> None:
    async with serve(faults=(Fault("429_storm", Match(model="judge"), seconds=600, retry_after=0.2),)) as server:
        for question in (QUESTION, "Another?", "A third?"):
            status, headers, _ = await post(session, server.base_url, chat("judge", question))
            assert (status, headers["retry-after"]) == (429, "0.2")
        assert (await post(session, server.base_url, chat("weak", QUESTION)))[0] == 200
        assert server.stats.models["judge"].failed == {"429_storm": 3}


def test_a_storm_is_over_when_it_says() -> None:
    storm = Fault("429_storm", Match(nth=2), seconds=5)
    faults = Faults((storm,))
    seen = [faults.choose("weak", b"", "digest", 1, now) for now in (100, 101, 103, 105.9, 106, 120)]
    assert seen == [None, storm, storm, storm, None, None]


@pytest.mark.parametrize(
    ("match", "times", "statuses"),
    [
        (Match(nth=2), 2, [200, 500, 500, 200, 200, 200]),
        (Match(model="strong", nth=2), 1, [200, 200, 200, 500, 200, 200]),
        (Match(contains="item 2"), None, [200, 200, 200, 200, 500, 500]),
        (Match(asked=2), None, [200, 500, 200, 500, 200, 500]),
        (Match(model="judge"), None, [200, 200, 200, 200, 200, 200]),
    ],
)
async def test_a_rule_hits_what_it_names(
    session: aiohttp.ClientSession, match: Match, times: int | None, statuses: list[int]
) -> None:
    """Three questions, each asked of one model twice in a row: weak, strong, weak."""
    async with serve(faults=(Fault("500", match, times=times),)) as server:
        seen = []
        for i, model in enumerate(["weak", "strong-a", "weak"]):
            request = chat(model, make_question(i)[0])
            seen += [(await post(session, server.base_url, request))[0] for _ in range(2)]
    assert seen == statuses


@pytest.mark.slow
async def test_a_mix_fails_its_share_repeatably_and_retries_get_through(session: aiohttp.ClientSession) -> None:
    """Two servers with one seed fail the same requests, one with another seed does not; no request fails for ever."""
    mix = {"500": 0.2, "truncated_json": 0.1}
    runs = []
    for seed in (1, 1, 2):
        tries = []
        async with serve(faults=Mix(mix, seed)) as server:  # type: ignore[arg-type]
            for i in range(150):
                request, tried = chat("weak", make_question(i)[0]), 1
                while True:
                    status, _, body = await post(session, server.base_url, request)
                    if status == 200 and not is_broken_json(body):
                        break
                    tried += 1
                tries.append(tried)
            failed = server.stats.models["weak"].failed
            received = server.stats.models["weak"].received
            for kind, share in mix.items():
                assert math.isclose(failed[kind] / received, share, abs_tol=0.1)
        runs.append(tries)
    assert runs[0] == runs[1] != runs[2]


def test_a_script_is_json_or_a_file_and_knows_no_other_words(tmp_path: Path) -> None:
    text = '[{"match": {"model": "strong-a", "nth": 3}, "fault": "429", "retry_after": 1, "times": 2}]'
    path = tmp_path / "faults.json"
    path.write_text(text)
    rule = Fault("429", Match(model="strong-a", nth=3), times=2, retry_after=1)
    assert read_script(text) == read_script(str(path)) == (rule,)
    assert read_script('{"seed": 3, "mix": {"500": 0.02}}') == Mix({"500": 0.02}, 3)
    for wrong in ('[{"fault": "418"}]', '[{"fault": "500", "tmies": 2}]', '{"mix": {"500": 1.5}}'):
        with pytest.raises(msgspec.ValidationError):
            read_script(wrong)
