"""How records become lines of the output files: the reference's names and fields, and some of our own."""

from collections.abc import Iterator
from typing import Any

from msgspec import UNSET

from workers.records import Candidate, Golden, Question, Scored, SftRow, Traced, Unsolved

Line = dict[str, Any]


def s_prime(record: Unsolved) -> Iterator[Line]:
    """``s_prime.jsonl``: a question that the weak LLM does not solve."""
    rate = {} if record.pass_rate is UNSET else {"pass_rate": record.pass_rate}
    yield _question(record.question) | {"weak_attempt": record.weak_attempt} | rate


def candidates(record: Traced) -> Iterator[Line]:
    """``candidates.jsonl``: one line for each trace."""
    for candidate in record.candidates:
        yield _candidate(record.question, candidate)


def scored_candidates(record: Scored) -> Iterator[Line]:
    """``scored_candidates.jsonl``: the same traces with their scores."""
    for candidate, score in zip(record.candidates, record.scores, strict=True):
        yield _candidate(record.question, candidate) | {
            "score": score.score,
            "score_is_bound": score.is_bound,
            "debug": score.debug,
        }


def selected_truncated(record: Golden) -> Iterator[Line]:
    """``selected_truncated.jsonl``: the winner, whole and cut; then the other traces that are kept."""
    for kept in record.kept:
        yield _question(record.question) | {
            "m_strong": kept.candidate.m_strong,
            "sample": kept.candidate.sample,
            "chosen_normal": kept.candidate.normal,
            "truncated_normal": kept.truncated,
            "cut_by": kept.cut_by,
            "score": kept.score.score,
            "debug": kept.score.debug,
        }


def finetune(record: SftRow) -> Iterator[Line]:
    """``finetune_out``: one training example for each trace that is kept, or a pair as preference data."""
    if record.rejected is not UNSET:
        yield {"prompt": record.prompt, "chosen": record.response, "rejected": record.rejected}
        return
    for response in record.responses:
        yield {"prompt": record.prompt, "response": response}


def _question(question: Question) -> Line:
    named = {"id": question.id} if question.id is not None else {}
    return {"row": question.row, **named, "question": question.text, "answer": question.answer}


def _candidate(question: Question, candidate: Candidate) -> Line:
    return _question(question) | {
        "m_strong": candidate.m_strong,
        "sample": candidate.sample,
        "step_reasoning": candidate.step_reasoning,
        "step_list": candidate.step_list,
        "normal": candidate.normal,
        "normal_is_own": candidate.normal_is_own,
        "marks": candidate.marks,
        "raw": None,
    }
