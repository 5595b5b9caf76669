"""The shapes that training data comes in, and how LLaMA-Factory is told of each."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

LayoutName = Literal["prompt_response", "prompt_completion", "messages", "sharegpt", "alpaca"]


class Layout(NamedTuple):
    """One shape: a row of it, the Arrow types of its columns, and its entry in ``dataset_info.json``."""

    row: Callable[[str, str], dict[str, Any]]
    types: dict[str, str]
    """Column to ``text`` or ``turns:KEY,KEY`` (a list of objects that hold two texts)."""
    info: dict[str, Any]
    reader: str
    """Who reads it as it is."""


def _alpaca(prompt: str, response: str, **more: str) -> dict[str, Any]:
    return {"formatting": "alpaca", "columns": {"prompt": prompt, "response": response, **more}}


_ROLES = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
_FROM = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}

LAYOUTS: dict[LayoutName, Layout] = {
    "prompt_response": Layout(
        lambda prompt, response: {"prompt": prompt, "response": response},
        {"prompt": "text", "response": "text"},
        _alpaca("prompt", "response"),
        "the Weak2Wise reference code; LLaMA-Factory",
    ),
    "prompt_completion": Layout(
        lambda prompt, response: {"prompt": prompt, "completion": response},
        {"prompt": "text", "completion": "text"},
        _alpaca("prompt", "completion"),
        "TRL's SFTTrainer, which then trains on the completion alone; LLaMA-Factory",
    ),
    "messages": Layout(
        lambda prompt, response: {
            "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        },
        {"messages": "turns:role,content"},
        {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _ROLES},
        "TRL's SFTTrainer, OpenAI's and most others' chat fine-tuning; LLaMA-Factory",
    ),
    "sharegpt": Layout(
        lambda prompt, response: {
            "conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": response}]
        },
        {"conversations": "turns:from,value"},
        {"formatting": "sharegpt", "columns": {"messages": "conversations"}, "tags": _FROM},
        "LLaMA-Factory, Axolotl",
    ),
    "alpaca": Layout(
        lambda prompt, response: {"instruction": prompt, "input": "", "output": response},
        {"instruction": "text", "input": "text", "output": "text"},
        _alpaca("instruction", "output", query="input"),
        "LLaMA-Factory, Axolotl",
    ),
}
assert tuple(LAYOUTS) == get_args(LayoutName)
