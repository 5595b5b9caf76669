"""The proof as one HTML page, in the style of a run's report: it has no script and loads nothing."""

import math
from collections.abc import Iterator

from weak2wise.outputs.report import charts, tables
from weak2wise.outputs.report.document import card, document
from weak2wise.outputs.report.text import escape, line
from weak2wise.proof.claim import POWER
from weak2wise.proof.result import MEASURES, Outcome, Proof
from weak2wise.proof.words import described, detectable, interval, named, p_value, percent, signed
from weak2wise.statistics import LEVEL, Estimate

_CURVE_POINTS = 40


def page(proof: Proof) -> Iterator[str]:
    """The HTML file, part by part."""
    name = escape(proof.work_dir)
    yield from document(f"{name}: Weak2Wise proof", _parts(name, proof))


def _parts(name: str, proof: Proof) -> Iterator[str]:
    yield _header(name, proof)
    yield "<main>"
    yield _claim(proof)
    yield f'<section class="grid">{_shares(proof)}{_differences(proof)}{_unfinished(proof)}{_losses(proof)}</section>'
    yield _models(proof)
    yield _comparisons(proof)
    yield _training(proof)
    yield _arms(proof)
    yield f"</main><footer>{_repeat(proof)}</footer>"


def _header(name: str, proof: Proof) -> str:
    claim, primary = proof.claim, proof.primary
    before, after = (_of(proof, arm) for arm in (claim.against, claim.arm))
    tiles = [
        ("difference, points", f"{100 * primary.difference.value:+.1f}"),
        (f"{claim.against}, pass@1", percent(getattr(before, claim.measure))),
        (f"{claim.arm}, pass@1", percent(getattr(after, claim.measure))),
        ("held-out questions", f"{claim.sets[0].questions:,}"),
        ("answers to each", f"{claim.sets[0].samples:,}"),
    ]
    shown = "".join(f'<div class="tile"><dt>{line(t)}</dt><dd>{n}</dd></div>' for t, n in tiles)
    return (
        f"<header><p class=quiet>Weak2Wise proof</p><h1>{name}</h1>"
        f"<p><strong>{line(proof.verdict(), 500)}</strong></p><dl class=tiles>{shown}</dl></header>"
    )


def _claim(proof: Proof) -> str:
    claim = proof.claim
    facts = [
        ("claim", line(claim.statement, 300)),
        ("measure", f"pass@1, {claim.measure} extraction of answers; two-sided, level {1 - LEVEL:.2f}"),
        ("arms and seeds", line(f"{', '.join(claim.arms)}; training seeds {', '.join(map(str, claim.seeds))}", 300)),
        ("held-out questions", line("; ".join(map(described, claim.sets)), 300)),
        (
            "detectable effect",
            line(detectable(claim), 400),
        ),
        ("training rows", f"{claim.rows:,}"),
        ("written down", f"{escape(claim.written[:16].replace('T', ' '))} UTC, before anything was trained"),
    ]
    items = "".join(f"<li><strong>{name}</strong>: {said}</li>" for name, said in facts)
    notes = [f"Not in the claim, added later: {', '.join(proof.added)}"] if proof.added else []
    warned = "".join(f"<li>{line(text, 500)}.</li>" for text in [*notes, *proof.warnings])
    return f"<section><h2>What was claimed beforehand</h2><ul>{items}</ul></section>" + (
        f"<section><h2>To bear in mind</h2><ul>{warned}</ul></section>" if warned else ""
    )


def _shares(proof: Proof) -> str:
    drawn = []
    for held in proof.claim.sets:
        for measure in MEASURES:
            title = f"{held.name}, {measure}"
            rows = [_row(o.name, getattr(o, measure)) for o in proof.outcomes if o.set == held.name]
            top = min(1.0, math.ceil(max(row.high for row in rows) * 10) / 10)
            chart = charts.intervals(f"pass@1 on {title}", rows, "percent", span=(0.0, top or 0.1), number=_points)
            drawn.append(f"<h3>{line(title)}</h3>{chart}")
    note = (
        "Share of answers that are right, in percent, with 95 % intervals by question. Flexible: the answer is looked "
        "for anywhere; strict: only where it belongs."
    )
    return card("Pass@1 on held-out questions", "".join(drawn), note)


def _differences(proof: Proof) -> str:
    rows = []
    for found in proof.comparisons:
        change = found.difference
        rows.append(
            charts.Interval(
                f"{_on(proof, found.set, named(found))}, {found.measure}",
                change.value,
                change.low,
                change.high,
                signed(change),
            )
        )
    reach = max(max(abs(row.low), abs(row.high)) for row in rows)
    reach = max(0.05, math.ceil(reach * 20) / 20)
    note = (
        "Paired by question, over all seeds, in percentage points, with 95 % intervals. An interval over 0: no "
        "difference was found. The chance of training seeds is not in the intervals: look at the seeds one by one."
    )
    drawn = charts.intervals(
        "Differences of pass@1",
        rows,
        "percentage points",
        span=(-reach, reach),
        lines_at=[(0.0, "no difference")],
        number=_points,
    )
    return card("Differences", drawn, note)


def _unfinished(proof: Proof) -> str:
    rows = [_row(_on(proof, outcome.set, outcome.name), outcome.unfinished) for outcome in proof.outcomes]
    top = max(0.1, math.ceil(max(row.high for row in rows) * 10) / 10)
    note = (
        "Answers that ran into the token limit or in circles, in percent. A model that stops in time gains by that "
        "alone."
    )
    drawn = charts.intervals("Unfinished answers", rows, "percent", span=(0.0, min(1.0, top)), number=_points)
    return card("Unfinished answers", drawn, note)


def _points(share: float) -> str:
    return f"{100 * share:.3g}"


def _losses(proof: Proof) -> str:
    curves = [(trained.name, _thinned(trained.losses)) for trained in proof.training if trained.losses]
    if not curves:
        return ""
    steps = sorted({step for _, points_ in curves for step, _ in points_})
    series = [
        charts.Series(name, [values.get(step) for step in steps])
        for name, values in ((name, dict(points_)) for name, points_ in curves)
    ]
    top = max(loss for _, points_ in curves for _, loss in points_)
    top = math.ceil(top * 4) / 4 or 1.0
    drawn = charts.lines(
        "Training loss", series, [f"{step:,}" for step in steps], "step", "loss", top=top, number=lambda v: f"{v:.2f}"
    )
    note = "Loss of the answers' tokens while training. It says that training ran, not that it helped."
    return card("Training loss", drawn + charts.legend([s.name for s in series]), note)


def _thinned(losses: tuple[tuple[int, float], ...]) -> list[tuple[int, float]]:
    """About ``_CURVE_POINTS`` of them, evenly, the last one included; losses that are no number are left out."""
    known = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    return known[:: -max(1, math.ceil(len(known) / _CURVE_POINTS))][::-1]


def _models(proof: Proof) -> str:
    rows = [
        [
            line(_on(proof, outcome.set, outcome.name)),
            interval(outcome.flexible),
            interval(outcome.strict),
            percent(outcome.unfinished),
            percent(outcome.undecided),
            f"{outcome.tokens.value:,.0f}",
        ]
        for outcome in proof.outcomes
    ]
    columns = ["model", "flexible, %", "strict, %", "unfinished", "undecided", "mean tokens"]
    shown = tables.table("Models", columns, rows, names=1)
    note = "Pass@1 with 95 % intervals by question. Undecided answers count as wrong."
    return f"<section><h2>Models</h2><p>{note}</p>{shown}</section>"


def _comparisons(proof: Proof) -> str:
    rows = [
        [
            line(_on(proof, found.set, named(found))) + (" <strong>(the claim)</strong>" if found.primary else ""),
            found.measure,
            signed(found.difference),
            p_value(found.difference.p),
            p_value(found.corrected) + (" (one test)" if found.primary else ""),
            f"{100 * found.detectable:.1f}",
            "found" if found.found else "underpowered" if found.underpowered else "not found",
        ]
        for found in proof.comparisons
    ]
    columns = ["comparison", "measure", "points", "p", "p, Holm", "detectable", "result"]
    note = (
        "The claim is one test, named beforehand. All others are corrected together (Holm). Detectable: the true "
        f"difference, in points, that is found with probability {POWER:g}, by the spread that was seen."
    )
    shown = tables.table("Comparisons", columns, rows, names=1, words=1)
    return f"<section><h2>Comparisons</h2><p>{note}</p>{shown}</section>"


def _training(proof: Proof) -> str:
    rows = [
        [
            line(trained.name),
            f"{trained.rows:,}",
            f"{trained.tokens:,}",
            f"{trained.too_long:,}",
            f"{trained.losses[-1][0]:,}" if trained.losses else "–",
            f"{trained.losses[-1][1]:.3f}" if trained.losses else "–",
            f"{trained.seconds:,.0f}",
        ]
        for trained in proof.training
    ]
    columns = ["model", "rows", "tokens", "too long", "steps", "last loss", "seconds"]
    return f"<section><h2>Training</h2>{tables.table('Training', columns, rows, names=1)}</section>"


def _arms(proof: Proof) -> str:
    rows = [
        [
            line(data.arm),
            f"{data.rows:,}",
            f"{data.characters:,.0f}",
            line("; ".join(f"{name} {count:,}" for name, count in data.mix.items()), 300),
        ]
        for data in proof.data
    ]
    shown = tables.table("Arms", ["arm", "rows", "mean characters", "strong models"], rows, names=1)
    parts = [f"<section><h2>What each arm trains on</h2>{shown}"]
    if proof.overlaps:
        pairs = [[line(o.one), line(o.other), f"{100 * o.share:.0f} %"] for o in proof.overlaps]
        parts.append("<p>The share of questions for which two arms take the same trace:</p>")
        parts.append(tables.table("Overlap", ["arm", "other arm", "same trace"], pairs, names=2))
    if proof.ones:
        share, bits = proof.ones
        parts.append(f"<p>Share of ones among {bits:,} mask bits: {100 * share:.1f} %.</p>")
    return "".join([*parts, "</section>"])


def _repeat(proof: Proof) -> str:
    rows = [[f"<code>{line(key)}</code>", line(value, 600)] for key, value in proof.repeat.items()]
    shown = tables.table("To repeat it", ["what", "value"], rows, words=2)
    return f"<details open><summary>Everything needed to repeat it</summary>{shown}</details>"


def _on(proof: Proof, name: str, what: str) -> str:
    """What a row is about, with its set of questions where there are several."""
    return what if len(proof.claim.sets) == 1 else f"{what} · {name}"


def _of(proof: Proof, arm: str) -> Outcome:
    """The outcome of an arm over all its seeds, which is its first."""
    return next(outcome for outcome in proof.outcomes if outcome.arm == arm)


def _row(name: str, found: Estimate) -> charts.Interval:
    return charts.Interval(name, found.value, found.low, found.high, f"{interval(found)} %")
