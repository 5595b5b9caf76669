"""A key that a provider repeats, in an error or in an answer, in whatever form, is in no file and on no screen."""

import base64
import html
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.engine_runs import ROOT, config_for, lines, write_run
from tests.loopback import Request, answer_to
from weak2wise.llm.vllm.engine_log import EngineLog

TOKEN = "lab/Key+A1b2C3d4E5f6G7h8I9j0K=l&mN"
FORMS = (
    TOKEN,
    TOKEN.upper(),
    quote(TOKEN, safe=""),
    html.escape(TOKEN),
    TOKEN.replace("/", "\\/"),
    base64.b64encode(TOKEN.encode()).decode(),
    TOKEN[:20],
    TOKEN[-12:],
)
PIECES = tuple(form[4:14].lower() for form in FORMS)
"""What stays of no form."""


class _Echo(BaseHTTPRequestHandler):
    """Repeats the key: in the errors of item 1, in the answers of item 2."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Authorization"] == f"Bearer {TOKEN}"
        strong, forms = b'"model":"strong-a' in body, " ".join(FORMS)
        if strong and b"(item 1)" in body:
            # The key begins where messages are shortened: none of the places may be left with a half of it.
            said = {place: f"{'.' * place} Bearer {forms}" for place in (60, 170, 380, 490)}
            self._reply(400, {"error": {"message": " ".join(said.values())}})
            return
        answer = answer_to(msgspec.json.decode(body, type=Request))
        text = answer.content
        if strong and b"(item 2)" in body:
            text = text.replace("\n", f"\nThe header said Bearer {TOKEN}; {quote(TOKEN, safe='')} or {TOKEN[:12]}\n", 1)
        message = {"content": text, "reasoning_content": answer.reasoning}
        self._reply(200, {"choices": [{"message": message, "finish_reason": "stop"}]})

    def _reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def _command(*arguments: str, cwd: Path = ROOT, **variables: str) -> tuple[int, str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(
        [sys.executable, "-m", "weak2wise", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def _with_secrets(*texts: str) -> list[str]:
    """The texts with a piece of the key."""
    return [text for text in texts if any(piece in text.lower() for piece in PIECES)]


@pytest.mark.slow
def test_a_key_that_a_provider_repeats_is_in_no_file_and_on_no_screen(tmp_path: Path) -> None:
    with _echo() as base_url:
        config = config_for(tmp_path, base_url, skip_filter=True, n_mask=2, judge_mode="rule")
        config["models"] |= {"mstrong": ["strong-a"], "truncation": None, "judge": None}
        for endpoint in config["model_endpoints"].values():
            endpoint["headers"] = {"Authorization": "$AUTH"}
        write_run(tmp_path, config, 3)
        file = str(tmp_path / "config.yaml")
        auth = f"Bearer {TOKEN}"
        said = [_command("run", "--config", file, "--verbose", AUTH=auth)]
        said.append(_command("status", str(tmp_path / "work")))
        said.append(_command("report", str(tmp_path / "work")))
        said.append(_command("preview", "--config", file, "-n", "2", AUTH=auth))
        said.append(_command("export", str(tmp_path / "work"), "--out", str(tmp_path / "train.jsonl")))
    assert [code for code, _ in said] == [1, 0, 0, 1, 0], said
    assert _with_secrets(*(text for _, text in said)) == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if _with_secrets(path.read_text(errors="replace"))] == []
    assert "[redacted]" in lines(tmp_path / "work" / "failed.jsonl")[0]["message"]
    journal = lines(tmp_path / "work" / "ledger" / "journal" / "00000.jsonl")
    redacted = [line for line in journal if line.get("redacted")]
    assert {line["row"] for line in redacted} == {3}
    assert all("The header said Bearer [redacted]; [redacted] or [redacted]" in str(line) for line in redacted)
    assert "[redacted]" in str(lines(tmp_path / "work" / "candidates.jsonl"))
    assert any(line["event"] == "answer.redacted" for line in lines(tmp_path / "work" / "run.log"))


PLUGIN = """\
import os
from weak2wise import Completion, Endpoint, EndpointSettings
from weak2wise.errors import ConfigError
from weak2wise.llm.errors import Rejected, Unusable

KEY = os.environ["LAB_KEY"]
SAID = "x" * 195 + f" refused {KEY}; {KEY[:20]}"


class Leaky(Endpoint):
    version = "1"

    class Settings(EndpointSettings, frozen=True, kw_only=True):
        key_env: str
        how: str

        def secrets(self):
            return {"key_env": self.key_env}

    async def open(self):
        if self.settings.how == "config":
            raise ConfigError(SAID)

    async def complete(self, prompt):
        match self.settings.how:
            case "rejected":
                raise Rejected("bad_request", SAID, endpoint=self.name)
            case "unusable":
                raise Unusable(SAID, hint=f"Look at {KEY}.")
            case "bug":
                raise ValueError(SAID)
        return Completion(text=f"The key is {KEY}", reasoning=f"The key is {KEY[:13]}", finish_reason="stop")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "codes"),
    [
        ("rejected", (1, 1, 1)),
        ("unusable", (3, 1, 3)),
        ("bug", (70, 1, 70)),
        ("config", (2, 1, 2)),
        ("answer", (1, 0, 1)),
    ],
)
def test_a_key_in_what_a_users_own_endpoint_raises_or_answers_is_nowhere(
    tmp_path: Path, how: str, codes: tuple[int, int, int]
) -> None:
    """Its tracebacks included, in the log and on the terminal."""
    (tmp_path / "leaky.py").write_text(PLUGIN)
    config = config_for(tmp_path, "http://unused", n_mask=2, judge_mode="rule")
    config["models"] = {"mweak": "weak", "mstrong": ["weak"]}
    config["model_endpoints"] = {"weak": {"type": "leaky:Leaky", "key_env": "LAB_KEY", "how": how}}
    config["engine"] = {"max_error_rate": 1}
    config["params"]["outcomes"] = {"no_final_answer": "fail"}
    write_run(tmp_path, config, 2)
    said = [
        _command(name, "--config", "config.yaml", cwd=tmp_path, LAB_KEY=TOKEN) for name in ("run", "check", "preview")
    ]
    assert tuple(code for code, _ in said) == codes, said
    assert _with_secrets(*(text for _, text in said)) == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if _with_secrets(path.read_text(errors="replace"))] == []
    kept = "".join(path.read_text(errors="replace") for path in files if "work" in path.parts)
    assert "[redacted]" in kept + said[0][1]


@pytest.mark.slow
def test_check_warns_of_a_secret_that_is_too_short_to_be_looked_for_in_answers(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(PLUGIN)
    config = config_for(tmp_path, "http://unused")
    config["models"] = {"mweak": "weak", "mstrong": ["weak"]}
    config["model_endpoints"] = {"weak": {"type": "leaky:Leaky", "key_env": "LAB_KEY", "how": "answer"}}
    write_run(tmp_path, config, 1)
    for key, warned in (("Bearer fifteen-letters", True), ("Bearer sixteen-letters-", False)):
        code, said = _command("check", "--config", "config.yaml", cwd=tmp_path, LAB_KEY=key)
        assert code == 0, said
        assert ("LAB_KEY (model_endpoints.weak.key_env) has fewer than 16 characters" in said) == warned
        assert key.partition(" ")[2] not in said or warned


ENGINE_PROCESS = """\
import json, logging.config, os, sys
config = json.load(open(sys.argv[1]))
config["handlers"]["file"]["owner"] = 0  # this is no process of ours
logging.config.dictConfig(config)
logging.getLogger("vllm.engine").error("args: api_key=%s", os.environ["HF_TOKEN"])
try:
    raise RuntimeError("refused " + os.environ["HF_TOKEN"])
except RuntimeError:
    logging.getLogger("vllm").exception("died")
print("switch", os.environ["TOKENS"], os.environ["HF_TOKEN"], flush=True)
raise RuntimeError("the end of " + os.environ["HF_TOKEN"])
"""


def test_the_log_of_an_embedded_engine_holds_no_secret_of_its_environment(tmp_path: Path) -> None:
    """What Python writes there: log lines, prints, and the traceback of its death."""
    log = EngineLog(tmp_path / "vllm-0.log")
    env = os.environ | {"PYTHONPATH": str(ROOT), "HF_TOKEN": TOKEN, "TOKENS": "1"}
    words = [sys.executable, "-c", ENGINE_PROCESS, str(log.config_file())]
    assert subprocess.run(words, env=env, check=False, capture_output=True).returncode == 1
    written = log.path.read_text()
    log.close()
    for line in ("args: api_key=[redacted]", "refused [redacted]", "switch 1 [redacted]", "the end of [redacted]"):
        assert line in written
    assert _with_secrets(written) == []
