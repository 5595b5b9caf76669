"""What a run keeps of earlier ones: which answers a row may still ask for."""

from pathlib import Path

import pytest

from weak2wise.config import Config, Dataset, EndpointSettings, Models, OpenAIEndpoint
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Outcome
from weak2wise.run.store import RunStore
from workers.method import METHOD

ROLES = ("weak", "judge", "strong/a", "truncation")
ALL = set(ROLES)


@pytest.mark.parametrize(
    ("through", "then", "wanted"),
    [
        (0, None, ALL),
        (1, None, ALL),
        (2, None, ALL - {"strong/a"}),
        (3, None, {"truncation"}),
        (4, None, set()),
        (5, None, set()),
        (0, Dropped(1, "weak_solves"), set()),
        (1, Failed(1, "generate", "timeout", "no answer"), ALL),
        (2, Failed(1, "stepmask", "timeout", "no answer"), ALL - {"strong/a"}),
    ],
)
async def test_a_row_may_ask_for_the_answers_of_the_roles_that_its_next_steps_ask(
    tmp_path: Path, through: int, then: Outcome[object] | None, wanted: set[str]
) -> None:
    """None of the strong models' once its traces are there, however many rows a later run begins with."""
    dataset = Dataset(input_path="in.jsonl", work_dir=str(tmp_path))
    endpoints: dict[str, EndpointSettings] = {name: OpenAIEndpoint(model_id="m") for name in ("w", "a")}
    store = RunStore.of(Config(models=Models(mweak="w", mstrong=("a",)), endpoints=endpoints, dataset=dataset))
    store.open()
    for number, step in enumerate(METHOD):
        outcome = Done(1, {}) if number < through else then if number == through else None
        if outcome is not None:
            await store.account.steps[step.name].append(outcome)
    assert {role for role in ROLES if not store.past(role)[1:2].strip(b"\0")} == wanted
    await store.close()
