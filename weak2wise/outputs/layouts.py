"""The layouts of training data, and the entry of each in LLaMA-Factory's ``dataset_info.json``."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

LayoutName = Literal["prompt_response", "prompt_completion", "messages", "sharegpt", "alpaca", "preference"]


class Trl(NamedTuple):
    """How TRL trains on a layout: its command, and the classes behind it."""

    command: str
    trainer: str
    config: str


_SFT = Trl("sft", "SFTTrainer", "SFTConfig")
_DPO = Trl("dpo", "DPOTrainer", "DPOConfig")


class Layout(NamedTuple):
    """One layout: how a row is made, the types of its columns, and its entry in ``dataset_info.json``."""

    row: Callable[..., dict[str, Any]]
    """Takes the prompt and the response; of pairs also the rejected response."""
    types: dict[str, str]
    """The type of each column: ``text`` or ``turns:KEY,KEY`` (a list of objects with two text fields)."""
    info: dict[str, Any] | None
    """``None`` if LLaMA-Factory does not support the layout."""
    reader: str
    """The programs that read it without conversion, in words."""
    trl: Trl | None = None
    """``None`` if TRL does not train on it."""
    of_pairs: bool = False
    """Whether a row is a pair of responses, a better and a worse one."""


def _alpaca(prompt: str, response: str, **more: str) -> dict[str, Any]:
    return {"formatting": "alpaca", "columns": {"prompt": prompt, "response": response, **more}}


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


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
        # Turns, not texts: TRL joins plain texts without the model's chat template.
        lambda prompt, response: {"prompt": [_turn("user", prompt)], "completion": [_turn("assistant", response)]},
        {"prompt": "turns:role,content", "completion": "turns:role,content"},
        None,
        "TRL's SFTTrainer, which trains on the completion alone",
        _SFT,
    ),
    "messages": Layout(
        lambda prompt, response: {"messages": [_turn("user", prompt), _turn("assistant", response)]},
        {"messages": "turns:role,content"},
        {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _ROLES},
        "LLaMA-Factory, OpenAI's and most others' chat fine-tuning, and TRL's SFTTrainer, which trains on the "
        "question's tokens, too, unless `assistant_only_loss=True` is set",
        _SFT,
    ),
    "sharegpt": Layout(
        lambda prompt, response: {
            "conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": response}]
        },
        {"conversations": "turns:from,value"},
        {"formatting": "sharegpt", "columns": {"messages": "conversations"}, "tags": _FROM},
        "LLaMA-Factory, Axolotl, and TRL as it reads `messages`",
        _SFT,
    ),
    "alpaca": Layout(
        lambda prompt, response: {"instruction": prompt, "input": "", "output": response},
        {"instruction": "text", "input": "text", "output": "text"},
        _alpaca("instruction", "output", query="input"),
        "LLaMA-Factory, Axolotl",
    ),
    "preference": Layout(
        lambda prompt, chosen, rejected: {
            "prompt": [_turn("user", prompt)],
            "chosen": [_turn("assistant", chosen)],
            "rejected": [_turn("assistant", rejected)],
        },
        dict.fromkeys(("prompt", "chosen", "rejected"), "turns:role,content"),
        None,
        "TRL's DPOTrainer and its other trainers of preferences",
        _DPO,
        of_pairs=True,
    ),
}
assert tuple(LAYOUTS) == get_args(LayoutName)
