"""What lies beside an export: the dataset card and LLaMA-Factory's ``dataset_info.json``."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from weak2wise.digests import digest
from weak2wise.outputs.layouts import LAYOUTS, LayoutName
from weak2wise.outputs.settings import as_yaml
from weak2wise.outputs.work_dir import WorkDir

_MARK = "<!-- written by weak2wise export -->"

_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]


_LICENCE = """
The licence is for whoever publishes this to state: it depends on that of the questions and on the terms of the models.
"""
_ANSWER = "the reasoning between `<think>` and `</think>`, then the answer"
HOLDS = dict.fromkeys(("prompt", "instruction"), "the question") | {"input": "nothing"}
"""Column to what it holds."""
HOLDS |= dict.fromkeys(("response", "completion", "output"), _ANSWER)
HOLDS |= dict.fromkeys(("messages", "conversations"), f"two turns: the question; {_ANSWER}")


def entry_of(file_name: str, layout: LayoutName) -> dict[str, object] | None:
    """The data set's entry in LLaMA-Factory's ``data/dataset_info.json``; ``None`` in a layout it does not read."""
    info = LAYOUTS[layout].info
    return info and {"file_name": file_name, **info}


def header_of(card: Path) -> dict[str, Any]:
    """The header of a card of ours, with what was added to it by hand; empty if it is not one of ours."""
    text = card.read_text(errors="replace") if card.is_file() else ""
    if _MARK not in text:
        return {}
    try:
        header = yaml.safe_load(text.removeprefix("---\n").partition("\n---\n")[0])
    except yaml.YAMLError:
        return {}
    return header if isinstance(header, dict) else {}


def described(card: Path) -> str | None:
    """The name of the data file that a card of ours is about; ``None`` if it is not one of ours."""
    try:
        return str(header_of(card)["configs"][0]["data_files"][0]["path"])
    except (LookupError, TypeError):
        return None


def public(model: str) -> str:
    """A model's name as others may see it: of a local folder its name alone, not where it lies on this machine."""
    return Path(model).name if model.startswith(("/", "~", "./", "../")) else model


def dataset_card(
    work: WorkDir,
    *,
    name: str,
    file_name: str,
    layout: LayoutName,
    rows: int,
    selection: str,
    columns: Mapping[str, str],
    earlier: Mapping[str, Any],
) -> str:
    """What a data set on the Hub has for its ``README.md``.

    Args:
        work: the run it comes from.
        name: the data set's.
        file_name: the data file beside the card.
        layout: its shape.
        rows: how many it has.
        selection: in words, which of the run's rows these are.
        columns: each column and what it holds.
        earlier: the header of the card whose place it takes: what is not ours in it stays.
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
    shape, source = work.manifest.shape, work.manifest.input
    dropped = "".join(f"| dropped: {reason} | {count:,} |\n" for reason, count in totals.dropped.items())
    failed = sum(totals.failed.values())
    models = "".join(f"| {_cell(role)} | {_cell(public(model))} |\n" for role, model in work.models.items())
    shown = {key: public(value) if key.endswith(".model") else value for key, value in shape.items()}
    listed = "".join(f"| `{column}` | {what} |\n" for column, what in columns.items())
    return f"""---
{yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip()}
---
{_MARK}

# {name}

Reasoning traces that suit one weak LLM, found without labels by
[Weak2Wise](https://aclanthology.org/2025.findings-emnlp.1070/): strong LLMs write several traces for each question that
the weak LLM does not solve; the trace that still guides the weak LLM when most of it is masked wins, and is cut where
the answer is first derived.

**{rows:,} row{"" if rows == 1 else "s"}**, {selection}; layout `{layout}` (read by {LAYOUTS[layout].reader}).

| column | holds |
|---|---|
{listed}
## Models

| role | model |
|---|---|
{models}
## Where every question went

| | questions |
|---|---|
| in the input{"" if whole else " (as far as begun)"} | {totals.rows:,} |
{dropped}| failed | {failed:,} |
| not finished | {totals.unfinished:,} |
| emitted | {totals.emitted:,} |
| in this data set | {rows:,} |

## How to reproduce

`weak2wise` {version("weak2wise")}, on the same input, with a config of the settings below. It also says where each
endpoint is reached, and what is shown as a digest alone (prompts, free-form values):

```bash
python -m weak2wise.engine --config config.yaml
```

Digest of the settings: `{digest(shape)}`. Input: {source.size:,} bytes, SHA-256 `{source.sha256}`.

```yaml
{as_yaml(shown).strip()}
```
{licence}"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
