"""The program: one under three names, quick to say what it can do, and apart from programs that import the package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_runs import ROOT, run_in
from tests.loopback import LoopbackProcess
from weak2wise.commands.say import command_line

INSTALLED = str(Path(sys.executable).with_name("weak2wise"))
PROGRAMS = ([sys.executable, "-m", "weak2wise"], [sys.executable, "-m", "weak2wise.engine"], [INSTALLED])


def called(*words: str, folder: Path = ROOT, path: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """A command line of its own; ``path``: a folder whose modules go before all others."""
    python_path = os.pathsep.join(filter(None, [str(path or ""), str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": python_path}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
def test_the_program_is_the_same_by_each_of_its_names() -> None:
    for words, code in ((["--help"], 0), (["run", "--help"], 0), (["--version"], 0), (["chekc"], 2)):
        package, module, installed = (
            (d.returncode, d.stdout, d.stderr) for d in (called(*p, *words) for p in PROGRAMS)
        )
        assert package == module == installed
        assert package[0] == code
        assert package[1] + package[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "says"),
    [
        ([sys.executable, "-m", "weak2wise"], "python -m weak2wise preview"),
        ([sys.executable, "-m", "weak2wise.engine"], "python -m weak2wise.engine preview"),
        ([INSTALLED], "weak2wise preview"),
    ],
    ids=["python -m weak2wise", "python -m weak2wise.engine", "weak2wise"],
)
def test_advice_names_the_program_as_its_user_called_it(tmp_path: Path, program: list[str], says: str) -> None:
    """A bug ends in the command that tries again, whatever it came from."""
    (tmp_path / "uvloop.py").write_text("def new_event_loop(): raise ZeroDivisionError('as a test')\n")
    (tmp_path / "config.yaml").write_text("models: {mweak: w, mstrong: [w]}\nmodel_endpoints: {w: {model_id: m}}\n")
    missing = "model_endpoints.w.base_url=http://127.0.0.1:9/v1"
    done = called(*program, "preview", "--set", missing, folder=tmp_path, path=tmp_path)
    assert done.returncode == os.EX_SOFTWARE, done.stderr
    assert done.stderr.splitlines()[-1] == f"Try again with: {says} --set {missing}"


@pytest.mark.parametrize(
    ("argv0", "says"),
    [
        ("/somewhere/bin/weak2wise", "weak2wise"),
        ("/somewhere/weak2wise/__main__.py", "python -m weak2wise"),
        ("/somewhere/weak2wise/engine.py", "python -m weak2wise.engine"),
        ("-c", "python -m weak2wise.engine"),
    ],
)
@pytest.mark.parametrize("never", [["--resume", "never"], ["--resume=never"]])
def test_the_command_that_goes_on_does_not_start_anew(
    monkeypatch: pytest.MonkeyPatch, argv0: str, says: str, never: list[str]
) -> None:
    """Repeated as it was given, it would set aside all that the run has just paid for."""
    monkeypatch.setattr(sys, "argv", [argv0, "run", *never, "--page", "8000"])
    assert command_line() == f"{says} run --page 8000"
    assert command_line(["run", "--resume", "force"]) == f"{says} run --resume force"


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_an_interruption_while_the_program_is_loaded_is_no_traceback(tmp_path: Path, program: list[str]) -> None:
    """Be it among the first modules or the last."""
    for module in ("cyclopts", "uvloop"):
        (tmp_path / f"{module}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
        done = called(*program, "run", path=tmp_path)
        assert (done.returncode, done.stderr) == (130, "Interrupted.\n"), module
        (tmp_path / f"{module}.py").unlink()


def test_next_to_nothing_is_loaded_before_the_program_can_be_interrupted_cleanly() -> None:
    """Each module loaded before that is time in which Ctrl-C ends in a traceback."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules); import weak2wise.__main__; "
    program += "print(*sorted(set(sys.modules) - before - {'weak2wise', 'weak2wise.__main__'}))"
    words = [sys.executable, "-I", "-c", f"import os, signal; {program}"]
    loaded = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (loaded.stdout, loaded.stderr) == ("\n", "")


def loaded_by(code: str, *words: str) -> set[str]:
    """What a program has loaded when it ends."""
    listing = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {code}"
    done = called(sys.executable, "-c", listing, *words)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["retry-failed", "--help"]])
def test_help_loads_nothing_that_a_run_needs(words: list[str]) -> None:
    loaded = loaded_by("from weak2wise.__main__ import main; main()", *words)
    assert "weak2wise.commands.run" in loaded
    assert not {"uvloop", "aiohttp", "weak2wise.run.engine", "weak2wise.api", "weak2wise.config"} & loaded


def test_the_list_of_commands_loads_nothing_that_draws() -> None:
    """Pages of help are drawn with rich, once one is asked for."""
    assert "rich.console" not in loaded_by("import weak2wise.commands")


@pytest.mark.slow
def test_a_run_without_a_page_loads_no_web_server(tmp_path: Path, server: LoopbackProcess) -> None:
    run_in(tmp_path, server.base_url)
    config = str(tmp_path / "config.yaml")
    loaded = loaded_by("from weak2wise.__main__ import main; main()", "run", "--config", config)
    assert {"aiohttp.client", "weak2wise.run.drive"} <= loaded
    assert not {"aiohttp.web", "prometheus_client", "weak2wise.watch.page"} & loaded


@pytest.mark.slow
def test_a_program_that_imports_the_package_is_left_as_it_was(tmp_path: Path) -> None:
    """Run as ``python -m package.module``, which is what the entry point of ours looks like too."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "__init__.py").touch()
    (tmp_path / "lab" / "engine.py").write_text(
        "import signal, structlog, sys\n"
        "def state():\n"
        "    handlers = {n: signal.getsignal(n) for n in signal.valid_signals()}\n"
        "    return handlers, structlog.get_config(), structlog.is_configured(), sys.excepthook\n"
        "before = state()\n"
        "import weak2wise\n"
        "assert weak2wise.__version__ and dir(weak2wise)\n"
        "assert state() == before, state()\n"
        "ours = [name for name in sys.modules if name.partition('.')[0] in ('weak2wise', 'workers')]\n"
        "assert set(ours) == {'weak2wise', 'weak2wise.version'}, ours\n"
        "weak2wise.Config, weak2wise.synthesize\n"
        "assert state() == before, 'the API changed something when it was loaded'\n"
    )
    done = called(sys.executable, "-m", "lab.engine", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_help_lists_the_commands_in_the_order_of_a_days_work() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "weak2wise", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    first = [word for line in shown.splitlines() if line.startswith("│ ") and (word := line[2:].split(" ")[0])]
    order = ["init", "check", "preview", "run", "status", "report", "export", "train", "prove", "compare", "repair"]
    assert [word for word in first if word in order] == order
