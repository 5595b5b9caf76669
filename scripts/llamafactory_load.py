"""Loads exports as LLaMA-Factory does, in its environment.

Run: python scripts/llamafactory_load.py MODEL EXPORT_DIR…

Its parser reads the arguments that the dataset card names, its ``get_dataset`` makes tokens of the rows, and they are
held against the exported texts. Needs nothing of weak2wise.
"""

import json
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

IGNORED = -100
"""The label of a token that is not learned."""


def texts_of(row: dict[str, Any], columns: dict[str, str], tags: dict[str, str]) -> tuple[str, str]:
    """Question and response of an exported line."""
    if "messages" in columns:
        question, response = (turn[tags["content_tag"]] for turn in row[columns["messages"]])
        return question, response
    return row[columns["prompt"]], row[columns["response"]]


def check(model: str, folder: Path) -> None:
    """Load one export; prints what there is. Raises ``SystemExit`` if it is not what was exported."""
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # noqa: PLC0415 - takes half a minute
    from llamafactory.hparams import get_train_args  # noqa: PLC0415
    from llamafactory.model import load_tokenizer  # noqa: PLC0415

    (name, info), *_ = json.loads((folder / "dataset_info.json").read_text()).items()
    exported = [
        texts_of(json.loads(line), info["columns"], info.get("tags", {}))
        for line in (folder / info["file_name"]).read_text().splitlines()
    ]
    said = re.search(r"^llamafactory-cli train (.*)$", (folder / "README.md").read_text(), re.MULTILINE)
    if said is None:
        raise SystemExit(f"{folder}: the card names no command")
    words = shlex.split(said[1])
    arguments = {key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2], strict=True)}
    if arguments["dataset"] != name:
        raise SystemExit(f"{folder}: the card's command is about {arguments['dataset']}, the entry is {name}")
    with tempfile.TemporaryDirectory() as output:
        here = {"model_name_or_path": model, "dataset_dir": str(folder), "output_dir": output}
        here |= {"report_to": "none", "use_cpu": "true", "overwrite_cache": "true"}
        given = [word for key, value in (arguments | here).items() for word in (f"--{key}", value)]
        model_args, data_args, training_args, _, _ = get_train_args(given)
        loaded = load_tokenizer(model_args)
        template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
        made = get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)["train_dataset"]
    if len(made) != len(exported):
        raise SystemExit(f"{folder}: {len(made)} of {len(exported)} rows were loaded")
    decode = loaded["tokenizer"].decode
    for row, (question, response) in zip(made, exported, strict=True):
        learned = decode([label for label in row["labels"] if label != IGNORED], skip_special_tokens=True)
        shown = decode(row["input_ids"], skip_special_tokens=True)
        if learned.strip() != response.strip() or question not in shown:
            raise SystemExit(f"{folder}: a row is not as it was exported: {learned[:200]!r}, not {response[:200]!r}")
    longest = max(len(row["input_ids"]) for row in made)
    size = f"{longest} tokens at most, cutoff_len {data_args.cutoff_len}"
    print(f"{folder.name}: {len(made)} rows, whole and in order; {size}")


if __name__ == "__main__":
    for given in sys.argv[2:]:
        check(sys.argv[1], Path(given))
