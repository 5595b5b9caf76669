"""The text of an answer made at the end is what vLLM makes of it token by token, wherever it ends."""

import json
import random
from collections.abc import Callable, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

pytestmark = [pytest.mark.slow, pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]

WORDS = (
    "So the answer is 数学 问题 的 答案 是 42. Ça coûte 3 € ½ naïve 🎉🎉 👩‍👩‍👧 x² ≤ π, don't you? ## Step 1:\n\n"
    "  2 + 2 = 4 \\boxed{5} तीन उत्तर है <end> �"
)
SPECIAL, ADDED = ["<s>", "<end>"], ["<think>", "</think>"]
Vllm = Callable[[Any, list[int], list[int]], str]


@pytest.fixture(scope="module")
def by_vllm() -> Vllm:
    """The class of vLLM's own, fed token by token."""
    detokenizer = import_module("vllm.v1.engine.detokenizer").FastIncrementalDetokenizer
    params = import_module("vllm.sampling_params").SamplingParams()

    def text(tokenizer: Any, prompt: list[int], answer: list[int]) -> str:
        request = SimpleNamespace(request_id="one", prompt_token_ids=prompt, sampling_params=params)
        one_by_one = detokenizer(SimpleNamespace(_tokenizer=tokenizer), request)
        for token in answer:
            one_by_one.update([token], stop_terminated=False)
        return str(one_by_one.get_next_output_text(finished=True, delta=False))

    return text


def byte_level() -> Any:
    """As of GPT-2, Qwen and Llama 3: every byte is a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([WORDS] * 3, trainer)
    return tokenizer


def byte_fallback() -> Any:
    """As of Llama 2: a character that is no token is written as its bytes, and a text's first space is dropped."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    spaces = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    learned = Tokenizer(models.BPE())
    learned.normalizer = spaces
    trainer = trainers.BpeTrainer(vocab_size=100, limit_alphabet=40, show_progress=False)
    learned.train_from_iterator([WORDS] * 3, trainer)
    model = json.loads(learned.to_str())["model"]
    known = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    merges = [tuple(merge) for merge in model["merges"]]
    vocabulary = {token: number for number, token in enumerate(known)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = spaces
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    assert tokenizer.decode(tokenizer.encode("数学 2").ids) == "数学 2"
    return tokenizer


def pieces(kind: str) -> Any:
    """As of T5 and of BERT: words that begin with a space of their own, or that go on after ``##``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if kind == "metaspace":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        tokenizer.train_from_iterator([WORDS] * 3, trainers.UnigramTrainer(vocab_size=120, show_progress=False))
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False)
        tokenizer.train_from_iterator([WORDS] * 3, trainer)
    return tokenizer


@pytest.fixture(scope="module", params=["bytes", "byte fallback", "metaspace", "word pieces"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    kind = request.param
    made = {"bytes": byte_level, "byte fallback": byte_fallback}.get(kind, lambda: pieces(kind))()
    made.add_special_tokens(SPECIAL)
    made.add_tokens(ADDED)
    return made


def ours(tokenizer: Any, prompt: Sequence[int], answer: Sequence[int], piece: int = 4096) -> str:
    module = import_module("weak2wise.llm.vllm.detokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        return "".join(module.texts(tokenizer, prompt, answer))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 3, 7, 50, 4096]), st.floats(0, 1))
def test_any_tokens_make_the_same_text(tokenizer: Any, by_vllm: Vllm, number: int, piece: int, strange: float) -> None:
    """Broken off anywhere in a text, also within a character, with any share of tokens that no text would have."""
    rng, words = random.Random(number), WORDS.split(" ")
    text = " ".join(rng.choices(words, k=rng.randrange(1, 40)))
    prompt = tokenizer.encode(" ".join(rng.choices(words[:9], k=rng.randrange(1, 40))) + "\n").ids
    answer = tokenizer.encode(text).ids
    answer = [rng.randrange(tokenizer.get_vocab_size()) if rng.random() < strange**3 else token for token in answer]
    answer = answer[: rng.randrange(len(answer) + 1)]
    assert ours(tokenizer, prompt, answer, piece) == by_vllm(tokenizer, prompt, answer)


@pytest.mark.parametrize("ending", ["数", "🎉", "é", " €", "a�"])
def test_an_answer_that_breaks_off_within_a_character_ends_before_it(by_vllm: Vllm, ending: str) -> None:
    tokenizer = byte_level()
    prompt = tokenizer.encode("How many?\n").ids
    whole = tokenizer.encode("So it is" + ending).ids
    texts = [ours(tokenizer, prompt, whole[:end]) for end in range(len(whole) + 1)]
    assert texts == [by_vllm(tokenizer, prompt, whole[:end]) for end in range(len(whole) + 1)]
    assert "So it is" in texts[-1]


def test_a_space_that_an_answer_begins_with_is_kept(by_vllm: Vllm) -> None:
    """Where a text that stands alone would lose it: these tokens come after the prompt's."""
    tokenizer = byte_fallback()
    prompt, answer = tokenizer.encode("So").ids, tokenizer.encode("the answer").ids
    assert ours(tokenizer, prompt, answer) == by_vllm(tokenizer, prompt, answer) == " the answer"
    assert tokenizer.decode(answer) == "the answer"


def test_a_prompt_of_special_tokens_alone_is_no_context(by_vllm: Vllm) -> None:
    tokenizer = byte_fallback()
    tokenizer.add_special_tokens(SPECIAL)
    prompt, answer = [tokenizer.token_to_id("<s>")] * 20, tokenizer.encode("is 42").ids
    assert ours(tokenizer, prompt, answer) == by_vllm(tokenizer, prompt, answer)
