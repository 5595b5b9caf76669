"""The report's page: charts and tables of the numbers, then some traces to read."""

from collections.abc import Iterator
from statistics import median

from weak2wise.outputs.reasons import cut_in_words, in_words
from weak2wise.outputs.report import charts, spread, tables
from weak2wise.outputs.report.document import card, document
from weak2wise.outputs.report.facts import Facts, gather
from weak2wise.outputs.report.pages import pages
from weak2wise.outputs.report.text import duration, escape, line
from weak2wise.outputs.settings import public_name
from weak2wise.outputs.work_dir import WorkDir
from workers.method import step_named


def page(work: WorkDir, ranks: range | None = None) -> Iterator[str]:
    """The HTML file, part by part. Blocks; raises the same errors as ``WorkDir``.

    ``ranks``: the golden traces to show, by their rank from 0 (the best score); ``None``: all, or as many as fit.
    """
    facts = gather(work)
    name = escape("/".join(work.folder.resolve().parts[-2:]))
    yield from document(f"{name}: Weak2Wise run", _parts(name, work, facts, ranks))


def _parts(name: str, work: WorkDir, facts: Facts, ranks: range | None) -> Iterator[str]:
    yield _header(name, work, facts)
    yield "<main>"
    yield f'<section class="grid">{_funnel(work, facts)}{_levels(facts)}{_scores(work, facts)}{_lengths(facts)}'
    yield f"{_wins(work, facts)}{_cuts(facts)}</section>"
    yield tables.tokens(work, facts)
    yield tables.slowest(work, facts)
    yield tables.failed(work, facts)
    yield tables.dropped(work, facts)
    if facts.rows:
        yield from pages(work, facts, ranks)
    yield f"</main><footer>{tables.settings(work)}</footer>"


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
    shown += "".join(f'<div class="use"><dt>{t}</dt><dd>{text}</dd></div>' for t, text in _use(work, facts))
    ended = f" to {history.last:%Y-%m-%d %H:%M}" if history.last else ""
    return (
        f"<header><p class=quiet>Weak2Wise run</p><h1>{name}</h1>"
        f"<p><strong>{line(state, 300)}</strong>, {escape(work.manifest.created[:16].replace('T', ' '))}{ended} UTC; "
        f"input {line(public_name(history.input or 'unknown'), 200)}</p><dl class=tiles>{shown}</dl>"
        f'<p class="balance">{totals.rows:,} = {totals.emitted:,} emitted + {dropped:,} dropped + {failed:,} failed + '
        f"{totals.unfinished:,} unfinished</p></header>"
    )


def _use(work: WorkDir, facts: Facts) -> Iterator[tuple[str, str]]:
    """What the run has cost, and how long it was at work, with their names."""
    spent = facts.spent.values()
    if cost := sum(one.cost_usd for one in spent):
        yield "US dollars", f"{cost:,.2f}" if cost >= 1 else f"{cost:,.4f}"
    else:
        yield "answer tokens", spread.short(sum(one.completion_tokens for one in spent))
    starts = work.history.starts
    yield "at work" + (f", {starts:,} starts" if starts > 1 else ""), duration(work.history.seconds)


def _funnel(work: WorkDir, facts: Facts) -> str:
    unreadable = facts.totals.unreadable
    before = facts.totals.rows - unreadable
    rows = [charts.Passed("questions", before, {"failed": unreadable})]
    for step, counts in facts.through.items():
        lost = {kind: counts[kind] for kind in ("dropped", "failed")}
        lost["not finished"] = max(0, before - counts["done"] - sum(lost.values()))
        rows.append(charts.Passed(step_named(step).label or work.scorer.label, counts["done"], lost))
        before = counts["done"]
    reasons = [f"{line(in_words(reason))}: {count:,}" for reason, count in facts.totals.dropped.items()]
    note = f"Dropped because: {'; '.join(reasons)}." if reasons else "Nothing was dropped."
    return card(
        "From questions to training data", charts.funnel("Questions through each step", rows, facts.totals.rows), note
    )


def _levels(facts: Facts) -> str:
    if not any(facts.levels.values()):
        return ""
    deepest = max(len(levels) for levels in facts.levels.values())
    if deepest == 1:
        return _whole_hints(facts)
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
    shown = tables.table("Step-Mask in numbers", ["strong model", *labels], rows, names=1, cards=False)
    numbers = f"<details><summary>Numbers</summary>{shown}</details>"
    note = "How often the weak LLM still answers correctly when more of a strong model's trace is hidden."
    if facts.bounds:
        # Racing asks the level with the highest weight first, and others only of traces that can still win.
        note += (
            " <strong>Asked only of traces that could still win: light levels look better than they are.</strong> "
            f"{facts.bounds:,} of {facts.candidates.total():,} traces were not asked at every level; "
            "<code>scoring: exhaustive</code> gives the true curve."
        )
    return card("Step-Mask", drawn + charts.legend([s.name for s in series]) + numbers, note)


def _whole_hints(facts: Facts) -> str:
    """The scorer that masks nothing: how often each model's whole traces lead to the answer."""
    reached = [(name, levels[0]) for name, levels in sorted(facts.levels.items()) if levels]
    rows = [(name, level.right, f"of {level.asked:,} asked") for name, level in reached]
    note = "How many traces led the weak LLM to the answer, with nothing of them hidden."
    if facts.bounds:
        note += f" {facts.bounds:,} of {facts.candidates.total():,} traces were not asked, as another one had won."
    drawn = charts.bars("Whole traces that led to the answer", rows, max(level.asked for _, level in reached))
    return card("Whole traces as hints", drawn, note)


def _scores(work: WorkDir, facts: Facts) -> str:
    if not facts.scores:
        return ""
    counts, edges = spread.even((facts.scores, facts.candidate_scores))
    # With racing, the scores of the worst losers are only bounds, so the known scores are not those of all traces.
    raced = any(facts.levels.values())
    others = "all traces" if not facts.bounds else "golden traces and close losers" if raced else "traces measured"
    names = ("golden traces", others)
    drawn = charts.histogram("Scores", list(zip(names, counts, strict=True)), edges, "score")
    note = f"Median of the golden traces {median(facts.scores):.3f}"
    if facts.candidate_scores:
        note += f", of {others} {median(facts.candidate_scores):.3f}"
    if facts.bounds:
        unknown = "other losers only an upper bound is known" if raced else "traces could not be measured"
        note += f"; {'of ' if raced else ''}{facts.bounds:,} {unknown}"
    note += "."
    note += f" The winner has {line(work.scorer.ranking, 200)}."
    return card("Scores", drawn + charts.legend(names), note)


def _wins(work: WorkDir, facts: Facts) -> str:
    if not facts.wins:
        return ""
    total = facts.wins.total()
    # First the models in the settings, then those that wrote traces under earlier settings.
    names = list(dict.fromkeys((*work.strong, *sorted(facts.wins | facts.candidates))))
    rows = [(name, facts.wins[name], f"{100 * facts.wins[name] / total:.0f}%") for name in names]
    note = "; ".join(f"{line(name)} ({line(work.model_of(name))}): {facts.candidates[name]:,} traces" for name in names)
    return card("Which strong model wins", charts.bars("Golden traces by strong model", rows, total), note)


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
    return card("Trace lengths", drawn + charts.legend(names), note)


def _cuts(facts: Facts) -> str:
    if not facts.cuts:
        return ""
    total = facts.cuts.total()
    rows = [(cut_in_words(name), count, f"{100 * count / total:.0f}%") for name, count in facts.cuts.most_common()]
    note = "What found the place where the answer is first derived. Where none was found, the whole trace is kept."
    return card("How traces were cut", charts.bars("Golden traces by what cut them", rows, total), note)
