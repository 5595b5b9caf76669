"""``export``: write a run's training data in a trainer's format, with a card that describes its origin."""

from array import array
from pathlib import Path
from typing import Annotated

import cyclopts
from msgspec import structs

from weak2wise.commands.say import report_errors, say
from weak2wise.commands.where import work_dir_of
from weak2wise.config import Response
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.outputs.card import CONTENTS, dataset_card, entry_of, header_of
from weak2wise.outputs.choice import choose
from weak2wise.outputs.export import provenance_fields, rows_of, write_rows
from weak2wise.outputs.hub import check_name, push
from weak2wise.outputs.layouts import LAYOUTS, LayoutName
from weak2wise.outputs.provenance import shares
from weak2wise.outputs.settings import public_name
from weak2wise.outputs.target import Target, writing
from weak2wise.outputs.trainers import Longest, Training
from weak2wise.outputs.work_dir import WorkDir


@report_errors
def export(
    work_dir: Path | None = None,
    *,
    out: Path,
    format_: Annotated[LayoutName, cyclopts.Parameter(name="--format")] = "prompt_completion",
    response: str | None = None,
    provenance: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    top: Annotated[int | None, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = None,
    min_score: float | None = None,
    balance_by: str | None = None,
    card: bool = True,
    umask: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    push_to_hub: str | None = None,
    dry_run: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    config: Path = Path("config.yaml"),
) -> int:
    r"""Write a run's training data in a trainer's format.

    It also works while the run goes on: the rows emitted so far are written.

    Args:
        work_dir: The run's dataset.work_dir (default: the one in the --config file).
        out: The file to write, .jsonl or .parquet; any other name is a folder, which gets a train.jsonl. A dataset
            card is written next to it (README.md, or x.md for x.jsonl), and an entry for LLaMA-Factory is added to the
            dataset_info.json there. An existing file is overwritten only if its card says that it is an export.
        format_: prompt_completion is what TRL's SFTTrainer trains on as it is, on the response alone; prompt_response,
            sharegpt and alpaca are for LLaMA-Factory; messages for both, but then TRL also trains on the question's
            tokens, unless you set assistant_only_loss=True. preference is for TRL's DPOTrainer, of a run with
            params.keep: pairs.
        response: How a response is put together: reference, think, boxed, none, or a text with {trace} and {answer},
            where \n is a line break (default: as the run has it, by params.response).
        provenance: Add a column with the origin of each row: score, s_list, strong model, candidate, judge.
        top: The highest number of questions; those with the highest scores are taken. Each is one row, or as many as
            params.keep.
        min_score: The lowest score of a row.
        balance_by: Share --top evenly between the values of m_strong or of a column of the input.
        card: Whether to write the card and dataset_info.json.
        umask: Give new files and folders the modes that your umask allows (default: they are yours alone).
        push_to_hub: Upload to this data set on the Hugging Face Hub, made private if it is new: user/name.
        dry_run: With --push-to-hub: show what would be uploaded, and upload nothing.
        config: The config file that names the work_dir, if it is not given.
    """
    if balance_by and top is None:
        raise ConfigError("--balance-by needs --top: it divides those rows")
    _check_push(push_to_hub, card=card, dry_run=dry_run)
    target = Target.of(out)
    path = target.data
    template = _template(response)
    work = WorkDir(work_dir_of(work_dir, config))
    target.check(work, card=card)
    name = push_to_hub.rpartition("/")[2] if push_to_hub else target.name
    entry = target.entry(name, entry_of(path.name, format_)) if card else b""
    layout = LAYOUTS[format_]
    if layout.of_pairs and all(shape.get("params.keep") != "pairs" for shape in work.manifest.shapes().values()):
        raise ConfigError(f"--format {format_}: {work.folder} holds no pairs; they need a run with params.keep: pairs")
    chosen = array("Q", choose(work, top=top, min_score=min_score, balance_by=balance_by))
    fields = provenance_fields(work) if provenance else {}
    if not chosen and push_to_hub:
        raise ConfigError(f"--push-to-hub {push_to_hub}: there are no rows to upload")
    longest, private = Longest(), not umask
    rows = rows_of(work, chosen, layout, fields, response=template, longest=longest)
    with writing(path):
        count = write_rows(path, rows, layout, fields, private=private)
    say(f"{path}: {count:,} row{'' if count == 1 else 's'}")
    if not count:
        say(f"Warning: the run has emitted no row{' with such a score' if min_score is not None else ''} (see status).")
    training = _training(work, target, format_, name if card else None, longest.limit)
    if card:
        columns = {column: CONTENTS[column] for column in layout.types}
        written = dataset_card(
            work,
            name=name,
            file_name=path.name,
            layout=format_,
            rows=count,
            selection=_selection(count, top, min_score, balance_by),
            columns=columns | ({"provenance": "the origin of the row"} if provenance else {}),
            response=(template or Response.parse(work.response, "params.response")).text,
            trainings=_published(training, path.name, push_to_hub).lines(),
            earlier=header_of(target.card),
            changed=shares(work, chosen),
        )
        companions = {target.card: written.encode()} | ({target.info: entry} if entry else {})
        for companion, content in companions.items():
            with writing(companion):
                write_atomic(companion, [content], private=private)
        say(", ".join(map(str, companions)))
    for trainer, said in training.lines() if count else ():
        say(f"{trainer}: {said}")
    if push_to_hub:
        # dataset_info.json is uploaded only if it lists this data set alone: other entries stay private.
        files = {path.name: path, "README.md": target.card}
        files |= {target.info.name: target.info} if target.is_alone(name, entry) else {}
        for line in push(push_to_hub, files, dry_run=dry_run):
            say(line)
    return 0


def _template(response: str | None) -> Response | None:
    """The template that ``--response`` gives; ``None`` without it."""
    return None if response is None else Response.parse(response.replace("\\n", "\n"), "--response")


def _training(work: WorkDir, target: Target, layout: LayoutName, name: str | None, limit: int) -> Training:
    """The training on these files; ``name``: of the data set on its card, ``None`` if no card is written."""
    folder = target.data.parent
    in_folder = name is not None and target.card.name == "README.md"
    return Training(
        layout=layout,
        model=work.models["weak"],
        data=str(folder if in_folder else target.data),
        in_folder=in_folder,
        folder=None if name is None else str(folder),
        name=name or target.name,
        limit=limit,
    )


def _published(training: Training, file_name: str, repo: str | None) -> Training:
    """The training as the card says it: with no place on this machine."""
    data = repo or (training.name if training.in_folder else file_name)
    folder = training.name if repo or training.in_folder else "."
    in_folder = training.in_folder or repo is not None
    model = public_name(training.model)
    return structs.replace(training, model=model, data=data, folder=folder, in_folder=in_folder)


def _check_push(repo: str | None, *, card: bool, dry_run: bool) -> None:
    if dry_run and not repo:
        raise ConfigError("--dry-run needs --push-to-hub")
    if repo and not card:
        raise ConfigError("--push-to-hub uploads the card too; remove --no-card")
    if repo:
        check_name(repo)


def _selection(count: int, top: int | None, min_score: float | None, balance_by: str | None) -> str:
    """The selection in words. If the run has at most ``top`` rows, all were taken, and ``top`` is not mentioned."""
    limited = top is not None and count == top
    text = f"the {count:,} with the highest scores" if limited else "all that the run emitted"
    if min_score is not None:
        text += f", scores of at least {min_score:g}"
    return text + (f", balanced by `{balance_by}`" if balance_by and limited else "")
