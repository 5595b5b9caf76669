"""How a call to an actor ended, as a plain value: Ray cannot carry our errors, whose arguments are named."""

import traceback
from typing import NoReturn

import msgspec
from msgspec import Struct
from ray.exceptions import RayError

from weak2wise.errors import ConfigError, RunStopped, single_errors
from weak2wise.run.driver import HolderLost
from weak2wise.run.part_run import PartResult


class Done(Struct, frozen=True, tag=True):
    """It worked; of a part with its result."""

    result: PartResult | None = None


class Stopped(Struct, frozen=True, tag=True):
    """A ``RunStopped``."""

    text: str
    hint: str
    same_command: bool


class Refused(Struct, frozen=True, tag=True):
    """A ``ConfigError``."""

    text: str


class Ended(Struct, frozen=True, tag=True):
    """The host is sound, but sends nothing any more: the driver said so, or it cannot reach the driver or the desk."""

    why: str


class Bug(Struct, frozen=True, tag=True):
    """Anything else, with its traceback."""

    text: str


Outcome = Done | Stopped | Refused | Ended | Bug

_DECODER = msgspec.msgpack.Decoder(Outcome)


class RemoteBug(Exception):
    """A bug on a host; the message is its traceback there."""


def said(error: RayError) -> str:
    """What Ray says of a lost or failed call, in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def encoded(outcome: Outcome) -> bytes:
    """As bytes."""
    return msgspec.msgpack.encode(outcome)


def outcome_of(error: BaseException) -> Outcome:
    """The outcome of a call that raised this; what stops a run goes before what is wrong with it."""
    singles = single_errors(error)
    for single in singles:
        if isinstance(single, RunStopped):
            return Stopped(str(single), single.hint, single.same_command)
    for single in singles:
        if isinstance(single, ConfigError):
            return Refused(str(single))
    return Bug("".join(traceback.format_exception(error)))


def part_result(answer: bytes) -> PartResult:
    """The result of a part.

    Raises:
        ConfigError, RunStopped, HolderLost, RemoteBug: as it ended.
    """
    done = opened(answer)
    assert done.result
    return done.result


def opened(answer: bytes) -> Done:
    """The outcome of a call that worked. Raises as ``part_result``."""
    outcome = _DECODER.decode(answer)
    if not isinstance(outcome, Done):
        _raise(outcome)
    return outcome


def _raise(outcome: Stopped | Refused | Ended | Bug) -> NoReturn:
    match outcome:
        case Stopped(text, hint, same_command):
            raise RunStopped(text, hint=hint, same_command=same_command)
        case Refused(text):
            raise ConfigError(text)
        case Ended(why):
            raise HolderLost(why, died=False)
        case Bug(text):
            raise RemoteBug(text)
