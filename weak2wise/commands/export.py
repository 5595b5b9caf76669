"""``export``: training data out of a run, in the layout a trainer reads, with a card that says where it comes from."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import cyclopts

from weak2wise.commands.say import say, told
from weak2wise.commands.where import work_dir_of
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.outputs.card import HOLDS, dataset_card, entry_of, header_of
from weak2wise.outputs.choice import choose
from weak2wise.outputs.export import provenance_fields, rows_of, write_jsonl, write_parquet
from weak2wise.outputs.hub import check_name, push
from weak2wise.outputs.layouts import LAYOUTS, LayoutName
from weak2wise.outputs.target import Target, writing
from weak2wise.outputs.work_dir import WorkDir


@told
def export(
    work_dir: Path | None = None,
    *,
    out: Path,
    format_: Annotated[LayoutName, cyclopts.Parameter(name="--format")] = "prompt_response",
    provenance: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    top: Annotated[int | None, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = None,
    min_score: float | None = None,
    balance_by: str | None = None,
    card: bool = True,
    push_to_hub: str | None = None,
    dry_run: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    config: Path = Path("config.yaml"),
) -> int:
    """Write a run's training data in the layout that a trainer reads.

    Works on a run that goes on, too: what it has emitted so far is written.

    Args:
        work_dir: The run's dataset.work_dir; left out, the one that --config names.
        out: The file to write, .jsonl or .parquet; any other name is a folder, which gets a train.jsonl. A dataset
            card is put beside it, README.md or, for x.jsonl, x.md; and an entry into the dataset_info.json there, for
            LLaMA-Factory. A file that is there already is written over only if the card says that it is an export.
        format_: prompt_completion is for TRL; prompt_response, sharegpt and alpaca for LLaMA-Factory; messages for
            both, but TRL then trains on the question's tokens, too, unless told assistant_only_loss=True.
        provenance: Add a column that says where each row comes from: score, s_list, strong model, candidate, judge.
        top: At most so many rows, the highest scores first.
        min_score: No row with a lower score.
        balance_by: Share --top evenly between the values of m_strong or of a column of the input.
        card: Whether to write the card and dataset_info.json.
        push_to_hub: Upload to this data set on the Hugging Face Hub, made private if it is new: user/name.
        dry_run: With --push-to-hub: say what would be uploaded, and upload nothing.
        config: Where work_dir is read from if it is not given.
    """
    if balance_by and top is None:
        raise ConfigError("--balance-by shares out --top; give that too")
    _check_push(push_to_hub, card=card, dry_run=dry_run)
    target = Target.of(out)
    path = target.data
    work = WorkDir(work_dir_of(work_dir, config))
    target.check(work, card=card)
    name = push_to_hub.rpartition("/")[2] if push_to_hub else target.name
    entry = target.entry(name, entry_of(path.name, format_)) if card else b""
    layout = LAYOUTS[format_]
    chosen = choose(work, top=top, min_score=min_score, balance_by=balance_by)
    fields = provenance_fields(work) if provenance else {}
    first = next(chosen, None)
    if first is None and push_to_hub:
        raise ConfigError(f"--push-to-hub {push_to_hub}: there are no rows to upload")
    rows = rows_of(work, () if first is None else chain([first], chosen), layout, fields)
    with writing(path):
        count = write_parquet(path, rows, layout, fields) if path.suffix == ".parquet" else write_jsonl(path, rows)
    say(f"{path}: {count:,} row{'' if count == 1 else 's'}")
    if not count:
        say(f"Warning: the run has emitted no row{' of such a score' if min_score is not None else ''} (see status).")
    if card:
        columns = {column: HOLDS[column] for column in layout.types}
        written = dataset_card(
            work,
            name=name,
            file_name=path.name,
            layout=format_,
            rows=count,
            selection=_selection(count, top, min_score, balance_by),
            columns=columns | ({"provenance": "where the row comes from"} if provenance else {}),
            earlier=header_of(target.card),
        )
        beside_it = {target.card: written.encode()} | ({target.info: entry} if entry else {})
        for beside, content in beside_it.items():
            with writing(beside):
                write_atomic(beside, [content])
        say(", ".join(map(str, beside_it)))
    if push_to_hub:
        # What else is listed there is nobody's business but this folder's.
        files = {path.name: path, "README.md": target.card}
        files |= {target.info.name: target.info} if target.is_alone(name, entry) else {}
        for line in push(push_to_hub, files, dry_run=dry_run):
            say(line)
    return 0


def _check_push(repo: str | None, *, card: bool, dry_run: bool) -> None:
    if dry_run and not repo:
        raise ConfigError("--dry-run is about --push-to-hub; give that too")
    if repo and not card:
        raise ConfigError("--push-to-hub uploads the card too; leave out --no-card")
    if repo:
        check_name(repo)


def _selection(count: int, top: int | None, min_score: float | None, balance_by: str | None) -> str:
    """Which of the run's rows these are; where there were no more than ``top``, it chose none of them."""
    chosen = top is not None and count == top
    said = f"the {count:,} with the highest scores" if chosen else "all that the run emitted"
    if min_score is not None:
        said += f", scores of at least {min_score:g}"
    return said + (f", balanced by `{balance_by}`" if balance_by and chosen else "")
