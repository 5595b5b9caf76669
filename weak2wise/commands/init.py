"""``init``: write a first config for a provider, with a comment on every choice."""

from pathlib import Path
from typing import Literal, NamedTuple

from weak2wise.commands.say import report_errors, say
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic


class _Provider(NamedTuple):
    base_url: str
    key: str | None
    strong: str
    helper: str
    remark: str


Provider = Literal["deepseek", "openai", "dashscope", "openrouter", "vllm"]
_THINKS = "shows its thinking, which is what the weak LLM is taught"
PROVIDERS: dict[Provider, _Provider] = {
    "deepseek": _Provider(
        "https://api.deepseek.com", "DEEPSEEK_API_KEY", "deepseek-reasoner", "deepseek-chat", _THINKS
    ),
    "openai": _Provider(
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        "gpt-4.1",
        "gpt-4.1-mini",
        "its step-by-step answers stand in for thinking, which OpenAI does not show",
    ),
    "dashscope": _Provider(
        "https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", "deepseek-r1", "qwen-plus", _THINKS
    ),
    "openrouter": _Provider(
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        "deepseek/deepseek-r1",
        "deepseek/deepseek-chat",
        _THINKS,
    ),
    "vllm": _Provider(
        "http://localhost:8001/v1",
        None,
        "Qwen/QwQ-32B",
        "Qwen/QwQ-32B",
        f"{_THINKS}; serve it with: vllm serve Qwen/QwQ-32B --reasoning-parser deepseek_r1 --port 8001",
    ),
}


def text(provider: Provider, name: str) -> str:
    """The text of the config file; ``name`` is its file name, for the commands in its comments."""
    chosen = PROVIDERS[provider]
    key = f"    api_key_env: {chosen.key} # the environment variable that holds the key\n" if chosen.key else ""
    both = f"    type: openai\n    base_url: {chosen.base_url}\n{key}"
    if chosen.key:
        both += (
            "    # US dollars per million tokens; check uses them to estimate the cost. Look up the provider's prices\n"
            "    # prices: { input: 0.00, cached_input: 0.00, output: 0.00 }\n"
        )
    if chosen.helper == chosen.strong:
        helper, helper_endpoint = "strong", ""
    else:
        helper, helper_endpoint = "helper", f"  helper:\n{both}    model_id: {chosen.helper}\n"
    export = f"export {chosen.key}=… first. " if chosen.key else ""
    return f"""\
# A Weak2Wise run with {provider}. {export}Then:
#   weak2wise check --config {name}      do all endpoints answer, and what will it cost?
#   weak2wise preview --config {name}    run three questions through all steps
#   weak2wise --config {name}            the run; after an interruption the same command resumes it

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
  strong: # {chosen.remark}
{both}    model_id: {chosen.strong}
    max_tokens: 16384 # of one answer, its thinking included
    max_concurrent_requests: 64
    # max_requests_per_minute: 600 # what your account allows; left out: learned from replies
    # max_tokens_per_minute: 2000000
{helper_endpoint}
params:
  samples_per_model: 3 # traces for each question from each strong model
  n_mask: 6 # mask levels at which each trace is tried
  # skip_filter: true # also keep the questions that the weak LLM already solves

dataset:
  input_path: data/questions.jsonl # one {{"question": …, "answer": …}} a line
  # columns: {{ question: problem, answer: solution }} # if the input has other field names
  work_dir: data/work # ledgers (to resume from), output files and log
  finetune_out: data/finetune.jsonl
"""


@report_errors
def init(provider: Provider | None = None, *, out: Path = Path("config.yaml")) -> int:
    """Write a commented config for a provider, ready for ``check``, ``preview`` and a run.

    Args:
        provider: Who serves the strong LLMs: deepseek, openai, dashscope, openrouter, or vllm (your own server).
        out: The file to write; an existing file is not changed.
    """
    if provider is None:
        raise ConfigError(f"init: name a provider: {', '.join(PROVIDERS)}; for example: weak2wise init deepseek")
    if out.exists():
        raise ConfigError(f"{out}: exists already; choose another name, such as --out run.yaml, or move the file away")
    write_atomic(out, [text(provider, str(out)).encode()])
    key = PROVIDERS[provider].key
    first = f"export {key}=…, then " if key else ""
    say(f"{out}: written. Set dataset.input_path in it, {first}run: weak2wise check --config {out}")
    return 0
