"""What ``check --ray`` finds out from every node: whether it sees the same work_dir, and can write there.

It runs one small function on each node. A work_dir on a disk of its own on each node would look right everywhere, and
the run would lose its rows; so every node must see the file that this process has made, and this process theirs.
"""

import asyncio
import os
import platform
import shutil
import tempfile
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import ray
from msgspec import Struct
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from weak2wise.access import refusal
from weak2wise.check.findings import Finding
from weak2wise.cluster.places import places
from weak2wise.config import Config
from weak2wise.errors import ConfigError
from weak2wise.llm.endpoint import endpoint_class

NODE_SECONDS = 60.0
"""How long a node may take; a worker has to start and to import us."""
SEEN = "seen-by-the-driver"


class Versions(Struct, frozen=True):
    """What must be the same on all nodes."""

    python: str
    weak2wise: str
    ray: str


class Look(Struct, frozen=True):
    """What one node says. ``token``: of the driver's file, if it sees that. ``error``: why it could not write."""

    versions: Versions
    token: str = ""
    error: str = ""


def versions() -> Versions:
    """Those of this process."""
    return Versions(platform.python_version(), version("weak2wise"), version("ray"))


def look(folder: str, name: str) -> Look:
    """Read the driver's file in a folder, then create, append, fsync and rename one of our own. Blocks."""
    place = Path(folder)
    try:
        token = (place / SEEN).read_text()
        begun = place / f"{name}.begun"
        with begun.open("wb") as file:
            file.write(b"created, ")
        with begun.open("ab") as file:
            file.write(b"appended")
            file.flush()
            os.fsync(file.fileno())
        begun.rename(place / name)
    except OSError as error:
        return Look(versions(), error=f"{error.filename}: {error.strerror}")
    return Look(versions(), token=token)


async def node_findings(config: Config) -> AsyncIterator[Finding]:
    """What each node of the cluster that this process is connected to finds, one after the other as they answer.

    Raises:
        ConfigError: this process itself cannot write where the work_dir is.
    """
    nodes = [node for node in await asyncio.to_thread(ray.nodes) if node["Alive"]]
    token = uuid4().hex
    folder = await asyncio.to_thread(_made_folder, Path(config.dataset.work_dir), token)
    try:
        for answer in asyncio.as_completed([_asked(node, folder) for node in nodes]):
            name, node_id, found = await answer
            wrong = found if isinstance(found, str) else _wrong(found, token, folder / node_id)
            room = [place for place in places(nodes) if place.node_id == node_id]
            said = f"room for {len(room)} hosts" + (", each with a GPU" if room and room[0].gpus else "")
            yield Finding(
                f"node {name}",
                "bad" if wrong else "good",
                wrong or f"{said}; sees {folder.parent}, and can write there",
            )
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    for finding in _room(config, nodes):
        yield finding


def _made_folder(work_dir: Path, token: str) -> Path:
    """A folder in the work_dir, or where that is going to be, with the driver's file in it. Blocks."""
    there = next(folder for folder in (work_dir.absolute(), *work_dir.absolute().parents) if folder.is_dir())
    try:
        folder = Path(tempfile.mkdtemp(prefix=".check-", dir=there))
        (folder / SEEN).write_text(token)
    except OSError as error:
        raise ConfigError(f"{there}: cannot be written: {refusal(there, error)} (dataset.work_dir)") from None
    return folder


async def _asked(node: dict[str, object], folder: Path) -> tuple[str, str, Look | str]:
    node_id, name = str(node["NodeID"]), str(node.get("NodeManagerHostname") or node.get("NodeManagerAddress"))
    where = NodeAffinitySchedulingStrategy(node_id, soft=False)
    ref = ray.remote(look).options(scheduling_strategy=where, num_cpus=0, max_retries=0).remote(str(folder), node_id)
    try:
        async with asyncio.timeout(NODE_SECONDS):
            return name, node_id, await ref
    except TimeoutError:
        return name, node_id, f"does not answer for {NODE_SECONDS:g} s"
    except RayError as error:
        return name, node_id, " ".join(str(error).split())[-300:]


def _wrong(found: Look, token: str, file: Path) -> str:
    """What is wrong with a node; empty if nothing is."""
    if found.versions != versions():
        return f"has {_said(found.versions)}, and this process {_said(versions())}: install the same everywhere"
    if found.error:
        return f"{found.error}: every node needs the work_dir under the same path, on a file system that all share"
    if found.token != token or not file.exists() or file.read_text() != "created, appended":
        return (
            f"{file.parent}: is another folder there than here: put the work_dir on a file system that all nodes share"
        )
    return ""


def _said(found: Versions) -> str:
    return f"Python {found.python}, weak2wise {found.weak2wise}, ray {found.ray}"


def _room(config: Config, nodes: list[dict[str, object]]) -> list[Finding]:
    there = places(nodes)
    if not there:
        return [Finding("cluster", "bad", "no node offers a CPU or GPU, so no host can run")]
    embedded = [
        name for name in dict.fromkeys(config.roles().values()) if endpoint_class(name, config.endpoints[name]).embedded
    ]
    slow = sorted({place.node for place in there if not place.gpus}) if embedded else []
    gpus = sum(place.gpus for place in there)
    said = f"{len(there)} hosts on {len({place.node_id for place in there})} nodes, {gpus} with a GPU"
    if slow and gpus:
        return [
            Finding("cluster", "warning", f"{said}; {', '.join(embedded)} would run on the CPU of {', '.join(slow)}")
        ]
    return [Finding("cluster", "good", said)]
