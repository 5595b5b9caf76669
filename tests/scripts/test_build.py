"""What is given away: a wheel with all that the program reads, an sdist for the tests, and the development lock."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import weak2wise
from tests.engine_runs import ROOT

ADDRESS = "https://example.org/lab/weak2wise"


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
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, as the build leaves files beside the sources."""
    copy = tmp_path_factory.mktemp("copy")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def built(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_every_data_file_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name.startswith(f"weak2wise-{weak2wise.__version__}-")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == tracked("weak2wise", "workers")
    assert {"weak2wise/presets.toml", "weak2wise/py.typed", "weak2wise/watch/static/run.html"} <= names


@pytest.mark.slow
def test_the_sdist_holds_all_that_the_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked() - names == set()


@pytest.mark.slow
def test_the_installed_wheel_is_the_whole_program(built: Path, tmp_path: Path) -> None:
    """In a new environment, far from the repository; its dependencies are those of this one."""
    venv.create(tmp_path / "venv", with_pip=False)
    (wheel,) = built.glob("*.whl")
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
        str(wheel),
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


def links(metadata: str) -> list[str]:
    """The addresses of the links and pictures in the description that a package index shows."""
    found = re.findall(r"\]\(([^)]+)\)", metadata.partition("\n\n")[2])
    assert found
    return found


@pytest.mark.slow
def test_no_link_of_the_package_index_page_needs_the_repository(built: Path, copy: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    assert "Description-Content-Type: text/markdown" in metadata
    assert "bash scripts/quickstart.sh" in metadata
    assert [link for link in links(metadata) if not link.startswith("https://")] == []

    project = copy / "pyproject.toml"
    with project.open("a") as file:
        file.write(f'\n[project.urls]\nRepository = "{ADDRESS}"\n')
    subprocess.run([sys.executable, "setup.py", "-q", "egg_info"], cwd=copy, check=True, capture_output=True)
    metadata = (copy / "weak2wise.egg-info" / "PKG-INFO").read_text()
    assert f"{ADDRESS}/raw/main/docs/pipeline.svg" in links(metadata)
    assert f"{ADDRESS}/blob/main/docs/tutorial.md" in links(metadata)
    of_the_repository = [link.partition("/main/")[2] for link in links(metadata) if link.startswith(ADDRESS)]
    assert [path for path in of_the_repository if not (ROOT / path.partition("#")[0]).is_file()] == []
    assert [link for link in links(metadata) if not link.startswith("https://")] == []


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
