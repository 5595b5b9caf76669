"""The report's page: charts and tables of the numbers, then some traces to read."""

import base64
import hashlib
from collections.abc import Iterator
from importlib.resources import files
from statistics import median

from weak2wise.outputs.reasons import in_words
from weak2wise.outputs.report import charts, spread, tables
from weak2wise.outputs.report.facts import Facts, gather
from weak2wise.outputs.report.text import escape, line
from weak2wise.outputs.report.traces import sample, traces
from weak2wise.outputs.settings import public_name
from weak2wise.outputs.work_dir import WorkDir
from workers.method import step_named


def page(work: WorkDir) -> Iterator[str]:
    """The HTML file, part by part. Blocks; raises the same errors as ``WorkDir``."""
    facts = gather(work)
    style = files(__package__).joinpath("style.css").read_text("utf-8")
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    name = escape("/".join(work.folder.resolve().parts[-2:]))
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hashed}'; "
        "base-uri 'none'; form-action 'none'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{name}: Weak2Wise run</title><style>{style}</style></head><body>'
    )
    yield _header(name, work, facts)
    yield "<main>"
    yield f'<section class="grid">{_funnel(work, facts)}{_levels(facts)}{_scores(work, facts)}{_lengths(facts)}'
    yield f"{_wins(work, facts)}{_cuts(facts)}</section>"
    yield tables.tokens(work, facts)
    yield tables.slowest(work, facts)
    yield tables.failed(work, facts)
    rows = sample(facts)
    if rows:
        note = f"{len(rows)} of {len(facts.rows):,}, from the best score to the worst."
        yield f"<section><h2>Golden traces</h2><p>{note}</p>"
        yield from traces(work, rows)
        yield "</section>"
    yield f"</main><footer>{tables.settings(work)}</footer></body></html>\n"


def _header(name: str, work: WorkDir, facts: Facts) -> str:
    totals, history = facts.totals, work.history
    state: str = work.state()
    if state == "stopped" and history.stopped:
        state = f"stopped: {history.stopped}"
    dropped, failed = sum(totals.dropped.values()), sum(totals.failed.values())
    tiles = [
        ("questions" if facts.whole else "questions begun", totals.rows),
        ("emitted", totals.emitted),
        ("dropped", dropped),
        ("failed", failed),
        ("unfinished", totals.unfinished),
    ]
    shown = "".join(f'<div class="tile {t.split()[0]}"><dt>{t}</dt><dd>{n:,}</dd></div>' for t, n in tiles)
    ended = f" to {history.last:%Y-%m-%d %H:%M}" if history.last else ""
    return (
        f"<header><p class=quiet>Weak2Wise run</p><h1>{name}</h1>"
        f"<p><strong>{line(state, 300)}</strong>, {escape(work.manifest.created[:16].replace('T', ' '))}{ended} UTC; "
        f"input {line(public_name(history.input or 'unknown'), 200)}</p><dl class=tiles>{shown}</dl>"
        f'<p class="balance">{totals.rows:,} = {totals.emitted:,} emitted + {dropped:,} dropped + {failed:,} failed + '
        f"{totals.unfinished:,} unfinished</p></header>"
    )


def _card(title: str, body: str, note: str = "") -> str:
    return f"<figure><figcaption><h2>{title}</h2>{f'<p>{note}</p>' if note else ''}</figcaption>{body}</figure>"


def _funnel(work: WorkDir, facts: Facts) -> str:
    rows = [("questions", facts.totals.rows, "")]
    for step, counts in facts.through.items():
        lost = [f"−{counts[kind]:,} {kind}" for kind in ("dropped", "failed") if counts[kind]]
        rows.append((step_named(step).label or work.scorer.label, counts["done"], ", ".join(lost)))
    reasons = [f"{line(in_words(reason))}: {count:,}" for reason, count in facts.totals.dropped.items()]
    note = f"Dropped because: {'; '.join(reasons)}." if reasons else "Nothing was dropped."
    return _card(
        "From questions to training data", charts.bars("Questions through each step", rows, facts.totals.rows), note
    )


def _levels(facts: Facts) -> str:
    if not any(facts.levels.values()):
        return ""
    deepest = max(len(levels) for levels in facts.levels.values())
    labels = [f"{100 * level / deepest:.0f}%" for level in range(deepest)]
    series = [
        charts.Series(name, [level.right / level.asked if level.asked else None for level in levels])
        for name, levels in sorted(facts.levels.items())
    ]
    asked = [0] * deepest
    for levels in facts.levels.values():
        for at, level in enumerate(levels):
            asked[at] += level.asked
    drawn = charts.lines(
        "Success of the weak LLM by mask level",
        series,
        labels,
        "of each step hidden" + ("; attempts asked" if facts.bounds else ""),
        "weak LLM reaches the answer",
        below=[f"n={spread.short(count) if count >= 10_000 else f'{count:,}'}" for count in asked]
        if facts.bounds
        else (),
    )
    rows = [
        [line(name), *(f"{level.right:,}/{level.asked:,}" for level in levels), *[""] * (deepest - len(levels))]
        for name, levels in sorted(facts.levels.items())
    ]
    shown = tables.table("Step-Mask in numbers", ["strong model", *labels], rows, names=1)
    numbers = f"<details><summary>Numbers</summary>{shown}</details>"
    note = "How often the weak LLM still answers correctly when more of a strong model's trace is hidden."
    if facts.bounds:
        # Racing asks the level with the highest weight first, and others only of traces that can still win.
        note += (
            " <strong>Asked only of traces that could still win: light levels look better than they are.</strong> "
            f"{facts.bounds:,} of {facts.candidates.total():,} traces were not asked at every level; "
            "<code>scoring: exhaustive</code> gives the true curve."
        )
    return _card("Step-Mask", drawn + charts.legend([s.name for s in series]) + numbers, note)


def _scores(work: WorkDir, facts: Facts) -> str:
    if not facts.scores:
        return ""
    counts, edges = spread.even((facts.scores, facts.candidate_scores))
    # With racing, the scores of the worst losers are only bounds, so the known scores are not those of all traces.
    others = "golden traces and close losers" if facts.bounds else "all traces"
    names = ("golden traces", others)
    drawn = charts.histogram("Scores", list(zip(names, counts, strict=True)), edges, "score")
    note = f"Median of the golden traces {median(facts.scores):.3f}"
    if facts.candidate_scores:
        note += f", of {others} {median(facts.candidate_scores):.3f}"
    note += f"; of {facts.bounds:,} other losers only an upper bound is known." if facts.bounds else "."
    note += f" The winner has {line(work.scorer.ranking, 200)}."
    return _card("Scores", drawn + charts.legend(names), note)


def _wins(work: WorkDir, facts: Facts) -> str:
    if not facts.wins:
        return ""
    total = facts.wins.total()
    # First the models in the settings, then those that wrote traces under earlier settings.
    names = list(dict.fromkeys((*work.strong, *sorted(facts.wins | facts.candidates))))
    rows = [(name, facts.wins[name], f"{100 * facts.wins[name] / total:.0f}%") for name in names]
    note = "; ".join(f"{line(name)} ({line(work.model_of(name))}): {facts.candidates[name]:,} traces" for name in names)
    return _card("Which strong model wins", charts.bars("Golden traces by strong model", rows, total), note)


def _lengths(facts: Facts) -> str:
    if not facts.before:
        return ""
    counts, edges = spread.doubling((facts.after, facts.before))
    names = ("after the cut", "before the cut")
    drawn = charts.histogram(
        "Length of the golden traces", list(zip(names, counts, strict=True)), edges, "characters, each bin √2 wide"
    )
    kept = sum(facts.after) / (sum(facts.before) or 1)
    note = (
        f"Median {median(facts.before):,.0f} characters before the cut, {median(facts.after):,.0f} after; "
        f"{100 * kept:.0f}% of all text is kept."
    )
    return _card("Trace lengths", drawn + charts.legend(names), note)


def _cuts(facts: Facts) -> str:
    if not facts.cuts:
        return ""
    total = facts.cuts.total()
    rows = [(name, count, f"{100 * count / total:.0f}%") for name, count in facts.cuts.most_common()]
    note = (
        "What found the place where the answer is first derived. whole: no place was found, so the whole trace is kept."
    )
    return _card("How traces were cut", charts.bars("Golden traces by what cut them", rows, total), note)
