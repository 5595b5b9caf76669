"""The hosts of a cluster as holders of leases: an actor at each place, watched, and replaced when it is lost.

Ray restarts and repeats nothing by itself (``max_restarts=0``, ``max_task_retries=0``): the driver decides. What is up
is used; nothing waits for all nodes.
"""

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from weak2wise.cluster import connect
from weak2wise.cluster.actors import DeskActor, EngineHost
from weak2wise.cluster.outcomes import opened, part_result, said
from weak2wise.cluster.places import Place, places
from weak2wise.config import Config
from weak2wise.deadline import Deadline
from weak2wise.errors import RunStopped
from weak2wise.ledger.leases import LEASE_SECONDS, Lease
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.drain import PAID_ANSWERS_SECONDS, Drain
from weak2wise.llm.fence import Silence
from weak2wise.run.driver import Holder, HolderLost
from weak2wise.run.part_run import PartResult, Task
from weak2wise.telemetry.log import log
from weak2wise.watch.board import Board

HEARTBEAT_SECONDS = 1.0
LOOK_SECONDS = 2.0
"""Between two looks for nodes that came up, and for places whose host is gone."""
TRIES = 3
"""Times that a host may fail to open at one place."""
GRACE_SECONDS = 2.0
"""How long to wait for answers in flight when the run is interrupted."""
CLOSE_SECONDS = 3.0
DESK_SECONDS = 60.0
"""The desk is taken for lost if it does not answer for so long; hosts wait for it meanwhile."""
STATUS_HINT = "Look at the cluster (ray status)."
AGAIN_HINT = "Start the same command again."
_BOARDS = msgspec.msgpack.Decoder(list[Board])


def keys_of(config: Config) -> dict[str, str]:
    """The environment variables of this process with the keys that a config names."""
    names = {name for endpoint in config.endpoints.values() for name in endpoint.secrets().values()}
    return {name: value for name in sorted(names) if (value := os.environ.get(name))}


def _call(method: Any, *args: Any) -> "asyncio.Future[Any]":
    """Call a method of an actor. How it ends may be known before, and then nobody asks for what it raised."""
    calling: asyncio.Future[Any] = asyncio.ensure_future(method.remote(*args))
    calling.add_done_callback(lambda done: done.cancelled() or done.exception())
    return calling


async def _answered(calling: "asyncio.Future[Any]", seconds: float) -> bool:
    """Whether a call is over within so many seconds for which this process was running."""
    with suppress(TimeoutError):
        async with Deadline(seconds):
            await asyncio.wait([calling])
    return calling.done()


class RayHolder:
    """One ``EngineHost``, seen from the driver.

    Args:
        name: never the same for two.
        place: where it is.
        actor: its handle.
        grace: how long it may wait for answers in flight when the run stops, in seconds.
    """

    def __init__(self, name: str, place: Place, actor: Any, grace: Callable[[], float]) -> None:
        self.name = name
        self.place = place
        self.lost: asyncio.Future[HolderLost] = asyncio.get_running_loop().create_future()
        """Resolves to how it was lost."""
        self.quiet = asyncio.Event()
        """Set while it works on nothing."""
        self.quiet.set()
        self._actor = actor
        self._grace = grace
        self._working = 0
        self._silence = Silence()
        self._boards: list[Board] = []

    async def open(self, config: Config, task: Task, desk: Any) -> None:
        """Open its host. Raises as ``opened``, or ``RayError``."""
        self._silence.said()
        folder = await asyncio.to_thread(Path.cwd)
        share = self.place.number, self.place.of
        opening = self._actor.open.remote(
            config, task, keys=keys_of(config), folder=str(folder), desk=desk, share=share
        )
        opened(await opening)
        self._silence.said()

    async def watch(self) -> None:
        """Say that the driver lives, until the host does not answer for as long as it may hear nothing."""
        answered = 0.0
        while not self.lost.done():
            self._silence.said()
            hearing = _call(self._actor.hear, answered)
            if not await _answered(hearing, LEASE_SECONDS):
                self.lose(HolderLost(f"does not answer for {LEASE_SECONDS:g} s"))
                break
            try:
                answered, boards = hearing.result()
            except RayError as error:
                self.lose(HolderLost(said(error)))
                break
            self._boards = _BOARDS.decode(boards)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def lose(self, why: HolderLost) -> None:
        """It is taken for lost."""
        if not self.lost.done():
            self.lost.set_result(why)
            self._boards = []

    async def work(self, lease: Lease, fed: Callable[[], None]) -> PartResult:
        """Work on a part. Cancelled, it stops sending. Raises ``HolderLost``, and as ``PartWorker.work``."""
        self._check()
        self._working += 1
        self.quiet.clear()
        working = _call(self._actor.work, msgspec.msgpack.encode(lease))
        either: list[asyncio.Future[Any]] = [working, self.lost]
        feeding = asyncio.create_task(self._feed(lease, fed))
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                self._check()
            return part_result(working.result())
        except RayError as error:
            self.lose(HolderLost(said(error)))
            raise HolderLost(said(error)) from error
        except HolderLost as error:
            self.lose(error)
            raise
        except asyncio.CancelledError:
            await self._stop(working)
            if not working.done():
                raise HolderLost("does not say that it has stopped") from None
            raise
        finally:
            feeding.cancel()
            self._working -= 1
            if not self._working:
                self.quiet.set()

    def _check(self) -> None:
        """Raise ``HolderLost`` if it is lost."""
        if self.lost.done():
            raise HolderLost(str(why := self.lost.result()), died=why.died)

    async def _stop(self, working: "asyncio.Future[bytes]") -> None:
        """Let it stop sending, and wait until what had arrived is written down."""
        grace = self._grace()
        with suppress(RayError, TimeoutError):
            async with Deadline(grace + CLOSE_SECONDS):
                await self._actor.stop.remote(grace)
                either: list[asyncio.Future[Any]] = [working, self.lost]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    async def _feed(self, lease: Lease, fed: Callable[[], None]) -> None:
        with suppress(RayError):
            await self._actor.fed.remote(lease.part, lease.epoch)
            fed()

    def boards(self) -> Sequence[Board]:
        """The facts of the parts that it works on, as it said last."""
        return self._boards

    async def gone(self) -> None:
        """Wait until it certainly sends nothing any more."""
        await self._silence.wait()

    async def close(self) -> None:
        """End its process."""
        with suppress(RayError, TimeoutError):
            async with Deadline(CLOSE_SECONDS):
                await self._actor.close.remote()
        self.kill()

    def kill(self) -> None:
        """End its process at once, if it can be reached."""
        with suppress(RayError, ValueError):
            ray.kill(self._actor)


class RayHolders:
    """The hosts of the cluster that this process is connected to.

    Args:
        config: the run's.
    """

    def __init__(self, config: Config) -> None:
        self._drain = Drain()
        self._budget = CostBudget()
        self._config = config
        self._numbers = itertools.count(1)
        self._up: dict[tuple[str, int], RayHolder] = {}
        self._failures: Counter[tuple[str, int]] = Counter()
        self._desk: Any = None
        self._ready: asyncio.Queue[RayHolder | Exception] = asyncio.Queue()

    @contextmanager
    def joined(self, address: str, drain: Drain, budget: CostBudget) -> Iterator[None]:
        """Be connected to the cluster (``connect.joined``).

        Args:
            address: of the cluster.
            drain: the engine's; once it has started, the run was interrupted: hosts wait for answers only shortly.
            budget: the engine's, which knows what is spent before the first part is leased.
        """
        self._drain, self._budget = drain, budget
        with connect.joined(address):
            yield

    async def each(self, task: Task) -> AsyncIterator[Holder]:
        """Each host as it comes up, also one that replaces a lost one.

        Raises:
            ConfigError, RunStopped, RemoteBug: a host cannot be opened.
        """
        tasks: set[asyncio.Task[None]] = set()
        try:
            await self._open_desk()
            tasks.add(asyncio.create_task(self._watch_desk()))
            tasks.add(asyncio.create_task(self._look(task, tasks)))
            while True:
                found = await self._ready.get()
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            await asyncio.shield(self._close(tasks))

    def _grace(self) -> float:
        return GRACE_SECONDS if self._drain.started else PAID_ANSWERS_SECONDS

    async def _open_desk(self) -> None:
        """On the driver's node: without the one the run ends, as without the other."""
        nodes = await asyncio.to_thread(ray.nodes)
        # Not soft: about half of Ray's soft placements were on another node, whose end was then that of the desk.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._desk = _actor(DeskActor, cpus=0, gpus=0, where=here)
        try:
            await self._desk.open.remote(self._config, self._budget.spent, max(1, len(places(nodes))))
        except RayError as error:
            raise RunStopped(f"the desk does not start: {said(error)}", hint=STATUS_HINT) from None

    async def _watch_desk(self) -> None:
        """Until the desk is lost: nothing can be sent without it."""
        while True:
            answering = _call(self._desk.lives)
            if not await _answered(answering, DESK_SECONDS):
                why = f"does not answer for {DESK_SECONDS:g} s"
                break
            if isinstance(error := answering.exception(), RayError):
                why = said(error)
                break
            await asyncio.sleep(HEARTBEAT_SECONDS)
        await self._ready.put(RunStopped(f"the desk of the cluster is lost: {why}", hint=AGAIN_HINT))

    async def _look(self, task: Task, tasks: set[asyncio.Task[None]]) -> None:
        """Start a host at each free place, again and again."""
        said = False
        while True:
            there = places(await asyncio.to_thread(ray.nodes))
            for place in there:
                key = place.node_id, place.number
                if key not in self._up and self._failures[key] < TRIES:
                    holder = self._start(place)
                    self._up[key] = holder
                    one = asyncio.create_task(self._host(holder, task), name=holder.name)
                    tasks.add(one)
                    one.add_done_callback(tasks.discard)
            if not there and not said:
                said = True
                log.warning("cluster.no_place", effect="waits for a node with a CPU or GPU")
            await asyncio.sleep(LOOK_SECONDS)

    def _start(self, place: Place) -> RayHolder:
        name = f"{place.node}/{place.number}-{next(self._numbers)}"
        where = NodeAffinitySchedulingStrategy(place.node_id, soft=False)
        actor = _actor(EngineHost, name, cpus=place.cpus, gpus=place.gpus, where=where)
        return RayHolder(name, place, actor, self._grace)

    async def _host(self, holder: RayHolder, task: Task) -> None:
        """One host from its start until it is lost."""
        key = holder.place.node_id, holder.place.number
        try:
            await holder.open(self._config, task, self._desk)
        except RayError as error:
            self._failures[key] += 1
            log.warning("holder.not_opened", holder=holder.name, why=said(error))
            await asyncio.sleep(LOOK_SECONDS)
            self._up.pop(key)
            if all(self._failures[other] >= TRIES for other in {key, *self._up}):
                hint = "Look at the cluster (ray status, and the logs of its workers)."
                await self._ready.put(RunStopped(f"no host can be started: {said(error)}", hint=hint))
            return
        except Exception as error:  # noqa: BLE001 - raised in ``each``
            await self._ready.put(error)
            return
        self._failures[key] = 0
        await self._ready.put(holder)
        await holder.watch()
        holder.kill()
        with suppress(RayError):
            await self._desk.give_up.remote(holder.name)
        self._up.pop(key)

    async def _close(self, tasks: set[asyncio.Task[None]]) -> None:
        """End all hosts and the desk, once no part is worked on."""
        await asyncio.gather(*(holder.quiet.wait() for holder in self._up.values()))
        await asyncio.gather(*(holder.close() for holder in self._up.values()))
        for one in [*tasks]:
            one.cancel()
        if self._desk is not None:
            with suppress(RayError, ValueError):
                ray.kill(self._desk)


def _actor(cls: type[Any], *args: Any, cpus: float, gpus: int, where: Any) -> Any:
    """An actor of this class. Ray neither restarts it nor repeats its calls."""
    options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0, "max_concurrency": 1000}
    return ray.remote(cls).options(scheduling_strategy=where, **options).remote(*args)
