"""What is given away: a wheel and an sdist, the README on a package index, and the development lock."""

import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.engine_runs import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist of what git has, as ``python -m build`` makes them, without a look at the network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(build, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


@pytest.mark.slow
def test_the_installed_wheel_is_the_whole_program(built: tuple[Path, Path], tmp_path: Path) -> None:
    """In a new environment, far from the repository; its dependencies are those of this one."""
    venv.create(tmp_path / "venv", with_pip=False)
    with zipfile.ZipFile(built[0]) as wheel:
        assert not [name for name in wheel.namelist() if name.startswith(("tests/", "scripts/", "examples/", "docs/"))]
    python = tmp_path / "venv" / "bin" / "python"
    target = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        str(built[0]),
    ]
    subprocess.run(install, check=True, capture_output=True)
    # After its own packages, and without what makes this repository importable.
    (Path(target) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def weak2wise(*arguments: str) -> str:
        done = subprocess.run(
            [tmp_path / "venv" / "bin" / "weak2wise", *arguments],
            cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "preview" in weak2wise("--help")
    assert "deepseek" in weak2wise("init", "--list")
    weak2wise("init", "deepseek", "--out", "run.yaml")
    assert "model_endpoints:" in (tmp_path / "run.yaml").read_text()
    where = "import weak2wise; print(weak2wise.__file__)"
    found = subprocess.run(
        [python, "-c", where], cwd=tmp_path, env={}, check=True, capture_output=True, text=True
    ).stdout
    assert found.startswith(target), found
    for data in ("presets.toml", "py.typed", "outputs/report/style.css", "watch/static/page.html"):
        assert (Path(target) / "weak2wise" / data).is_file(), data


@pytest.mark.slow
def test_the_sdist_has_the_readme_what_it_shows_and_the_tests(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / "README.md").read_text())
    here = {link for link in links if "://" not in link}
    assert len(here) > 10
    assert {link for link in here if link not in names} == set()
    for needed in (
        "tests/conftest.py",
        "examples/n_mask.ipynb",
        "config.yaml",
        "docker/compose.yaml",
        "scripts/setup.sh",
    ):
        assert needed in names, needed


def test_the_development_lock_has_a_hash_for_everything_that_its_extras_need() -> None:
    locked = (ROOT / "requirements-dev.lock").read_text()
    assert "://" not in locked
    entries = [entry for entry in re.split(r"^(?=[a-z])", locked, flags=re.MULTILINE) if "==" in entry]
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    names = {re.split(r"[\[=]", entry)[0] for entry in entries}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (project["optional-dependencies"][extra] for extra in ("dev", "cpu", "train", "ray"))
    for requirement in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        name = re.split(r"[\[<>=]", requirement)[0].lower().replace("_", "-")
        assert name in names | {"torch"}, f"{name}: run scripts/lock.sh"
