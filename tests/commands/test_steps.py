"""The steps that the command line names are those of the method."""

import pytest

from weak2wise.commands import app
from weak2wise.commands.run import STEPS
from workers.method import METHOD


def test_the_steps_of_the_command_line_are_those_of_the_method() -> None:
    assert list(STEPS) == [step.name for step in METHOD]


def test_the_help_of_run_names_the_steps_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    app(["run", "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"1 to {len(METHOD)} ({', '.join(step.name for step in METHOD)})" in text
