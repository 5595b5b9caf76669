"""A notice arrives once the webhook works, and what never works ends in time, with its reason."""

import asyncio
import json
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.notify.webhook import SECRET, Webhook
from weak2wise.config import NotifySettings
from weak2wise.errors import ConfigError, RunStopped
from weak2wise.notify.deliver import deliver, obstacles
from weak2wise.notify.notice import LONGEST, Notice, event_of
from weak2wise.telemetry.redaction import message_redactor

BODY = b'{"text": "finished"}'


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@pytest.mark.slow
async def test_a_webhook_that_refuses_connections_at_first_is_tried_again() -> None:
    port = free_port()
    sending = asyncio.create_task(deliver(BODY, NotifySettings(url=f"http://127.0.0.1:{port}/hook"), {}, 20))
    await asyncio.sleep(0.3)
    assert not sending.done()
    with Webhook(port=port) as hook:
        assert await sending == []
        assert hook.bodies == [{"text": "finished"}]


@pytest.mark.slow
async def test_an_overloaded_webhook_is_tried_again_and_then_gets_it_once_more() -> None:
    with Webhook([503, 429, 204]) as hook:
        assert await deliver(BODY, NotifySettings(url=hook.url), {}, 30) == []
        assert len(hook.bodies) == 3


@pytest.mark.slow
@pytest.mark.parametrize(("status", "said"), [(500, "it answered HTTP 500: busy"), (0, "no answer within 1 s")])
async def test_a_webhook_that_never_works_is_given_up_in_time(status: int, said: str) -> None:
    began = time.monotonic()
    with Webhook([status], said="busy") as hook:
        (failed,) = await deliver(BODY, NotifySettings(url=hook.url), {}, 1)
    assert time.monotonic() - began < 4
    assert failed.startswith(f"the webhook: {said}")


@pytest.mark.parametrize("status", [301, 400, 404])
async def test_a_webhook_that_refuses_is_asked_once(status: int) -> None:
    with Webhook([status], said="no_team") as hook:
        assert await deliver(BODY, NotifySettings(url=hook.url), {}, 20) == [
            f"the webhook: it answered HTTP {status}: no_team"
        ]
        assert len(hook.bodies) == 1


async def test_ntfy_is_asked_to_show_the_text_and_not_the_json() -> None:
    with Webhook() as hook:
        await deliver(BODY, NotifySettings(url=hook.url), {}, 20)
    sent = hook.headers[0]
    assert (sent["X-Template"], sent["X-Title"], sent["X-Message"]) == ("yes", "{{.title}}", "{{.content}}")


async def test_a_command_gets_the_json_and_both_are_told(tmp_path: Path) -> None:
    program = f"import sys; open({str(tmp_path / 'got')!r}, 'w').write(sys.stdin.read())"
    with Webhook() as hook:
        settings = NotifySettings(url_env="HOOK", command=(sys.executable, "-c", program))
        assert await deliver(BODY, settings, {"HOOK": hook.url}, 20) == []
        assert hook.bodies == [{"text": "finished"}]
    assert json.loads((tmp_path / "got").read_text()) == {"text": "finished"}


@pytest.mark.slow
async def test_a_command_that_hangs_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    began = time.monotonic()
    settings = NotifySettings(command=("sh", "-c", f"sleep 300 & echo $! > {pid_file}; sleep 300"))
    (failed,) = await deliver(BODY, settings, os.environ, 1)
    assert failed == "the command sh: it did not end within 1 s, and was killed"
    assert time.monotonic() - began < 4
    pid = int(pid_file.read_text())
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the command's own child runs on")


async def test_a_command_that_leaves_a_process_behind_is_not_waited_for() -> None:
    began = time.monotonic()
    assert await deliver(BODY, NotifySettings(command=("sh", "-c", "sleep 5 & exit 0")), os.environ, 20) == []
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("echo no route to mars >&2; exit 6", "the command sh: it ended with exit code 6: no route to mars"),
        ("exit 3", "the command sh: it ended with exit code 3"),
        ("yes $(printf %1000s x) | head -c 30000000 >&2; exit 1", "the command sh: it ended with exit code 1: "),
    ],
)
async def test_a_command_that_fails_is_said_with_its_last_words(program: str, said: str) -> None:
    (failed,) = await deliver(BODY, NotifySettings(command=("sh", "-c", program)), os.environ, 20)
    assert failed.startswith(said)
    assert len(failed) < 300


async def test_a_command_that_reads_nothing_has_worked() -> None:
    assert await deliver(b"x" * 10_000_000, NotifySettings(command=("true",)), os.environ, 20) == []


def test_what_cannot_work_is_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    assert obstacles(NotifySettings(url_env="HOOK"), {}) == ["notify.url_env: environment variable HOOK is not set"]
    assert obstacles(NotifySettings(url_env="https://h.example/x"), {}) == [
        "notify.url_env: environment variable of that name is not set"
    ]
    (said,) = obstacles(NotifySettings(url_env="HOOK"), {"HOOK": "hooks.example/secret-word"})
    assert said == "notify.url_env: expected an address that begins with http:// or https:// in HOOK"
    (said,) = obstacles(NotifySettings(command=("no-such-program-here",)), {"PATH": os.environ["PATH"]})
    assert said == "notify.command: no-such-program-here: no such program"
    assert obstacles(NotifySettings(command=("sh",), url="https://h.example/x"), {"PATH": os.environ["PATH"]}) == []
    with pytest.raises(ConfigError, match="either url or url_env"):
        NotifySettings(url="https://h.example/x", url_env="HOOK")


def test_what_names_the_channel_is_secret_and_words_of_every_address_are_not() -> None:
    address = f"https://hooks.slack.com/services/T0123/{SECRET}?wait=abcdefgh1"
    redact = message_redactor(NotifySettings(url=address).secrets({}))
    said = redact(
        f"cannot reach {address}; POST /services/T0123/{SECRET}; the services are down, https://other.example"
    )
    assert SECRET not in said
    assert "xWq7rT2mPzK9" not in said
    assert "abcdefgh1" not in said
    assert said.endswith("the services are down, https://other.example")
    assert redact("ntfy.sh is not this one") == "ntfy.sh is not this one"


def test_a_message_is_short_and_calls_nobody(tmp_path: Path) -> None:
    reason = "stopped: a provider says <!channel> @everyone & more" + "." * 5000
    notice = Notice.of("stop", reason, ["go on"], work_dir=tmp_path / "runs" / "a", exit_code=3, board=None)
    sent = json.loads(notice.body())
    assert sent["title"] == "weak2wise: runs/a stopped"
    assert len(sent["content"]) <= LONGEST
    assert "&lt;!channel&gt; @everyone &amp; more" in sent["text"]
    assert sent["allowed_mentions"] == {"parse": []}
    assert sent["totals"] is None


def test_the_event_is_known_by_what_stopped_the_run_however_deep_it_lies() -> None:
    def group(error: Exception) -> ExceptionGroup[Exception]:
        return ExceptionGroup("a", [ExceptionGroup("b", [ValueError(), error])])

    assert event_of(group(RunStopped("x", hint="", cause="cap"))) == "cap"
    assert event_of(group(RunStopped("x", hint="", cause="failure_rate"))) == "failure_rate"
    assert event_of(group(RunStopped("x", hint=""))) == "stop"
    assert event_of(ValueError()) == "stop"
