"""What decides an endpoint's answers: part of journal keys and manifests, so an answer paid for once stays found.

The digests are of the settings that work_dirs out there were begun with; a changed one means that their runs, gone on
with, would pay for answers again.
"""

import itertools
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from weak2wise.config.endpoints import decode_endpoint

SAMPLING: list[dict[str, Any]] = [
    {},
    {"generation_kwargs": {"max_new_tokens": 64, "temperature": 0.3}},
    {
        "generation_kwargs": {
            "do_sample": False,
            "top_p": 0.9,
            "top_k": 20,
            "min_p": 0.1,
            "repetition_penalty": 1.2,
        }
    },
]
NAMES: list[dict[str, Any]] = [{"model_id": "a"}, {"model_name": "b"}, {"model_id": "a", "model_name": "b"}]
HTTP: dict[str, dict[str, Any]] = {
    "plain": {},
    "max_tokens": {"max_tokens": 100},
    "extra_body": {"extra_body": {"reasoning": {"effort": "high"}, "seed": None}, "stream": True},
    "where": {
        "base_url": "https://a.example",
        "headers": {"X-Team": "us"},
        "prices": {"input": 1},
        "max_concurrent_requests": 3,
        "device": "cpu",
        "tokenizer_kwargs": None,
    },
}
LOCAL: dict[str, dict[str, Any]] = {
    "plain": {},
    "bare text": {"chat_template": False, "end_repetition": False},
    "weights": {
        "dtype": "float32",
        "quantization": "awq",
        "kv_cache_dtype": "fp8",
        "revision": "r1",
        "max_model_len": 2048,
    },
    "engine_args": {
        "engine_args": {
            "seed": 7,
            "block_size": 16,
            "hf_overrides": {"rope_theta": 5.0},
            "tokenizer": "t",
            "generation_config": "vllm",
        }
    },
    "engine_args trust": {
        "engine_args": {"trust_remote_code": True, "dtype": "bfloat16"},
        "max_num_seqs": 8,
        "tensor_parallel_size": 2,
    },
    "trust": {
        "trust_remote_code": True,
        "tokenizer_kwargs": {"trust_remote_code": True, "revision": "r2", "padding_side": "left"},
    },
    "empty": {
        "tokenizer_kwargs": {"revision": ""},
        "device": "cuda",
        "gpu_memory_utilization": 0.5,
        "trust_remote_code": False,
    },
}
GOLDEN = {
    ("", "plain"): "94ee3fed217e4129",
    ("", "max_tokens"): "4b8bf07143bf2067",
    ("", "extra_body"): "3e041ab4665f97c0",
    ("", "where"): "94ee3fed217e4129",
    ("openai", "plain"): "94ee3fed217e4129",
    ("openai", "max_tokens"): "4b8bf07143bf2067",
    ("openai", "extra_body"): "3e041ab4665f97c0",
    ("openai", "where"): "94ee3fed217e4129",
    ("vllm", "plain"): "75eda4c4f1f5d6de",
    ("vllm", "bare text"): "39aeaf83634163e7",
    ("vllm", "weights"): "c95360545a35567d",
    ("vllm", "engine_args"): "394e68fe3a132c58",
    ("vllm", "engine_args trust"): "3f903c15c8c8e006",
    ("vllm", "trust"): "9088ccdcf9c7829a",
    ("vllm", "empty"): "75eda4c4f1f5d6de",
    ("transformers", "plain"): "75eda4c4f1f5d6de",
    ("transformers", "bare text"): "39aeaf83634163e7",
    ("transformers", "weights"): "c95360545a35567d",
    ("transformers", "engine_args"): "394e68fe3a132c58",
    ("transformers", "engine_args trust"): "3f903c15c8c8e006",
    ("transformers", "trust"): "9088ccdcf9c7829a",
    ("transformers", "empty"): "75eda4c4f1f5d6de",
}


def settings(kind: dict[str, str], option: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, sampling in itertools.product(NAMES, SAMPLING):
        yield decode_endpoint(kind | name | option | sampling, "model_endpoints.e").answer_settings()


@pytest.mark.parametrize(("kind", "option"), [(kind, option) for kind, option in GOLDEN])
def test_what_decides_the_answers_is_what_it_was(kind: str, option: str) -> None:
    """Keys, values and their order, over every way to name a model and to sample."""
    given = (LOCAL if kind in {"vllm", "transformers"} else HTTP)[option]
    found = [msgspec.json.encode(each) for each in settings({"type": kind} if kind else {}, given)]
    assert len(set(found)) > 1
    assert sha256(b"\n".join(found)).hexdigest()[:16] == GOLDEN[kind, option]
