"""The input: JSON lines, a JSON array or CSV, plain or compressed, Parquet, or a data set from the Hugging Face Hub."""

from weak2wise.dataset.hub import at_hand, is_hub, keep
from weak2wise.dataset.raw import LONGEST_LINE
from weak2wise.dataset.rows import (
    InputRow,
    check_rows,
    count_rows,
    read_questions,
    read_rows,
    read_valid_rows,
    read_values,
    unreadable_advice,
)
from weak2wise.dataset.sources import naming_setting, unit

__all__ = [
    "LONGEST_LINE",
    "InputRow",
    "at_hand",
    "check_rows",
    "count_rows",
    "is_hub",
    "keep",
    "naming_setting",
    "read_questions",
    "read_rows",
    "read_valid_rows",
    "read_values",
    "unit",
    "unreadable_advice",
]
