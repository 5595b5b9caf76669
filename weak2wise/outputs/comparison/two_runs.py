"""Two runs side by side as one HTML file, in the style of a run's report: no script, no network."""

from collections.abc import Callable, Iterator

from weak2wise.outputs.comparison.words import interval, share
from weak2wise.outputs.reasons import in_words
from weak2wise.outputs.report import charts
from weak2wise.outputs.report.document import card, document
from weak2wise.outputs.report.spread import short
from weak2wise.outputs.report.tables import table
from weak2wise.outputs.report.text import duration, escape, line, title
from weak2wise.outputs.side_by_side import OneRun, SideBySide
from weak2wise.statistics import Estimate

FIRST, SECOND = "first", "second"
_FOOTER = (
    "Questions are the same if text and answer are, and with the same input the row. "
    "In brackets, and as bars: 95 % intervals by question."
)


def two_runs(found: SideBySide) -> Iterator[str]:
    """The HTML file, part by part."""
    names = [escape(run.name) for run in (found.first, found.second)]
    parts = [
        _header(names, found),
        "<main>",
        f'<section class="grid">{_scores(found)}{_agreement(found)}{_cost(found)}</section>',
        _numbers(found),
        _settings(found),
        _apart(found),
        f"</main><footer><p>{_FOOTER}</p></footer>",
    ]
    yield from document(f"{names[0]} and {names[1]}", parts)


def _header(names: list[str], found: SideBySide) -> str:
    common, said = found.common, "" if found.same_input else " The inputs differ."
    tiles = [
        ("common questions", f"{common.questions:,}"),
        ("same winner", _percent(common.same_trace)),
        ("score, second less first", _signed(common.difference)),
        ("US dollars", f"{found.first.cost_usd:,.2f} | {found.second.cost_usd:,.2f}"),
    ]
    shown = "".join(f'<div class="use"><dt>{t}</dt><dd>{text}</dd></div>' for t, text in tiles)
    unlike = "" if found.scored_alike else f"<p><strong>{_unlike(found)}</strong></p>"
    return (
        f"<header><p class=quiet>Weak2Wise: two runs</p><h1>{names[0]} and {names[1]}</h1>"
        f"<p>Common questions have a golden trace in both runs; {found.only_first:,} are in the first run alone, "
        f"{found.only_second:,} in the second alone.{said}</p><dl class=tiles>{shown}</dl>{unlike}</header>"
    )


def _unlike(found: SideBySide) -> str:
    keys = ", ".join(line(changed.key) for changed in found.changed if changed.of_scores)
    return f"The scores are not measured alike: {keys}. So a difference of scores is not one of the traces alone."


def _scores(found: SideBySide) -> str:
    runs = {FIRST: found.first, SECOND: found.second}
    rows = [
        charts.Interval(name, run.mean_score.value, run.mean_score.low, run.mean_score.high)
        for name, run in runs.items()
        if run.mean_score
    ]
    if not rows:
        return ""
    drawn = charts.intervals("Mean score of the golden traces", rows, "score")
    common = found.common
    note = "All golden traces of each run."
    if common.difference:
        note += (
            f" On the {common.questions:,} common questions the second run's score differs by "
            f"{interval(common.difference)} in the mean: higher for {common.higher:,}, lower for {common.lower:,}."
        )
    return card("Scores", drawn, note)


def _agreement(found: SideBySide) -> str:
    common = found.common
    measures = {"the same trace wins": common.same_trace, "a trace of the same model wins": common.same_model}
    rows = [charts.Interval(name, one.value, one.low, one.high, share(one)) for name, one in measures.items() if one]
    if not rows:
        return ""
    drawn = charts.intervals("Agreement of winners", rows, "share of common questions", span=(0.0, 1.0))
    note = "The same trace: the same text. Runs that wrote their own traces never have it; forks share theirs."
    if found.alike:
        note += f" Of the questions that both have finished, {share(found.alike)} were emitted or dropped alike."
    return card("Agreement", drawn, note)


def _cost(found: SideBySide) -> str:
    runs = {FIRST: found.first, SECOND: found.second}
    if not any(run.cost_usd for run in runs.values()):
        rows = [(name, run.completion_tokens, "") for name, run in runs.items()]
        drawn = charts.bars("Answer tokens", rows, max(number for _, number, _ in rows))
        return card("Cost", drawn, "Tokens that the models wrote, in all starts; nothing of it had a price.")
    most = max(run.cost_usd for run in runs.values())
    rows = [
        (
            name,
            round(100 * run.cost_usd),
            f"cents, {run.cost_for_row:,.4f} US dollars a row" if run.totals.emitted else "cents",
        )
        for name, run in runs.items()
    ]
    drawn = charts.bars("Cost", rows, round(100 * most))
    return card("Cost", drawn, "All starts together. A fork counts what the run that it was forked from had paid.")


def _numbers(found: SideBySide) -> str:
    facts: list[tuple[str, Callable[[OneRun], str]]] = [
        ("work_dir", lambda run: line(run.work_dir, 300)),
        ("state", lambda run: run.state),
        ("weak LLM", lambda run: line(run.weak)),
        ("strong LLMs", lambda run: line(", ".join(run.strong), 300)),
        ("scorer", lambda run: line(run.scorer)),
        ("questions", lambda run: f"{run.totals.rows:,}{'' if run.whole else ' begun'}"),
        ("emitted", lambda run: f"{run.totals.emitted:,}"),
        ("dropped", _dropped),
        ("failed", lambda run: f"{sum(run.totals.failed.values()):,}"),
        ("not finished", lambda run: f"{run.totals.unfinished:,}"),
        ("mean score", lambda run: interval(run.mean_score) if run.mean_score else "–"),
        ("median score", lambda run: "–" if run.median_score is None else f"{run.median_score:.3f}"),
        ("calls", lambda run: f"{run.calls:,}"),
        ("tokens in, out", lambda run: f"{short(run.prompt_tokens)}, {short(run.completion_tokens)}"),
        ("US dollars", lambda run: f"{run.cost_usd:,.4f}"),
        ("US dollars a row emitted", lambda run: "–" if run.cost_for_row is None else f"{run.cost_for_row:,.5f}"),
        ("at work", lambda run: duration(run.seconds)),
    ]
    rows = [[name, say(found.first), say(found.second)] for name, say in facts]
    shown = table("Numbers", ["", FIRST, SECOND], rows, names=1, words=2, cards=False)
    return f"<section><h2>Numbers</h2>{shown}</section>"


def _dropped(run: OneRun) -> str:
    reasons = "; ".join(f"{line(in_words(reason))}: {count:,}" for reason, count in run.totals.dropped.items())
    return f"{sum(run.totals.dropped.values()):,}{f' ({reasons})' if reasons else ''}"


def _settings(found: SideBySide) -> str:
    if not found.changed:
        return "<section><h2>Settings</h2><p>All settings that affect results are the same.</p></section>"
    rows = [
        [f"<code>{line(c.key)}</code>", *("–" if value is None else line(value, 300) for value in (c.first, c.second))]
        for c in found.changed
    ]
    shown = table("Settings that differ", ["setting", FIRST, SECOND], rows, names=1, words=2, cards=False)
    return f"<section><h2>Settings that differ</h2>{shown}</section>"


def _apart(found: SideBySide) -> str:
    if not found.apart:
        return ""
    rows = [[title(one.question), f"{one.row:,}", f"{one.first:.3f}", f"{one.second:.3f}"] for one in found.apart]
    head = ["question", "row" if found.same_input else "row in the first", FIRST, SECOND]
    return f"<section><h2>Scores furthest apart</h2>{table('Scores furthest apart', head, rows, names=1)}</section>"


def _percent(found: Estimate | None) -> str:
    return "–" if found is None else f"{100 * found.value:.0f}%"


def _signed(found: Estimate | None) -> str:
    return "–" if found is None else f"{found.value:+.3f}".replace("-", "−")
