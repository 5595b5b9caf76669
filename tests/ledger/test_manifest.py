"""A run that may not continue says each way out, as a sentence."""

from pathlib import Path

import pytest

from weak2wise.errors import ConfigError
from weak2wise.ledger.manifest import settle

ANEW, GO_ON = "--resume never (start over)", "--resume force (go on)"


@pytest.mark.parametrize(
    ("may_start_over", "ways"),
    [
        (True, f"Put them back, choose another dataset.work_dir, or pass {ANEW} or {GO_ON}"),
        (False, f"Put them back, or pass {GO_ON}"),
    ],
)
def test_other_settings_are_refused_with_every_way_out(tmp_path: Path, may_start_over: bool, ways: str) -> None:
    data = tmp_path / "in.jsonl"
    data.write_text("one\n")
    settle(tmp_path, {"a": "1"}, data, "auto")
    with pytest.raises(ConfigError) as caught:
        settle(tmp_path, {"a": "2"}, data, "auto", may_start_over=may_start_over)
    assert str(caught.value).endswith(f"Changed since: a. {ways}")
