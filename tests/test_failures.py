"""What becomes of questions that fail: written down with the reason, put aside, tried again, or made do without."""

from pathlib import Path

import pytest

from tests.engine_runs import config_for, finish, lines, write_run
from tests.loopback import Fault, LoopbackProcess, Match


def failed(folder: Path) -> dict[int, tuple[str, str, str | None, int]]:
    """Row to stage, kind, endpoint and attempts, out of ``failed.jsonl``."""
    found = lines(folder / "work" / "failed.jsonl")
    return {f["row"]: (f["stage"], f["kind"], f["endpoint"], f["attempts"]) for f in found}


def test_failed_questions_are_tried_again_by_kind_and_the_others_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file says where, why and after how many attempts; a secret that the provider repeats is cut out."""
    faults = (
        Fault("400", Match(model="strong", contains="(item 1)"), times=1),
        Fault("500", Match(model="strong", contains="(item 3)"), times=2),
        Fault("500", Match(model="weak", contains="(item 5)"), times=4),
    )
    monkeypatch.setenv("SECRET", "temperature")  # a word of the server's refusal
    with LoopbackProcess(faults=faults) as server:
        config = config_for(tmp_path, server.base_url, skip_filter=True, n_mask=2, truncation="rewrite")
        for endpoint in config["model_endpoints"].values():
            endpoint |= {"max_retries": 1, "headers": {"X-Key": "$SECRET"}}
        config["models"]["mstrong"] = ["strong-a"]
        config["engine"] = {"salvage_rounds": 0}
        write_run(tmp_path, config, 6)
        finish(tmp_path, code=1)
        bad, slow = ("generate", "bad_request", "strong-a", 1), ("generate", "server_error", "strong-a", 2)
        assert failed(tmp_path) == {2: bad, 4: slow, 6: ("stepmask", "server_error", "weak", 2)}
        assert "'[redacted]'" in lines(tmp_path / "work" / "failed.jsonl")[0]["message"]
        said = finish(tmp_path, "--kind", "timeout", command="retry-failed", code=2)
        assert "no failed question to try again (failed there: 1 bad_request, 2 server_error)" in said
        finish(tmp_path, "--kind", "server_error", command="retry-failed", code=1)
        assert failed(tmp_path) == {2: bad}
        finish(tmp_path, command="retry-failed")
        assert failed(tmp_path) == {}
        assert len(lines(tmp_path / "out.jsonl")) == 6
