"""A model of the weak one's kind, with its tokenizer, that takes no time to train."""

import shutil
from pathlib import Path

from tests.vllm.engines import model_folder
from weak2wise.proof.base_model import files_of


def make_tiny(folder: Path, context: int) -> str:
    """Make one of random weights with a context of so many tokens in a folder; returns the folder."""
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415 - an extra

    config = AutoConfig.from_pretrained(model_folder())
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 32}
    small |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": context}
    for key, value in small.items():
        setattr(config, key, value)
    AutoModelForCausalLM.from_config(config).bfloat16().save_pretrained(folder)
    for path in files_of(Path(model_folder())):
        if path.name not in ("config.json", "model.safetensors"):
            shutil.copyfile(path, folder / path.name)
    return str(folder)
