"""A run that stood still (SIGSTOP, ``docker pause``) goes on as if nothing had been."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.engine_runs import config_for, start, write_run
from tests.loopback import LoopbackProcess


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_stood_still_for_longer_than_its_time_outs_buys_nothing_twice(tmp_path: Path, stream: bool) -> None:
    """SIGSTOP while 60 answers are under way; they are in the sockets when it goes on."""
    with LoopbackProcess(latency=1.0) as server:
        config = config_for(tmp_path, server.base_url, skip_filter=True)
        for endpoint in config["model_endpoints"].values():
            endpoint["request_timeout"] = endpoint["idle_timeout" if stream else "request_timeout"] = 3.0
            endpoint["max_concurrent_requests"], endpoint["stream"] = 60, stream
        write_run(tmp_path, config, 30)
        with start(tmp_path, "--up-to-step", "2") as engine:
            deadline = time.monotonic() + 60
            while sum(model.in_flight for model in server.stats().models.values()) < 60:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            os.killpg(engine.pid, signal.SIGSTOP)
            time.sleep(5)
            os.killpg(engine.pid, signal.SIGCONT)
            said, _ = engine.communicate(timeout=120)
        assert engine.returncode == 0, said
        assert {request.asked for request in server.requests().values()} == {1}
