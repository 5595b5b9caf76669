"""The input: JSON lines, plain or compressed, a JSON array, CSV, Parquet, or a data set from the Hugging Face Hub."""

from weak2wise.dataset.hub import at_hand, is_hub, keep
from weak2wise.dataset.rows import InputRow, count_rows, read_questions, read_rows, read_values
from weak2wise.dataset.sources import LONGEST_LINE, asked_by, unit

__all__ = [
    "LONGEST_LINE",
    "InputRow",
    "asked_by",
    "at_hand",
    "count_rows",
    "is_hub",
    "keep",
    "read_questions",
    "read_rows",
    "read_values",
    "unit",
]
