"""The embedded vLLM engine, with a real model on whatever device the installed vLLM was built for."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import pytest_asyncio

from tests.contexts import PROMPTS, context
from weak2wise.config.schema import GenerationKwargs, Params, TransformersEndpoint, VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm._vllm_guard import engine_processes, family
from weak2wise.llm._vllm_log import EngineLog
from weak2wise.llm.errors import Rejected
from weak2wise.llm.model import Completion, Message, Prompt
from weak2wise.llm.restart import Restarted
from weak2wise.llm.vllm import EngineDied, VllmModel, check_vllm
from weak2wise.offload import Offload
from workers.judge import Judge
from workers.records import Candidate, Question, Traced
from workers.scorers import StepMask
from workers.scorers.masking import exact_weights
from workers.scorers.race import Race
from workers.select import select

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 30.0
"""How long to wait for processes to be gone: far more than they need, so that a busy machine fails no test."""

engine_test = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore"),  # torch and vLLM deprecate things as they are imported
]


def model_folder() -> str:
    """The weak model for tests: ``W2W_TEST_WEAK_MODEL``, or where ``scripts`` put it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    default = cache / "weak2wise" / "models" / "smollm2-135m-instruct"
    folder = Path(os.environ.get("W2W_TEST_WEAK_MODEL") or default)
    if not (folder / "config.json").is_file():
        pytest.fail(f"no model in {folder}: set W2W_TEST_WEAK_MODEL to a folder with SmolLM2-135M-Instruct")
    return str(folder)


def ask(text: str, seed: int = 0, temperature: float = 0.8) -> Prompt:
    return Prompt(messages=(Message("user", text),), temperature=temperature, seed=seed)


class HalfYes(Judge):
    """Judges by lengths alone."""

    async def rule(self, attempt: str, answer: str, *, cut_off: bool = False) -> bool | None:
        return (len(attempt + answer) + cut_off) % 2 == 0


def wait_until_gone(pids: list[int], started: float | None = None) -> None:
    """Wait for processes, given by id while they run, and all their descendants to be gone."""
    begin = started or time.monotonic()
    while family(pids):
        assert time.monotonic() - begin < PATIENCE_SECONDS, f"still there: {sorted(family(pids))}"
        time.sleep(0.1)


def collect() -> None:
    """Free the engines that tests left behind, here and not in some later test: vLLM leaves its ZeroMQ context open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


# --- without an engine


def test_importing_the_module_does_not_import_vllm() -> None:
    """The configuration can be checked where vLLM is not installed, and quickly where it is."""
    code = "import sys, weak2wise.llm.vllm; sys.exit('vllm' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_missing_vllm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    with pytest.raises(ConfigError, match=r"model_endpoints\.weak .*'\.\[gpu\]'.*'\.\[cpu\]'"):
        check_vllm("weak", VllmEndpoint(model_id="m"))


@pytest.mark.vllm
def test_unknown_engine_argument_is_named_with_the_nearest_known_one() -> None:
    endpoint = VllmEndpoint(model_id="m", engine_args={"seed": 1, "swap_spaec": 2, "block_sise": 16})
    with pytest.raises(ConfigError, match="swap_spaec"):
        check_vllm("weak", endpoint)
    endpoint = VllmEndpoint(model_id="m", engine_args={"block_sise": 16})
    with pytest.raises(ConfigError, match=r"model_endpoints\.weak\.engine_args\.block_sise.*'block_size'"):
        check_vllm("weak", endpoint)


@pytest.mark.vllm
def test_engine_argument_given_twice_is_refused() -> None:
    endpoint = VllmEndpoint(model_id="m", max_num_seqs=8, engine_args={"max_num_seqs": 16})
    with pytest.raises(ConfigError, match=r"engine_args\.max_num_seqs"):
        check_vllm("weak", endpoint)


@pytest.mark.vllm
def test_known_engine_arguments_pass() -> None:
    check_vllm("weak", VllmEndpoint(model_id="m", engine_args={"block_size": 16, "seed": 1}))


def test_last_words_are_the_last_error_of_this_engine(tmp_path: Path) -> None:
    """An earlier engine's words in the same file are not taken for this one's."""
    file = tmp_path / "vllm.log"
    file.write_text("ValueError: of an earlier engine\n")
    engine_log = EngineLog(file)
    assert engine_log.last_words() == ""
    with file.open("a") as more:
        more.write(
            "INFO loading\nTraceback (most recent call last):\n  File x\ntorch.OutOfMemoryError: no room\nINFO bye\n"
        )
    assert engine_log.last_words() == "torch.OutOfMemoryError: no room"
    engine_log.close()


def test_what_the_engine_says_is_private_to_its_owner(tmp_path: Path) -> None:
    engine_log = EngineLog(tmp_path / "vllm.log")
    assert (tmp_path / "vllm.log").stat().st_mode & 0o777 == 0o600
    engine_log.close()


def test_guard_kills_what_a_killed_process_leaves_behind() -> None:
    """The guard alone, without vLLM: a spawned child of a process that gets SIGKILL is gone soon."""
    code = (
        "import multiprocessing, time\n"
        "from weak2wise.llm._vllm_guard import Guard\n"
        "guard = Guard()\n"
        "child = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(600,))\n"
        "child.start(); print('ready', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        members = [pid for pid, _ in family([program.pid])]
        assert len(members) == 4  # itself, its child, the guard and multiprocessing's resource tracker
        program.kill()
    wait_until_gone(members)


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("replicas", "sequences"), [(None, 256), (8, 2048)])
def test_each_data_parallel_replica_adds_its_room(replicas: int | None, sequences: int) -> None:
    """What vLLM itself makes of the endpoint, without starting it."""
    module = import_module("weak2wise.llm._vllm_engine")
    endpoint = VllmEndpoint(model_id=model_folder(), max_model_len=2048, max_num_seqs=256, data_parallel_size=replicas)
    engine_log = EngineLog(None)
    try:
        arguments = module._engine_args("weak", endpoint, engine_log)
        assert module.sequences(arguments.create_engine_config(module.UsageContext.LLM_CLASS)) == sequences
    finally:
        engine_log.close()


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_a_loop_of_any_length_up_to_a_paragraph_is_ended_and_a_list_is_not() -> None:
    """By vLLM's own check: four times the pattern, or of a short one as many as make 68 tokens."""
    check = import_module("vllm.v1.core.sched.utils").check_sequence_repetition
    repetition = import_module("weak2wise.llm._vllm_engine").REPETITION
    start = list(range(1000, 1050))
    for period in range(1, 129):
        tokens = start + 600 * list(range(period))
        ended = next(n for n in range(len(start), len(tokens)) if check(tokens[:n], repetition))
        assert 68 <= ended - len(start) <= max(4 * period, 128)
    counting = [token for number in range(300) for token in (*range(20), 100 + number)]
    assert not any(check(counting[:n], repetition) for n in range(1, len(counting), 7))
    assert not check(start + 3 * list(range(100)), repetition)


# --- one engine for many tests


class TestEngine:
    """Tests that share one running engine."""

    pytestmark = engine_test

    @pytest_asyncio.fixture(loop_scope="module", scope="class")
    async def model(self) -> AsyncIterator[VllmModel]:
        endpoint = VllmEndpoint(
            model_id=model_folder(),
            dtype="float32",
            max_model_len=2048,
            max_num_seqs=32,
            enforce_eager=True,
            enable_prefix_caching=True,
            generation_kwargs=GenerationKwargs(max_new_tokens=24),
            engine_args={"kv_cache_memory_bytes": 2**30, "block_size": 32},
        )
        model = VllmModel("weak", endpoint)
        await model.start()
        yield model
        await model.close()
        del model
        collect()

    async def test_answers_with_usage(self, model: VllmModel) -> None:
        answer = await model.complete(ask("What is the capital of France?", temperature=0.0))
        assert "Paris" in answer.text
        assert answer.reasoning is None
        assert answer.finish_reason in {"stop", "length"}
        assert answer.usage.prompt_tokens > 20  # the question within the chat template
        assert 0 < answer.usage.completion_tokens <= 24

    async def test_same_seed_same_text_other_seed_other_text(self, model: VllmModel) -> None:
        """A seed of any size repeats a draw; different seeds draw differently."""
        texts = [(await model.complete(ask("Tell me a story.", seed))).text for seed in (2**80 + 7, 2**80 + 7, 1, 2)]
        assert texts[0] == texts[1]
        assert len(set(texts)) == 3

    async def test_too_long_prompt_fails_alone(self, model: VllmModel) -> None:
        """Its sixteen neighbours are answered."""
        prompts = [ask(f"Say the number {i}.", i) for i in range(16)]
        prompts.insert(8, ask("word " * 5000))
        outcomes = await asyncio.gather(*map(model.complete, prompts), return_exceptions=True)
        refused = outcomes.pop(8)
        assert isinstance(refused, Rejected)
        assert refused.kind == "context_overflow"
        assert refused.endpoint == "weak"
        assert "2048" in str(refused)
        assert all(isinstance(outcome, Completion) for outcome in outcomes)

    async def test_votes_share_one_prefill(self, model: VllmModel) -> None:
        """Asked together, all but the first take the prompt's whole blocks from the prefix cache."""
        text = "Add the numbers one after another and see what comes of it. " * 20
        votes = await asyncio.gather(*(model.complete(ask(text, seed)) for seed in range(5)))
        blocks = (votes[0].usage.prompt_tokens - 1) // 32
        assert blocks > 6
        assert [vote.usage.cached_tokens for vote in votes[1:]] == [32 * blocks] * 4

    async def test_a_race_on_the_engine_leaves_out_what_cannot_matter(self, model: VllmModel) -> None:
        """On real attempts at real hints, judged by a rule that says Yes to about half of them."""
        candidates = tuple(
            Candidate(
                m_strong="m",
                sample=sample,
                step_reasoning="",
                step_list=(
                    f"## Step {sample}\nAdd {sample} and {sample + 7} first.",
                    "## Step\nDouble what comes of it.",
                ),
                normal="word " * (sample + 1),
                normal_is_own=True,
            )
            for sample in range(3)
        )
        record = Traced(question=Question(row=1, id=None, text="How many?", answer="5"), candidates=candidates)
        bits: dict[int | None, Counter[str]] = {}
        for width in (1, None):
            judge = HalfYes(prompts=PROMPTS, offload=Offload(), mode="rule")
            worker = StepMask(context(Params(n_mask=4), model, judge, race_width=width, free=model.free))
            scores = await worker(record)
            bits[width] = worker.context.bits
            weights = exact_weights(4, beta=0.5, normalization="reference")
            _, best = select(candidates, scores, worker)
            assert None not in best.s_list
            assert not best.is_bound
            assert any(None in score.s_list for score in scores)
            assert all(score.is_bound == (None in score.s_list) for score in scores)
            for missing in (0, 1):  # whatever the other bits had been, the same one would have won, by the same bits
                known = [[missing if bit is None else bit for bit in score.s_list] for score in scores]
                race = Race(weights, [c.length for c in candidates], [[(c, i) for i in range(4)] for c in range(3)])
                while wanted := race.wanted():
                    race.learn(wanted[0], known[wanted[0][0]][wanted[0][1]])
                assert [race.s_list(c) for c in range(3)] == [score.s_list for score in scores]
        assert bits[1]["in_vain"] == 0
        assert bits[1]["spared"] > 0
        assert bits[None]["in_vain"] > 0

    async def test_admission_is_bounded_and_a_cancelled_call_frees_its_place(self, model: VllmModel) -> None:
        assert model.capacity == 36
        calls = [asyncio.create_task(model.complete(ask(f"Write about {i}.", i))) for i in range(40)]
        await asyncio.sleep(0)
        assert (model.in_flight, model.waiting) == (36, 4)
        for call in calls[4:]:
            call.cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, Completion) for outcome in done[:4])
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in done[4:])
        assert (model.in_flight, model.waiting) == (0, 0)


# --- engines of their own


class TestLifeAndDeath:
    """Tests that start an engine each, since they end it."""

    pytestmark = engine_test

    @pytest.fixture(autouse=True)
    def _collected(self) -> Iterator[None]:
        yield
        collect()

    async def test_base_model_then_its_sudden_death(self) -> None:
        """Bare text, greedy and up to the last token of context; then the engine is killed under waiting calls.

        One test, since starting an engine is most of its cost.
        """
        endpoint = TransformersEndpoint(
            model_name=model_folder(),
            device="cuda:0",  # as the reference's configuration may say; the CPU build runs it all the same
            tokenizer_kwargs={"use_fast": True},
            chat_template=False,
            dtype="float32",
            max_model_len=256,
            max_num_seqs=4,
            enforce_eager=True,
            generation_kwargs=GenerationKwargs(do_sample=False),
            engine_args={"kv_cache_memory_bytes": 2**28},
        )
        model = VllmModel("base", endpoint)
        members: list[int] = []
        try:
            await model.start()
            members += [pid for pid, _ in family(process.pid for process in engine_processes() if process.pid)]
            assert members
            short = await model.complete(ask(" the" * 200, seed=1, temperature=2.0))
            again = await model.complete(ask(" the" * 200, seed=2, temperature=2.0))
            assert short.usage.prompt_tokens == 200
            assert short.text == again.text
            last = await model.complete(ask(" the" * 255))
            assert (last.usage.completion_tokens, last.finish_reason) == (1, "length")
            looping = await model.complete(ask(" the" * 60))
            assert (looping.finish_reason, looping.usage.completion_tokens < 150) == ("repetition", True)
            with pytest.raises(Rejected, match="256 tokens") as refused:
                await model.complete(ask(" the" * 256))
            assert refused.value.kind == "context_overflow"

            calls = [asyncio.create_task(model.complete(ask(f"Count to {i}:", i))) for i in range(12)]
            await asyncio.sleep(1)
            assert model.in_flight == model.capacity
            for process in engine_processes():
                process.kill()
            async with asyncio.timeout(PATIENCE_SECONDS):
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
            died = [outcome for outcome in outcomes if not isinstance(outcome, Completion)]
            assert len(died) > len(outcomes) - model.capacity
            assert all(isinstance(outcome, EngineDied) for outcome in died)
            with pytest.raises(EngineDied, match="signal 9") as late:
                await model.complete(ask("Anybody there?"))
            assert "start again" in late.value.hint
        finally:
            await model.close()
        assert not engine_processes()
        wait_until_gone(members)
        with pytest.raises(EngineDied, match="not running"):
            await model.complete(ask("Anybody there?"))

    async def test_an_engine_killed_under_waiting_calls_is_started_again_and_answers_them(self) -> None:
        endpoint = VllmEndpoint(
            model_name=model_folder(),
            dtype="float32",
            max_model_len=256,
            max_num_seqs=4,
            enforce_eager=True,
            generation_kwargs=GenerationKwargs(max_new_tokens=64),
            engine_args={"kv_cache_memory_bytes": 2**28},
        )
        model = VllmModel("weak", endpoint)
        restarted = Restarted(model, max_restarts=1, first_wait=0.1)
        try:
            await model.start()
            calls = [asyncio.create_task(restarted.complete(ask(f"Count to {i}:", i))) for i in range(12)]
            while model.in_flight < model.capacity:
                await asyncio.sleep(0.05)
            for process in engine_processes():
                process.kill()
            assert all(isinstance(answer, Completion) for answer in await asyncio.gather(*calls))
            late = asyncio.create_task(restarted.complete(ask("Count to 99:", 99)))
            while not model.in_flight:
                await asyncio.sleep(0.01)
            for process in engine_processes():
                process.kill()
            with pytest.raises(EngineDied, match="signal 9"):
                await late
        finally:
            await model.close()
        assert not engine_processes()

    async def test_unreadable_model_is_a_configuration_error(self, tmp_path: Path) -> None:
        model = VllmModel("weak", VllmEndpoint(model_id=str(tmp_path)))
        with pytest.raises(ConfigError, match=r"model_endpoints\.weak: vLLM refuses it"):
            await model.start()
        assert not engine_processes()


def start_child() -> "subprocess.Popen[bytes]":
    """The child program in a process group of its own, as a shell would start it."""
    command = [sys.executable, "-m", "tests.vllm_child", model_folder()]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )


def wait_for(condition: Callable[[], bool], child: "subprocess.Popen[bytes]") -> None:
    begin = time.monotonic()
    while not condition():
        assert child.poll() is None, "the child program ended by itself"
        assert time.monotonic() - begin < 240
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.vllm
def test_ctrl_c_during_start_up_leaves_nothing_behind() -> None:
    """A terminal sends SIGINT to the whole process group; the program ends at once, with its engine half started."""
    with start_child() as child:
        wait_for(lambda: len(family([child.pid])) > 3, child)  # more than itself, the guard and the resource tracker
        members = [pid for pid, _ in family([child.pid])]
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(PATIENCE_SECONDS) != 0
    wait_until_gone(members)


@pytest.mark.slow
@pytest.mark.vllm
def test_sigkill_leaves_no_orphan() -> None:
    with start_child() as child:
        assert child.stdout is not None
        assert [child.stdout.readline(), child.stdout.readline()] == [b"starting\n", b"started\n"]
        members = [pid for pid, _ in family([child.pid])]
        assert len(members) > 3
        child.kill()
    wait_until_gone(members)
