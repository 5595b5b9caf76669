"""``preview``: run a few questions through all steps and print traces, masked hints, verdicts and the cut."""

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cyclopts
import uvloop
from msgspec import structs
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from weak2wise.check.forecast import survey
from weak2wise.commands.carry_out import make_engine, supervise
from weak2wise.commands.say import INTERRUPTED, command_line, explain, handle_interrupts, say
from weak2wise.commands.tables import dollars, short
from weak2wise.config import Config, Dataset, EndpointSettings, OpenAIEndpoint, input_of, load_config
from weak2wise.dataset import InputRow, at_hand, read_rows
from weak2wise.dataset.given import Questions
from weak2wise.errors import ConfigError
from weak2wise.ledger.outcomes import Done, Failed, RowStatus
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.receipts import Spent
from weak2wise.outputs.summary import Summary
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.run.duplicates import read_duplicates
from weak2wise.run.host import Host
from weak2wise.run.overlap import read_overlap
from weak2wise.run.side_costs import side_budget
from weak2wise.telemetry.plain import plain
from weak2wise.telemetry.redaction import message_redactor
from weak2wise.telemetry.terminal import wait_for_reader
from workers.records import Golden, Score, Scored
from workers.scorers import Scorer, explained, score_text
from workers.scorers.masking import hint

_QUESTION, _ANSWER, _BEGIN, _END, _CANDIDATES = 4, 2, 4, 3, 6
"""Lines of each on one screen of 24: question, answer, begin and end of the reasoning, and traces."""
_FEW = 10
"""Questions; fewer are a poor sample of what all cost."""


def preview(
    *,
    n: Annotated[int, cyclopts.Parameter(name=["--n", "-n"], validator=cyclopts.validators.Number(gte=1))] = 3,
    config: Path = Path("config.yaml"),
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    full: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Run a few questions through all steps and show the results, a screen for each.

    It takes the first valid questions of the input that are in no evaluation set. The filter is skipped, so that none
    is dropped. The calls are real and cost money, from the run's engine.max_cost_usd if that is set: then the work_dir
    keeps what was spent, but nothing else. Without it the run's work_dir is not touched.

    Args:
        n: How many questions.
        config: The YAML file of the run.
        set_: Override a key of the config: --set params.n_mask=8. May be given several times.
        full: Show every text whole, and the hint of each mask level with what the weak LLM made of it.
    """
    handle_interrupts()
    redact: Callable[[str], str] = str
    try:
        loaded = load_config(config, set_ or ())
        secrets = [value for endpoint in loaded.endpoints.values() for value in endpoint.secret_values(os.environ)]
        redact = message_redactor(secrets)
        with tempfile.TemporaryDirectory(prefix="weak2wise-preview-") as name:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                small, questions = runner.run(_small(loaded, name, n))
                with side_budget(loaded, "preview") as budget:
                    if runner.run(_run(small, questions, budget)) is None:
                        say("Interrupted.")
                        return INTERRUPTED
                questions_in_all = runner.run(_count(loaded))
            wait_for_reader()
            work, console = WorkDir(Path(name)), Console()
            code = show(work, console, full=full)
            show_costs(work, questions_in_all, console)
            return code
    except Exception as error:  # noqa: BLE001 - explained by its kind, as for a run
        return explain(error, command_line(), kept=False, redact=redact)


async def _small(config: Config, work_dir: str, n: int) -> tuple[Config, Questions]:
    """The same run in a folder of its own, and the first ``n`` valid rows that a run would not drop unasked."""
    rows: list[InputRow] = []
    dropped = 0
    dataset, path = config.dataset, input_of(config)
    overlap = await asyncio.to_thread(read_overlap, config)
    file = at_hand(path, Path(dataset.work_dir))
    duplicates = await asyncio.to_thread(read_duplicates, config, file)
    async for row in read_rows(file, dataset.columns):
        if isinstance(row, InputRow):
            if (overlap and overlap.find(row.question)) or (duplicates and duplicates.get(row.number)):
                dropped += 1
            else:
                rows.append(row)
        if len(rows) == n:
            break
    if not rows and dropped:
        raise ConfigError(f"{path}: every question is in an evaluation set (dataset.decontaminate)")
    if not rows:
        raise ConfigError(f"{path}: no line is a valid question (dataset.input_path)")
    small = structs.replace(
        config,
        dataset=Dataset(work_dir=work_dir),
        params=structs.replace(config.params, skip_filter=True),
        engine=structs.replace(config.engine, wait_for_off_peak=False),  # somebody waits for it
        endpoints={name: _unbatched(endpoint) for name, endpoint in config.endpoints.items()},
    )
    return small, [{"id": row.id, "question": row.question, "answer": row.answer} for row in rows]


def _unbatched(endpoint: EndpointSettings) -> EndpointSettings:
    return structs.replace(endpoint, batch=None) if isinstance(endpoint, OpenAIEndpoint) else endpoint


async def _run(config: Config, questions: Questions, budget: CostBudget) -> Summary | None:
    async with Host(config, budget=budget) as host:
        return await supervise(make_engine(config, questions=questions, host=host))


async def _count(config: Config) -> int:
    """The input's questions that a run would ask about."""
    overlap = await asyncio.to_thread(read_overlap, config)
    source = await survey(config, overlap, None)
    return source.good - source.contaminated - source.duplicates


def show_costs(work: WorkDir, questions: int, console: Console) -> None:
    """Print what the previewed questions cost, and what ``questions`` of their kind would, as a range."""
    spent: dict[int, Spent] = {}
    work.journal.look(lambda receipt: spent.setdefault(receipt.row, Spent()).add(receipt))
    if not spent:
        return
    costs = sorted(one.cost_usd for one in spent.values())
    tokens = sorted(one.prompt_tokens + one.completion_tokens for one in spent.values())
    here = f"{len(spent):,} questions" if len(spent) > 1 else "1 question"
    used = f"{short(sum(tokens))} tokens"
    if sum(costs):
        line = f"Cost of {here}: {dollars(sum(costs))} US dollars, {used}."
        mean, least, most, unit = sum(costs) / len(costs), dollars(questions * costs[0]), costs[-1], "US dollars"
        about, highest = dollars(questions * mean), dollars(questions * most)
    else:
        line = f"{here} took {used}; what they cost is not known (model_endpoints.NAME.prices)."
        least, highest, unit = short(questions * tokens[0]), short(questions * tokens[-1]), "tokens"
        about = short(questions * sum(tokens) / len(tokens))
    console.print(Text(line))
    line = f"All {questions:,} questions of the input, at this rate: about {about} {unit}"
    if len(spent) > 1:
        line += f", from {least} (if all were like the cheapest of these) to {highest} (like the dearest)"
    console.print(Text(f"{line}. Fewer where the filter, which a preview skips, drops questions."))
    if len(spent) < _FEW:
        console.print(Text(f"A few questions say little: preview -n {_FEW} says more.", style="dim"))


def show(work: WorkDir, console: Console, *, full: bool = False) -> int:
    """Print the result of every question, on a screen each or in ``full``; returns the exit code: 1 if one failed."""
    selected, scores = work.made(Golden), work.made(Scored)
    masks = False
    for row in selected.rows():
        if selected.status(row) is RowStatus.DONE:
            golden, scored = selected.read(row), scores.read(row)
            assert isinstance(golden, Done)
            assert isinstance(scored, Done)
            masks |= any(score.is_masked for score in scored.record.scores)
            _show_golden(golden.record, scored.record, work.scorer, console, full=full)
    failed = False
    for end in work.account.ends():
        console.print(Rule(style="red"))
        if isinstance(end, Failed):
            failed = True
            console.print(Text(f"failed in {end.stage}: {end.kind}: {plain(end.message)}", style="red"))
            _block(console, "question", end.title, None if full else _QUESTION)
        else:
            console.print(Text(f"question {end.row} was dropped: {plain(end.why)}", style="red"))
    totals = work.totals()[0]
    console.print(Rule())
    if totals.emitted and not full:
        hints = ", and each masked hint" if masks else ""
        console.print(Text(f"--full shows every text whole{hints}.", style="dim"))
    say(f"{totals.emitted} of {totals.rows} questions passed all steps. Nothing was kept.")
    return 1 if failed else 0


def _show_golden(golden: Golden, scored: Scored, scorer: type[Scorer], console: Console, *, full: bool) -> None:
    winner = golden.winner
    console.print(Rule(Text(f"question {golden.row}"), align="left"))
    _block(console, "question", golden.question.text, None if full else _QUESTION)
    _block(console, "answer", golden.question.answer, None if full else _ANSWER)
    console.print(Text.assemble(("candidates", "bold"), f": the winner has {plain(scorer.ranking)}"))
    traces = list(zip(scored.candidates, scored.scores, strict=True))
    traces.sort(key=lambda trace: trace[0] != winner and not full)  # it is among those shown
    for candidate, score in traces if full else traces[:_CANDIDATES]:
        row = Text("  ").append(_evidence(score, scorer))
        row.append(f"  {score_text(score)}  {candidate.m_strong} no. {candidate.sample + 1}, ")
        row.append(f"{len(candidate.step_list)} steps, {len(candidate.normal):,} characters of reasoning")
        console.print(row.append("  wins", style="bold") if candidate == winner else row)
    if (more := len(traces) - _CANDIDATES) > 0 and not full:
        console.print(Text(f"  and {more:,} more", style="dim"))
    levels = len(golden.score.s_list)
    for level, bit in enumerate(golden.score.s_list) if full else ():
        verdict = {1: "the weak LLM answers correctly", 0: "the weak LLM fails", None: "not asked"}[bit]
        _block(console, f"masked {level}/{levels}: {verdict}", hint(winner.step_list, level, levels))
    removed = len(winner.normal) - len(golden.truncated)
    cut = (
        f"{removed:,} characters cut away by {golden.cut_by}" if removed > 0 else f"nothing cut away by {golden.cut_by}"
    )
    if full:
        _block(console, f"reasoning, {cut}", golden.truncated)
    else:
        _block(console, f"reasoning, {cut}", golden.truncated, _BEGIN, _END)


def _evidence(score: Score, scorer: type[Scorer]) -> Text:
    text = Text(plain(explained(scorer, score)))
    if score.is_masked:
        for sign, style in {"✓": "green", "✗": "red", "·": "dim", "no steps": "dim"}.items():
            text.highlight_words([sign], style)
    return text


def _block(console: Console, name: str, text: str, begin: int | None = None, end: int = 0) -> None:
    """Print a text below its name: all of it, or so many lines of its begin and its end.

    Line breaks are kept, other control characters are replaced.
    """
    console.print(Text(name, style="bold"))
    shown = Text("\n".join(plain(line) for line in text.splitlines() if line.strip() or begin is None))
    all_lines = list(shown.wrap(console, console.width - 2))
    left_out = 0 if begin is None else len(all_lines) - begin - end
    if left_out > 1:
        all_lines = [
            *all_lines[:begin],
            Text(f"… {left_out:,} more lines", style="dim"),
            *all_lines[len(all_lines) - end :],
        ]
    for line in all_lines:
        console.print(Padding(line, (0, 0, 0, 2)))
