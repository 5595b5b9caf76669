"""Golden traces as HTML: question, mask levels of every candidate, the winner's steps, its reasoning and the cut."""

from weak2wise.outputs.reasons import cut_in_words, mark_in_words
from weak2wise.outputs.report import charts
from weak2wise.outputs.report.text import answer, line, prose, title
from workers.records import Golden, Score, Scored
from workers.scorers import Scorer, explained, score_text

_STEPS = 40


def trace(golden: Golden, scored: Scored | None, scorer: type[Scorer]) -> str:
    """One trace, collapsed."""
    winner = golden.winner
    return (
        f'<details class="trace" name="trace"><summary><span class="title">{title(golden.title, 140)}</span>'
        f'<span class="facts">{evidence(golden.score, scorer)} {score_text(golden.score)} · '
        f"{line(winner.m_strong, 40)} · row {golden.row:,}</span></summary>{opened(golden, scored, scorer)}</details>"
    )


def evidence(score: Score, scorer: type[Scorer]) -> str:
    """A score's evidence on one line: cells for Step-Mask, otherwise the scorer's explanation."""
    if score.is_masked:
        return charts.cells(score.s_list)
    return f'<span class="quiet">{line(explained(scorer, score), 80)}</span>'


def opened(golden: Golden, scored: Scored | None, scorer: type[Scorer]) -> str:
    """The content of an expanded trace."""
    winner = golden.winner
    steps = "".join(f"<li>{_step(step)}</li>" for step in winner.step_list[:_STEPS])
    more = len(winner.step_list) - _STEPS
    unshown = f"<p class=more>{more:,} more steps</p>" if more > 0 else ""
    return (
        f'<h3>Question</h3><div class="text" dir="auto">{prose(golden.question.text)}</div>'
        f'<h3>Answer</h3><div class="text" dir="auto">{answer(golden.question.answer)}</div>'
        f"{_candidates(golden, scored, scorer) if scored else ''}"
        f"<h3>Steps{' that were masked' if len(golden.score.s_list) > 1 else ''}</h3>"
        f'<ol class="steps" start="1">{steps}</ol>{unshown}'
        f"<h3>Reasoning{'' if winner.normal_is_own else ' (these are the steps: the model shows no thinking)'}</h3>"
        f'<div class="text" dir="auto">{_reasoning(golden)}</div>'
    )


def _step(step: str) -> str:
    head, _, body = step.partition("\n")
    return (
        f'<strong dir="auto">{prose(head.lstrip("# "), 400)}</strong>'
        f'<div class="text" dir="auto">{prose(body.strip(), 4000)}</div>'
    )


def _candidates(golden: Golden, scored: Scored, scorer: type[Scorer]) -> str:
    items, others = [], golden.kept[1:]
    for candidate, score in zip(scored.candidates, scored.scores, strict=True):
        won = (candidate.m_strong, candidate.sample) == (golden.winner.m_strong, golden.winner.sample)
        kept = any((k.candidate.m_strong, k.candidate.sample) == (candidate.m_strong, candidate.sample) for k in others)
        items.append(
            f"<li{' class=won' if won else ''}>{evidence(score, scorer)} <span>{score_text(score)} · "
            f"{line(candidate.m_strong, 40)} no. {candidate.sample + 1} · {len(candidate.normal):,} characters"
            f"{''.join(f' · {line(mark_in_words(mark), 60)}' for mark in candidate.marks)}"
            f"{' · <strong>wins</strong>' if won else ' · kept' if kept else ''}</span></li>"
        )
    cells = (
        "<p class=quiet>One cell for each mask level, from nothing hidden to nearly all hidden.</p>"
        if len(golden.score.s_list) > 1
        else "<p class=quiet>The cell says whether the weak LLM reached the answer with nothing hidden.</p>"
    )
    ranking = f"<p class=quiet>The winner has {line(scorer.ranking, 200)}.</p>"
    shown = cells if golden.score.is_masked else ""
    return f'<h3>Candidates</h3>{ranking}{shown}<ul class="candidates">{"".join(items)}</ul>'


def _reasoning(golden: Golden) -> str:
    whole, kept = golden.winner.normal, golden.truncated
    end = end_of_prefix(whole, kept)
    rest = "" if end is None else whole[end:].strip()
    by = f'<p class="cut">{"cut here" if rest else "nothing cut"}: {line(cut_in_words(golden.cut_by))}</p>'
    return f'{prose(kept)}{by}<div class="gone">{prose(rest, 4000)}</div>' if rest else prose(kept) + by


def end_of_prefix(whole: str, kept: str) -> int | None:
    """Where in ``whole`` its prefix ``kept`` ends, ignoring white space; ``None`` if it is not a prefix."""
    if whole.startswith(kept):
        return len(kept)
    at = 0
    for character in kept:
        if character.isspace():
            continue
        while at < len(whole) and whole[at].isspace():
            at += 1
        if at == len(whole) or whole[at] != character:
            return None
        at += 1
    return at
