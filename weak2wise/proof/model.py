"""The model that is trained, as transformers and PEFT read it; only imported by the process that trains."""

from pathlib import Path
from typing import Any

import msgspec
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from weak2wise.errors import ConfigError
from weak2wise.proof.base_model import weights_of
from weak2wise.proof.encoding import Encoded, Encoder
from weak2wise.proof.messages import Example, Spec


class TrainedModel:
    """The model that is trained: what its folder says."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        given = {"trust_remote_code": spec.trust_remote_code}
        try:
            self.config = AutoConfig.from_pretrained(spec.base, **given)
            self.tokenizer = AutoTokenizer.from_pretrained(spec.base, **given)
        except (OSError, ValueError, KeyError) as error:
            said = str(error).strip().partition("\n")[0]
            raise ConfigError(f"{spec.base}: transformers cannot read this model: {said} (--model)") from None
        self.text = self.config.get_text_config()
        self.dtype = self.config.dtype or _dtype_of(weights_of(spec.base)[0])
        rank = spec.settings.lora_rank
        self.adapters = rank and LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        self.bfloat16 = (spec.settings.dtype or ("bfloat16" if has_gpu() else "float32")) == "bfloat16"
        self.load_dtype = self.dtype if self.adapters and self.bfloat16 else torch.float32
        """Weights that are trained are kept in float32; those beside adapters are as in the folder."""

    @property
    def limit(self) -> int:
        """The most tokens of an example."""
        limits = (self.spec.settings.max_length, getattr(self.text, "max_position_embeddings", None))
        return min(filter(None, limits), default=2**63)

    def encoded(self) -> tuple[list[Encoded], list[int]]:
        """The examples, and the rows of those that are too long."""
        encode = Encoder(self.tokenizer, bare=self.spec.bare, stops=self._stops())
        self.chat = encode.chat
        examples, too_long = [], []
        decode = msgspec.json.Decoder(Example).decode
        with self.spec.rows.open("rb") as lines:
            for example in map(decode, lines):
                encoded = encode(example.row, example.prompt, example.response)
                if len(encoded.tokens) > self.limit:
                    too_long.append(encoded.row)
                else:
                    examples.append(encoded)
        if not examples:
            raise ConfigError(f"every row has more than {self.limit:,} tokens; raise train.max_length")
        return examples, too_long

    def load(self, dtype: Any = None) -> Any:
        """The model with its weights."""
        return self._read(self.spec.base, dtype or self.load_dtype)

    def trained(self, folder: Path) -> Any:
        """The model with what was trained, adapters merged, in the base model's type."""
        if self.adapters:
            model = PeftModel.from_pretrained(self.load(torch.float32), folder).merge_and_unload()
        else:
            model = self._read(folder, torch.float32)
        return model.to(self.dtype)

    def _read(self, folder: Path, dtype: Any) -> Any:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, trust_remote_code=self.spec.trust_remote_code)
        model.generation_config = GenerationConfig()  # nothing is generated, and an odd one would refuse to be saved
        return model

    def parameters(self) -> tuple[int, int]:
        """How many weights the model has, and how many of them, or of adapters beside them, are trained."""
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(self.config, trust_remote_code=self.spec.trust_remote_code)
            known = model.num_parameters()
            if self.adapters:
                model = get_peft_model(model, self.adapters)
        return known, sum(weights.numel() for weights in model.parameters() if weights.requires_grad)

    def _stops(self) -> set[int]:
        """The tokens at which vLLM stops, beside the tokenizer's own."""
        try:
            found = GenerationConfig.from_pretrained(self.spec.base).eos_token_id
        except OSError:
            found = self.text.eos_token_id
        return set(found) if isinstance(found, list) else {found} - {None}


def _dtype_of(weights: Path) -> Any:
    if weights.suffix != ".safetensors":
        return torch.float32
    with safe_open(weights, "pt") as file:
        return file.get_tensor(next(iter(file.keys()))).dtype


def has_gpu() -> bool:
    """Whether there is a GPU to train on."""
    return bool(torch.cuda.is_available())
