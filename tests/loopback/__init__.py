"""An OpenAI-compatible server on the loopback address that plays every model of the method and misbehaves on request.

Tests start it in their own event loop (``serve``), benchmarks and the crash harness as a process (``LoopbackProcess``).
"""

from tests.loopback.answers import Answer, Message, Request, answer_to, make_question
from tests.loopback.batch import BatchSettings
from tests.loopback.batch_faults import BatchFaults, Rule
from tests.loopback.batches import BatchStats, LineCount
from tests.loopback.counts import LogLine, ModelCount, RequestCount, Stats, read_log
from tests.loopback.faults import Fault, Match, Mix
from tests.loopback.process import LoopbackProcess
from tests.loopback.server import LoopbackServer, Settings, serve

__all__ = [
    "Answer",
    "BatchFaults",
    "BatchSettings",
    "BatchStats",
    "Fault",
    "LineCount",
    "LogLine",
    "LoopbackProcess",
    "LoopbackServer",
    "Match",
    "Message",
    "Mix",
    "ModelCount",
    "Request",
    "RequestCount",
    "Rule",
    "Settings",
    "Stats",
    "answer_to",
    "make_question",
    "read_log",
    "serve",
]
