"""The files written next to an export: the dataset card and LLaMA-Factory's ``dataset_info.json``."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from weak2wise.digests import digest
from weak2wise.outputs.layouts import LAYOUTS, LayoutName
from weak2wise.outputs.provenance import Share, shape_of
from weak2wise.outputs.reasons import in_words
from weak2wise.outputs.settings import as_yaml, public_name
from weak2wise.outputs.trainers import COMMANDS
from weak2wise.outputs.work_dir import WorkDir, models_in
from weak2wise.version import __version__

_MARK = "<!-- written by weak2wise export -->"

_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]


_LICENCE = """
Before you publish this data set, add its licence: it depends on the licence of the questions and on the models' terms.
"""
_ANSWER = "the response: reasoning and answer"
CONTENTS = dict.fromkeys(("prompt", "instruction"), "the question") | {"input": "nothing"}
"""What each column holds."""
CONTENTS |= dict.fromkeys(("response", "completion", "output"), _ANSWER)
CONTENTS |= {"chosen": _ANSWER, "rejected": "the same of the trace with the lowest score"}
CONTENTS |= dict.fromkeys(("messages", "conversations"), f"two turns: the question; {_ANSWER}")


def entry_of(file_name: str, layout: LayoutName) -> dict[str, object] | None:
    """The data set's entry in LLaMA-Factory's ``dataset_info.json``; ``None`` if it cannot read the layout."""
    info = LAYOUTS[layout].info
    return info and {"file_name": file_name, **info}


def header_of(card: Path) -> dict[str, Any]:
    """The header of a card that weak2wise wrote, with later additions by hand; empty for any other card."""
    text = card.read_text(errors="replace") if card.is_file() else ""
    if _MARK not in text:
        return {}
    try:
        header = yaml.safe_load(text.removeprefix("---\n").partition("\n---\n")[0])
    except yaml.YAMLError:
        return {}
    return header if isinstance(header, dict) else {}


def data_file_of(card: Path) -> str | None:
    """The name of the data file that a card describes; ``None`` if weak2wise did not write the card."""
    try:
        return str(header_of(card)["configs"][0]["data_files"][0]["path"])
    except (LookupError, TypeError):
        return None


def dataset_card(
    work: WorkDir,
    *,
    name: str,
    file_name: str,
    layout: LayoutName,
    rows: int,
    selection: str,
    columns: Mapping[str, str],
    response: str,
    trainings: Iterable[tuple[str, str]],
    earlier: Mapping[str, Any],
    changed: Sequence[Share],
) -> str:
    """The text of the dataset card, the ``README.md`` of a data set on the Hub.

    Args:
        work: the run.
        name: the data set's name.
        file_name: the data file next to the card.
        layout: the layout of the data file.
        rows: the number of rows in it.
        selection: which of the run's rows these are, in words.
        columns: each column and what it holds.
        response: the template of the responses.
        trainings: trainers, each with its command (``weak2wise.outputs.trainers.Training.lines``).
        earlier: the header of the card that is replaced; keys that weak2wise does not write are kept.
        changed: these rows by value of each setting that has changed (``weak2wise.outputs.provenance.shares``).
    """
    header: dict[str, Any] = {
        "pretty_name": name,
        "task_categories": ["text-generation"],
        "tags": ["weak2wise", "reasoning", "synthetic", "sft"],
        "size_categories": [next((size for limit, size in _SIZES if rows < limit), "n>10M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": file_name}]}],
    }
    header |= {key: value for key, value in earlier.items() if key not in header}
    licence = "" if "license" in header else _LICENCE
    totals, whole = work.totals()
    source = work.manifest.input
    shape, alike = shape_of(work, changed)
    dropped = "".join(f"| dropped: {in_words(reason)} | {count:,} |\n" for reason, count in totals.dropped.items())
    failed = sum(totals.failed.values())
    models = "".join(f"| {_cell(role)} | {_cell(public_name(model))} |\n" for role, model in models_in(shape).items())
    shown = {key: public_name(value) if key.endswith(".model") else value for key, value in shape.items()}
    trained = "".join(
        f"{trainer}:\n\n```bash\n{said}\n```\n\n" if said.startswith(COMMANDS) else f"{trainer} {said}.\n\n"
        for trainer, said in trainings
    )
    template = msgspec.json.encode(response).decode()
    listed = "".join(f"| `{column}` | {what} |\n" for column, what in columns.items())
    return f"""---
{yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip()}
---
{_MARK}

# {name}

Reasoning traces that suit one weak LLM, found without labels by
[Weak2Wise](https://aclanthology.org/2025.findings-emnlp.1070/): strong LLMs write several traces for each question that
the weak LLM does not solve; {_winner(work)}, and is cut where
the answer is first derived.

**{rows:,} row{"" if rows == 1 else "s"}**, {selection}; layout `{layout}` (read by {LAYOUTS[layout].reader}).

| column | holds |
|---|---|
{listed}
A response is `{template}`: the reasoning, and the reference answer.

## Train on it

{trained}
No row is cut: the limit is the longest row's size in bytes, and a token has at least one.

## Models

| role | model |
|---|---|
{models}
{_changed(changed, alike=alike)}## Where every question went

| | questions |
|---|---|
| in the input{"" if whole else " (as far as begun)"} | {totals.rows:,} |
{dropped}| failed | {failed:,} |
| not finished | {totals.unfinished:,} |
| emitted | {totals.emitted:,} |
| in this data set | {rows:,} |

## How to reproduce

`weak2wise` {work.manifest.weak2wise or __version__}, on the same input, with a config of the settings below. Add to it
the address of each endpoint, and the values that are shown only as a digest (prompts, free-form values):

```bash
python -m weak2wise.engine --config config.yaml
```

Digest of the settings: `{digest(shape)}`. Input: {source.size:,} bytes, SHA-256 `{source.sha256}`.

```yaml
{as_yaml(shown).strip()}
```
{licence}"""


def _changed(changed: Sequence[Share], *, alike: bool) -> str:
    """The section about settings that changed while the run was under way; empty if none did."""
    if not changed:
        return ""
    rows = "".join(
        f"| `{share.key}` | {share.step} | {_cell(share.shown)}{' (now)' if share.now else ''} | {share.rows:,} |\n"
        for share in changed
    )
    said = (
        "All rows were made by the settings below"
        if alike
        else "The rows are a mixture: no single run reproduces them, and the settings below are those of the last start"
    )
    return f"""## Settings that changed

The run went on with other settings (`--resume force`). {said}.

| setting | step | value | rows that it made |
|---|---|---|---|
{rows}
"""


def _winner(work: WorkDir) -> str:
    """Which trace wins."""
    if work.scorer_name == "stepmask":
        return "the trace that still guides the weak LLM when most of it is masked wins"
    return f"the winner has {work.scorer.ranking}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
