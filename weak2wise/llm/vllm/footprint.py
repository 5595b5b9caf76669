"""The GPU memory that a model in a local folder needs, computed from its files without loading it."""

import json
from pathlib import Path
from typing import Any

from msgspec import Struct

_BYTES = {"float32": 4, "float": 4, "fp8": 1}


class Footprint(Struct, frozen=True):
    """Bytes of the weights, and bytes of KV cache for each token in flight."""

    weights: int
    kv_per_token: int

    def __str__(self) -> str:
        """For a message."""
        return (
            f"{self.weights / 1e9:.1f} GB of weights and {self.kv_per_token * 1000 / 1e6:,.0f} MB of KV cache "
            "for each 1,000 tokens in flight"
        )


def footprint(folder: Path, dtype: str | None = None, kv_cache_dtype: str | None = None) -> Footprint | None:
    """The needs of a transformer with the usual keys in ``config.json``; ``None`` for any other.

    KV cache: keys and values of every layer, one head for each key-value head (vLLM, "Conserving memory").
    """
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        heads = int(config["num_attention_heads"])
        head = int(config.get("head_dim") or int(config["hidden_size"]) // heads)
        kept = int(config["num_hidden_layers"]) * int(config.get("num_key_value_heads") or heads) * head
    except (OSError, ValueError, TypeError, LookupError):
        return None
    files = [*folder.glob("*.safetensors")] or [*folder.glob("pytorch_model*.bin")]
    kind = str(kv_cache_dtype if kv_cache_dtype not in {None, "auto"} else dtype or config.get("torch_dtype"))
    size = next((bytes_ for name, bytes_ in _BYTES.items() if kind.startswith(name)), 2)
    return Footprint(sum(file.stat().st_size for file in files), 2 * kept * size) if files else None
