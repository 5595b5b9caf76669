"""What one machine makes of the input that the runs in parts have."""

import asyncio

import pytest

from tests.loopback import LoopbackProcess
from tests.parts.test_parts import outputs, prepared
from weak2wise.run.engine import Engine


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The output files of one machine."""
    folder = tmp_path_factory.mktemp("alone")
    with LoopbackProcess() as server:
        asyncio.run(Engine(prepared(folder, server.base_url)).run())
    return outputs(folder)
