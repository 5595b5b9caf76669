"""``python -m build`` makes a wheel that holds all that the program reads, and an sdist from which the tests run."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import weak2wise
from tests.engine_runs import ROOT


def tracked(*under: str) -> set[str]:
    """The files of the project, as git has them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *under],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not in a checkout: which files belong to the project is what git says")
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built in a copy, as the build leaves files beside the sources."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_wheel_holds_every_module_and_every_data_file_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name.startswith(f"weak2wise-{weak2wise.__version__}-")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == tracked("weak2wise", "workers")
    assert {"weak2wise/presets.toml", "weak2wise/py.typed", "weak2wise/watch/static/page.html"} <= names


def test_the_sdist_holds_all_that_the_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked() - names == set()


def test_the_wheel_runs_where_there_is_no_checkout(built: Path, tmp_path: Path) -> None:
    """With nothing of the project on the path but the wheel's own content."""
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import weak2wise, weak2wise.presets, weak2wise.watch.page as page\n"
        "assert weak2wise.__file__.startswith(sys.argv[1]), weak2wise.__file__\n"
        "assert page._read_static() and weak2wise.presets.presets()\n"
        "print(weak2wise.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == weak2wise.__version__
