"""``init``: write a first config for a provider, with a comment on every choice."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec

from weak2wise.commands.say import report_errors, say
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.llm.vllm.gpu_memory import Gpu, gpus
from weak2wise.presets import KnownModel, Preset, presets

_STRONG_TOKENS, _HELPER_TOKENS, _THINKING_HELPER_TOKENS = 16384, 1024, 4096
_THINKING = {
    "shown": "shows its thinking, which is what the weak LLM is taught",
    "hidden": "does not show its thinking; the steps of its answers stand in for it",
    "off": "does not think first: cheaper, and enough for a verdict",
}


_WEAK_BYTES, _MOST_GPUS_OF_A_COPY = 17e9, 4
"""What a copy of the weak LLM in this config needs at least, and over how many GPUs its 28 heads can be spread."""


def text(provider: str, name: str, found: Sequence[Gpu] = ()) -> str:
    """The text of the config file called ``name``; ``found``: the GPUs of this machine."""
    chosen = presets()[provider]
    strong = _endpoint(chosen, chosen.strong, _STRONG_TOKENS)
    if chosen.helper.model == chosen.strong.model:
        helper, helper_endpoint = "strong", ""
    else:
        helper = "helper"
        tokens = _HELPER_TOKENS if chosen.helper.thinking == "off" else _THINKING_HELPER_TOKENS
        helper_endpoint = f"  helper: # {_THINKING[chosen.helper.thinking]}\n{_endpoint(chosen, chosen.helper, tokens)}"
    export = f"export {chosen.key}=… first. " if chosen.key else ""
    return f"""\
# A Weak2Wise run with {provider}. {export}Then:
#   weak2wise check --config {name}      do all endpoints answer, and what will it cost?
#   weak2wise preview --config {name}    run three questions through all steps
#   weak2wise --config {name}            the run; after an interruption the same command resumes it
# {chosen.about}, as looked up on {chosen.looked_up}: {chosen.remark}.

models:
  mweak: weak # the LLM to be taught: it filters the questions and scores the traces
  mstrong: [strong] # write the traces; with several endpoints, the best trace wins
  judge: {helper} # asked only if the rule (arithmetic and algebra) cannot decide
  truncation: {helper} # finds the sentence in which the answer is first derived

model_endpoints:
  weak:
    type: vllm # embedded in this process; for one behind HTTP write an endpoint like the ones below
    model_name: Qwen/Qwen2.5-7B-Instruct # a hub name or a local folder
    generation_kwargs: {{ max_new_tokens: 4096 }}
    max_model_len: 16384
    gpu_memory_utilization: 0.9
{_copies(found)}  strong: # {_THINKING[chosen.strong.thinking]}
{strong}    max_concurrent_requests: 64
    # max_requests_per_minute: 600 # what your account allows; left out: learned from replies
    # max_tokens_per_minute: 2000000
{helper_endpoint}
{_engine(chosen)}params:
  samples_per_model: 3 # traces for each question from each strong model
  n_mask: 6 # mask levels at which each trace is tried
  # skip_filter: true # also keep the questions that the weak LLM already solves

dataset:
  input_path: data/questions.jsonl # one {{"question": …, "answer": …}} a line
  # columns: {{ question: problem, answer: solution }} # if the input has other field names
  work_dir: data/work # ledgers (to resume from), output files and log
  # finetune_out: data/finetune.jsonl # left out: finetune.jsonl in work_dir
"""


def _copies(found: Sequence[Gpu]) -> str:
    """How the weak LLM uses the GPUs of this machine."""
    if not found:
        return (
            "    # data_parallel_size: 8 # copies, each on its own GPU; no GPU was seen where this file was written\n"
        )
    size = min(gpu.size for gpu in found)
    seen = (
        f"{len(found)} x {found[0].name}, {size / 1e9:.0f} GB"
        if len(found) > 1
        else f"{found[0].name}, {size / 1e9:.0f} GB"
    )
    each = 1
    while 0.9 * size * each < _WEAK_BYTES and 2 * each <= min(len(found), _MOST_GPUS_OF_A_COPY):
        each *= 2
    lines = [f"data_parallel_size: {len(found) // each} # copies of the model; seen here: {seen}"]
    if each > 1:
        lines.append(f"tensor_parallel_size: {each} # GPUs of a copy, since one is too small for it")
    return "".join(f"    {line}\n" for line in lines)


def _engine(preset: Preset) -> str:
    """The choice to wait for lower prices, where there are any."""
    if not (preset.strong.prices and preset.strong.prices.off_peak):
        return ""
    return """engine:
  wait_for_off_peak: false # true: strong calls wait for the cheaper hours; everything else goes on
  # max_cost_usd: 20 # a cap

"""


def _endpoint(preset: Preset, model: KnownModel, tokens: int) -> str:
    """The keys of an endpoint, a line each."""
    lines = ["type: openai", f"base_url: {preset.base_url}"]
    if preset.key:
        lines.append(f"api_key_env: {preset.key} # the environment variable that holds the key")
    lines += [f"model_id: {model.model}", f"max_tokens: {tokens} # of one answer, its thinking included"]
    if model.stream:
        lines.append("stream: true # it thinks only where the answer is streamed")
    for name, lane in preset.lanes.items():
        lines.append(f"# lane: {name} # slower, for {lane.factor:.0%} of the prices")
    if body := model.extra_body(tokens):
        left_out = ", ".join((*model.refuses, *model.renames))
        lines.append(
            f"extra_body: {_flow(body)} # added to each request"
            + (f"; null: {left_out} would be refused" if left_out else "")
        )
    if model.prices:
        prices = msgspec.to_builtins(model.prices) | {"as_of": str(preset.looked_up)}
        shown = _flow({key: value for key, value in prices.items() if value is not None})
        lines.append(f"prices: {shown} # US dollars per million tokens; source: {model.source}")
        if model.prices.off_peak:
            lines[-1] += "; less outside the peak hours"
    elif preset.key:
        lines.append("# prices: { input: 0.00, cached_input: 0.00, output: 0.00 } # look them up, for the forecast")
    return "".join(f"    {line}\n" for line in lines)


def _flow(value: dict[str, object]) -> str:
    """A mapping as YAML on one line; JSON is YAML, but for the look of the keys."""
    parts = (f"{key}: {_flow(item) if isinstance(item, dict) else _json(item)}" for key, item in value.items())
    return "{ " + ", ".join(parts) + " }"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _listed() -> str:
    """A line or two for each provider."""
    shown = []
    for name, preset in presets().items():
        models = " and ".join(dict.fromkeys((preset.strong.model, preset.helper.model)))
        shown.append(f"{name:11} {preset.about}: {models} (looked up {preset.looked_up})\n")
        unverified = dict.fromkeys((*preset.strong.unverified, *preset.helper.unverified))
        shown += [f"{'':11} not verified: {fact}\n" for fact in unverified]
    return "".join(shown)


@report_errors
def init(
    provider: str | None = None,
    *,
    out: Path = Path("config.yaml"),
    list_: Annotated[bool, cyclopts.Parameter(name="--list", negative="")] = False,
) -> int:
    """Write a commented config for a provider, ready for ``check``, ``preview`` and a run.

    Args:
        provider: Who serves the strong LLMs: deepseek, openai, … or vllm (your own server); --list names them all.
        out: The file to write; an existing file is not changed.
        list_: List the providers, their models, and what of it is not verified.
    """
    if list_:
        sys.stdout.write(_listed())
        return 0
    names = ", ".join(presets())
    if provider is None:
        raise ConfigError(f"init: name a provider: {names}; for example: weak2wise init deepseek")
    if provider not in presets():
        near = get_close_matches(provider, presets(), n=1)
        raise ConfigError(f"init: {provider}: no such provider; " + (f"did you mean {near[0]}?" if near else names))
    if out.exists():
        raise ConfigError(f"{out}: exists already; choose another name, such as --out run.yaml, or move the file away")
    write_atomic(out, [text(provider, str(out), gpus()).encode()])
    key = presets()[provider].key
    first = f"export {key}=…, then " if key else ""
    say(f"{out}: written. Set dataset.input_path in it, {first}run", f"weak2wise check --config {out}")
    return 0
