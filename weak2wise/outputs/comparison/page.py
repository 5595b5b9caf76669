"""A comparison as one HTML file, in the style of a run's report: no script, no network, every foreign text escaped."""

from collections.abc import Iterator, Sequence

from weak2wise.outputs.comparison.facts import Comparison, Criterion, Prediction
from weak2wise.outputs.comparison.measures import STEPMASK
from weak2wise.outputs.comparison.words import interval, seconds, settled, share
from weak2wise.outputs.report import charts
from weak2wise.outputs.report.document import card, document
from weak2wise.outputs.report.spread import short
from weak2wise.outputs.report.tables import table
from weak2wise.outputs.report.text import escape, line
from workers.scorers import describer


def page(found: Comparison) -> Iterator[str]:
    """The HTML file, part by part."""
    name = escape("/".join(found.work_dir.split("/")[-2:]))
    yield from document(
        f"{name}: scorers compared",
        [
            _header(name, found),
            "<main>",
            f'<section class="grid">{_scores(found)}{_agreement(found)}{_noise(found)}{_cost(found)}</section>',
            _criteria(found),
            _matrix(
                "Same winner",
                "How often two criteria choose the same trace. On the diagonal: the same criterion, drawn again.",
                found,
                [[share(cell) for cell in row] for row in found.same],
            ),
            _matrix(
                "Rank correlation",
                "Kendall's tau-b over pairs of traces of the same question, all questions together: 1 the same order, "
                "0 no relation, −1 the reverse. Ties are taken into account.",
                found,
                [[interval(cell) if cell else "–" for cell in row] for row in found.correlations],
            ),
            _how(found),
            f"</main><footer>{_footer(found)}</footer>",
        ],
    )


def _header(name: str, found: Comparison) -> str:
    reasons = found.left_out | found.failed
    tiles = [
        ("questions", found.compared),
        ("traces", found.traces),
        ("criteria", len(found.criteria)),
        ("draws", found.draws),
        ("left out", sum(reasons.values())),
    ]
    shown = "".join(f'<div class="tile"><dt>{escape(t)}</dt><dd>{n:,}</dd></div>' for t, n in tiles)
    drawn = f", {found.compared:,} of {found.available:,} questions" if found.compared < found.available else ""
    listed = "; ".join(f"{count:,}: {line(reason)}" for reason, count in reasons.items())
    note = f'<p class="balance">Left out: {listed}</p>' if reasons else ""
    few = (
        "<p><strong>These are few questions: intervals are wide, and small differences are noise.</strong></p>"
        if found.compared < 100
        else ""
    )
    return (
        f"<header><p class=quiet>Weak2Wise: scorers compared</p><h1>{name}</h1>"
        f"<p>weak LLM {line(found.weak)}; traces by {line(', '.join(found.strong), 200)}{drawn}; "
        f"{escape(found.created[:16].replace('T', ' '))} UTC</p><dl class=tiles>{shown}</dl>{note}{few}</header>"
    )


def _scores(found: Comparison) -> str:
    rows = [charts.Interval(c.name, c.score.value, c.score.low, c.score.high) for c in _ordered(found)]
    best = [(found.best.value, "best that the other draws find"), (found.best_at_most.value, "best at most")]
    drawn = charts.intervals(
        "Step-Mask score of the chosen trace",
        rows,
        "mean Step-Mask score, in a draw that did not choose",
        lines_at=best,
    )
    key = "".join(
        f'<li><svg class="key" viewBox="0 0 12 12" aria-hidden="true"><line class="s{at} dashed" x1="0" x2="12" y1="6" '
        f'y2="6"/></svg>{escape(text)}: {value:.3f}</li>'
        for at, (value, text) in enumerate(best, 1)
    )
    note = "How well the trace that each criterion chooses guides the weak LLM, with 95 % intervals over questions."
    return card("What each choice is worth", f'{drawn}<ul class="legend">{key}</ul>', note)


def _agreement(found: Comparison) -> str:
    rows = [charts.Interval(c.name, c.same.value, c.same.low, c.same.high) for c in found.criteria]
    drawn = charts.intervals("Same winner as Step-Mask", rows, "share of questions")
    note = (
        "How often each criterion chooses the trace that Step-Mask chooses in another draw. Step-Mask itself shows how "
        "much of that is noise."
    )
    return card("Agreement with Step-Mask", drawn, note)


def _noise(found: Comparison) -> str:
    noise = found.noise
    by_votes = [noise.present, *(p for p in noise.predictions if p.n_mask == found.n_mask)]
    drawn = charts.lines(
        "Agreement of two runs by votes",
        [charts.Series("predicted", [p.same for p in by_votes])],
        [str(p.majority) for p in by_votes],
        "params.majority",
        "two runs choose the same trace",
    )
    rows = [_prediction(p) for p in (noise.present, *noise.predictions)]
    numbers = table("Predicted agreement", ["n_mask", "majority", "same winner", "range"], rows, cards=False)
    note = (
        f"With another seed Step-Mask's winner changes in {share(noise.changes)} of the questions. "
        f"{escape(settled(noise))} The line is of simulated runs; with the present settings two of them agree in "
        f"{100 * noise.present.same:.0f}%, and two draws did in {100 * (1 - noise.changes.value):.0f}%."
    )
    return card("Noise", f"{drawn}<details><summary>Numbers</summary>{numbers}</details>", note)


def _prediction(one: Prediction) -> list[str]:
    return [f"{one.n_mask}", f"{one.majority}", f"{100 * one.same:.0f}%", f"{100 * one.low:.0f}–{100 * one.high:.0f}%"]


def _cost(found: Comparison) -> str:
    most = max(c.cost.tokens_in + c.cost.tokens_out for c in found.criteria)
    rows = []
    for c in found.criteria:
        tokens = (c.cost.tokens_in + c.cost.tokens_out) / found.compared
        rows.append((c.name, round(tokens), f"tokens, {seconds(c.cost, found.compared)}"))
    drawn = charts.bars("Tokens for a question", rows, round(most / found.compared))
    note = (
        "For one question, all its traces, one draw; in and out together. Step-Mask asks every level of every trace "
        "here; a race asks fewer. Seconds are of the whole engine, divided by its questions."
    )
    return card("What each costs", drawn, note)


def _ordered(found: Comparison) -> list[Criterion]:
    return sorted(found.criteria, key=lambda c: -c.score.value)


def _criteria(found: Comparison) -> str:
    head = ["criterion", "Step-Mask score of its choice", "regret", "regret at most"]
    head += ["as Step-Mask", "as itself, drawn again", "tau-b", "ties", "ones", "calls", "tokens in", "tokens out"]
    paid = any(c.cost.cost_usd for c in found.criteria)
    head += ["US dollars"] if paid else []
    rows = []
    for c in _ordered(found):
        cells = [line(c.name), interval(c.score), interval(c.regret), interval(c.regret_at_most)]
        cells += [share(c.same), share(c.again)]
        cells += [interval(c.correlation) if c.correlation else "–", f"{100 * c.ties:.0f}%"]
        cells.append("–" if c.ones is None else f"{100 * c.ones:.0f}%")
        cells += [short(n / found.compared) for n in (c.cost.calls, c.cost.tokens_in, c.cost.tokens_out)]
        rows.append(cells + ([f"{c.cost.cost_usd / found.compared:.5f}"] if paid else []))
    text = "In brackets 95 % intervals. Calls, tokens and dollars are for one question."
    return f"<section><h2>Criteria</h2><p>{text}</p>{table('Criteria', head, rows, names=1)}</section>"


def _matrix(title: str, text: str, found: Comparison, cells: Sequence[Sequence[str]]) -> str:
    names = [line(c.name) for c in found.criteria]
    rows = [[name, *row] for name, row in zip(names, cells, strict=True)]
    shown = table(title, ["", *names], rows, names=1, cards=False)
    return f"<section><h2>{title}</h2><p>{escape(text)}</p>{shown}</section>"


def _how(found: Comparison) -> str:
    two = (
        " With two draws that is the choice of one draw of Step-Mask, so Step-Mask's own regret is 0 here; with three "
        "or more it is not."
        if found.draws == 2
        else ""
    )
    votes = f"{found.majority} vote{'s' if found.majority > 1 else ''}"
    texts = (
        f"""Every criterion chose {found.draws} times, each time with another seed; those that draw nothing chose the
        same each time. What is compared comes from different draws: two choices, or a choice and the score of what was
        chosen. So no criterion gains by the luck that it chose by.""",
        f"Step-Mask asked all {found.n_mask} levels of all traces, {votes} each, without a race.",
        f"""Regret is how much the mean Step-Mask score of the chosen trace is below the best. The best is the trace
        with the highest mean in all other draws: a choice that can be made.{two} “At most”: against the trace with the
        highest mean over all draws, which is flattered. But for the noise of few questions the true regret is between
        the two.""",
        """Shares have Wilson intervals for as many answers as the questions are worth; scores, regret and tau-b have
        percentile intervals of 2,000 resamples of whole questions.""",
        """The predicted noise is of simulated runs. The log-odds of a bit are those of its trace and of its mask level
        together; how much the traces of a question differ is scaled so that the simulation agrees with what was seen,
        and the range is by the interval of that. Majorities are computed as if there were one wrong answer alone.""",
    )
    wins = "".join(f"<li>{line(c.name)}: {line(describer(c.name).ranking, 200)}</li>" for c in found.criteria)
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in texts)
    return f"<section><h2>How to read this</h2><p>The winner has</p><ul>{wins}</ul>{paragraphs}</section>"


def _footer(found: Comparison) -> str:
    names = ",".join(c.name for c in found.criteria if c.name != STEPMASK)
    return (
        f"<p>weak2wise compare {line(found.work_dir, 300)} --scorers {line(names, 300)} --seeds {found.draws} --sample "
        f"{found.sample}; params.seed {found.seed}. The numbers of every question are in "
        "compare.json beside this file.</p>"
    )
