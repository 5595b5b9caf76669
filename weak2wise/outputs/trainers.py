"""The commands that train a model on an export: with TRL, and with LLaMA-Factory."""

import shlex

from msgspec import Struct

from weak2wise.outputs.layouts import LAYOUTS, LayoutName

_ROUND = 1024
COMMANDS = ("trl ", "python ", "llamafactory-cli ")
"""What the commands begin with."""


class Longest(Struct):
    """The size of the largest row seen, in bytes of UTF-8."""

    size: int = 0

    def see(self, *texts: str) -> None:
        """Look at one row."""
        self.size = max(self.size, sum(len(text.encode(errors="surrogatepass")) for text in texts))

    @property
    def limit(self) -> int:
        """So many tokens that no row is cut: a token has at least one byte, and a chat template adds a few hundred."""
        return (self.size // _ROUND + 2) * _ROUND


class Training(Struct, frozen=True, kw_only=True):
    """What the commands name.

    ``data``: what TRL loads: a file, or where ``in_folder`` a folder or a name on the Hub. ``folder``: where
    ``dataset_info.json`` is, with the entry ``name``; ``None`` if there is no such entry. ``model``: a folder, or a
    name on the Hub. ``limit``: tokens of a row.
    """

    layout: LayoutName
    model: str
    data: str
    in_folder: bool
    folder: str | None
    name: str
    limit: int

    def lines(self) -> list[tuple[str, str]]:
        """Each trainer, and its command, or which layout it would read."""
        trl = self.trl() or "does not train on this layout; export it with --format prompt_completion"
        factory = self.llama_factory()
        if factory is None and LAYOUTS[self.layout].info is None:
            factory = "does not read this layout; export it with --format sharegpt"
        return [("TRL", trl), *([("LLaMA-Factory", factory)] if factory else [])]

    def trl(self) -> str | None:
        """With TRL, or ``None`` if it does not read the layout."""
        call = LAYOUTS[self.layout].trl
        if call is None:
            return None
        output = f"{self.name}-trl"
        if self.in_folder:
            words = ["trl", call.command, "--dataset_name", self.data, "--model_name_or_path", self.model]
            words += ["--max_length", str(self.limit), "--output_dir", output]
            return shlex.join(words)
        # Its command line reads folders and names on the Hub, no single file.
        kind = "parquet" if self.data.endswith(".parquet") else "json"
        code = (
            f"from datasets import load_dataset; from trl import {call.config}, {call.trainer}; "
            f"{call.trainer}({self.model!r}, args={call.config}({output!r}, max_length={self.limit}), "
            f"train_dataset=load_dataset({kind!r}, data_files={self.data!r}, split='train')).train()"
        )
        return shlex.join(["python", "-c", code])

    def llama_factory(self) -> str | None:
        """With LLaMA-Factory, by the entry in ``dataset_info.json``; ``None`` if there is none."""
        if LAYOUTS[self.layout].info is None or self.folder is None:
            return None
        words = ["llamafactory-cli", "train", "--stage", "sft", "--do_train", "true"]
        words += ["--model_name_or_path", self.model, "--dataset_dir", self.folder, "--dataset", self.name]
        return shlex.join([*words, "--cutoff_len", str(self.limit), "--output_dir", f"{self.name}-llamafactory"])
