"""Writes the engine's own output to a file: it stays off our terminal, and the last error of a dead engine is kept.

vLLM configures ``logging`` in each of its processes from one JSON file. Ours names ``EngineOutput`` as the handler. In
the engine's processes that handler also redirects standard output and error: messages of native code, progress bars
and the last lines of a crash go to the same file. Secrets in the environment, which these processes inherit, are
removed from whatever Python writes there. In our process the handler drops everything: whatever matters there
reaches us as an exception.

If the user sets one of vLLM's own logging variables, vLLM logs as usual, on the terminal, and no last error is known.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from weak2wise.telemetry.redaction import message_redactor

USER_CONFIGURES_LOGGING: Final = any(
    name == "VLLM_CONFIGURE_LOGGING" or name.startswith("VLLM_LOGGING_") for name in os.environ
)
TAIL_BYTES = 16_384
_ERROR_LINE = re.compile(r"(?:[\w.]*(?:Error|Exception)|Fatal Python error): |terminate called ")
_SECRET_VARIABLE = re.compile(r"(key|token|secret|password)s?$", re.IGNORECASE)
_SHORTEST_SECRET = 8
"""Characters: nobody has named these variables, and a shorter value may be a switch."""


def _redactor() -> Callable[[str], str]:
    values = (value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name))
    return message_redactor(value for value in values if len(value) >= _SHORTEST_SECRET)


class _Redacted:
    """A text stream that writes no secret."""

    def __init__(self, stream: Any, redact: Callable[[str], str]) -> None:
        self._stream = stream
        self._redact = redact

    def write(self, text: str) -> int:
        self._stream.write(self._redact(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class EngineOutput(logging.FileHandler):
    """Appends to ``filename`` and sends file descriptors 1 and 2 there too; in process ``owner`` it does neither."""

    def __init__(self, filename: str, owner: int) -> None:
        ours = os.getpid() == owner
        super().__init__(os.devnull if ours else filename, encoding="utf-8")
        self._redact = str if ours else _redactor()
        if not ours and self.stream is not None:
            os.dup2(self.stream.fileno(), 1)
            os.dup2(self.stream.fileno(), 2)
            sys.stdout, sys.stderr = (_Redacted(stream, self._redact) for stream in (sys.stdout, sys.stderr))

    def format(self, record: logging.LogRecord) -> str:
        """The line without secrets."""
        return self._redact(super().format(record))


class EngineLog:
    """Where one engine's output goes: ``path``, or a temporary file that ``close`` removes."""

    def __init__(self, path: Path | None) -> None:
        self._folder = TemporaryDirectory(prefix="weak2wise-vllm-")
        self.path = path or Path(self._folder.name, "vllm.log")
        self.path.touch(
            mode=0o600
        )  # it quotes prompts; otherwise the first process to open it would make it readable to all
        self._begin = self.path.stat().st_size

    def config_file(self) -> Path:
        """Write the ``logging`` configuration for the engine's processes and return its path."""
        config = {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(processName)s %(levelname)s %(message)s"}},
            "handlers": {
                "file": {
                    "()": f"{__name__}.{EngineOutput.__name__}",
                    "filename": str(self.path),
                    "owner": os.getpid(),
                    "formatter": "line",
                }
            },
            "loggers": {"vllm": {"level": "INFO", "handlers": ["file"], "propagate": False}},
        }
        file = Path(self._folder.name, "logging.json")
        file.write_text(json.dumps(config), encoding="utf-8")
        return file

    def last_error(self) -> str:
        """The last error in this engine's output, one line; empty if it ended without writing one."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._begin, size - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if _ERROR_LINE.match(line)), "")

    def close(self) -> None:
        """Remove the temporary files."""
        self._folder.cleanup()
