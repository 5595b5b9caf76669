"""``init``: a first config for a provider, with every choice explained where it is made."""

from pathlib import Path
from typing import Literal, NamedTuple

from weak2wise.commands.say import say, told
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
    """The config file, to be called so."""
    chosen = PROVIDERS[provider]
    key = f"    api_key_env: {chosen.key} # the environment variable that holds the key\n" if chosen.key else ""
    both = f"    type: openai\n    base_url: {chosen.base_url}\n{key}"
    if chosen.key:
        both += (
            "    # US dollars per million tokens, for check to tell what a run may cost: look up the provider's price\n"
            "    # prices: { input: 0.00, cached_input: 0.00, output: 0.00 }\n"
        )
    if chosen.helper == chosen.strong:
        helper, helper_endpoint = "strong", ""
    else:
        helper, helper_endpoint = "helper", f"  helper:\n{both}    model_id: {chosen.helper}\n"
    export = f"export {chosen.key}=… first. " if chosen.key else ""
    return f"""\
# A Weak2Wise run with {provider}. {export}Then:
#   weak2wise check --config {name}      does everything answer, and what will it cost?
#   weak2wise preview --config {name}    three questions all the way through
#   weak2wise --config {name}            the run; the same command goes on after any interruption

models:
  mweak: weak # the LLM to be taught: it filters the questions and scores the traces
  mstrong: [strong] # write the traces; name several endpoints to have them compete
  judge: {helper} # asked only where arithmetic and algebra cannot decide
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
    # max_requests_per_minute: 600 # what your account allows; left out: found out by asking
    # max_tokens_per_minute: 2000000
{helper_endpoint}
params:
  samples_per_model: 3 # traces for each question by each strong model
  n_mask: 6 # mask levels each trace is tried at
  # skip_filter: true # keep the questions that the weak LLM already solves, too

dataset:
  input_path: data/questions.jsonl # one {{"question": …, "answer": …}} a line
  # columns: {{ question: problem, answer: solution }} # if the input calls them otherwise
  work_dir: data/work # what makes a run resumable, and what it leaves
  finetune_out: data/finetune.jsonl
"""


@told
def init(provider: Provider | None = None, *, out: Path = Path("config.yaml")) -> int:
    """Write a commented config for a provider, ready for ``check``, ``preview`` and a run.

    Args:
        provider: Where the strong LLMs are: deepseek, openai, dashscope, openrouter, or vllm, a server of your own.
        out: The file to write; one that exists is left alone.
    """
    if provider is None:
        raise ConfigError(f"init: name a provider: {', '.join(PROVIDERS)}; for example: weak2wise init deepseek")
    if out.exists():
        raise ConfigError(f"{out}: exists; give --out another name, such as --out run.yaml, or move it away")
    write_atomic(out, [text(provider, str(out)).encode()])
    key = PROVIDERS[provider].key
    first = f"export {key}=…, then " if key else ""
    say(f"{out}: written. Set dataset.input_path in it, {first}run: weak2wise check --config {out}")
    return 0
