"""What the parts of a proof have left, in the shape that its result needs."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from weak2wise.config import Config
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.arms import ArmRow
from weak2wise.proof.evaluated import Evaluated, clusters_of
from weak2wise.proof.result import ArmData, Asked, Training
from weak2wise.proof.trained import Trained


class Answers(NamedTuple):
    """What one model answered to one set of questions; the untrained one has no seed."""

    set: str
    arm: str
    seed: int | None
    found: Evaluated


def trained_model(config: Config, work: WorkDir) -> str | None:
    """The model to be trained, if the config's weak LLM is another one than the run's; else ``None``: the run's."""
    model = config.endpoints[config.models.mweak].model
    return None if model == work.models["weak"] else model


def paired(name: str, answers: Sequence[Answers]) -> Iterator[Asked]:
    """The answers to the questions of a set that every model has answered, question by question in one order."""
    of_set = [(arm, seed, found) for held, arm, seed, found in answers if held == name]
    common = set.intersection(*({one.row for one in found.questions} for *_, found in of_set))
    for arm, seed, found in of_set:
        ordered = sorted((one for one in found.questions if one.row in common), key=lambda one: one.row)
        yield Asked(
            set=name,
            arm=arm,
            seed=seed,
            flexible=clusters_of(ordered, "flexible"),
            strict=clusters_of(ordered, "strict"),
            unfinished=clusters_of(ordered, "cut_off"),
            undecided=clusters_of(ordered, "unsure"),
            tokens=[[float(tokens) for tokens in one.tokens] for one in ordered],
        )


def left_out(answers: Sequence[Answers]) -> Iterator[str]:
    """What a reader has to know of the held-out questions."""
    for name in dict.fromkeys(one.set for one in answers):
        of_set = [one.found for one in answers if one.set == name]
        first = of_set[0]
        if first.left_out:
            yield f"{name}: {len(first.left_out):,} questions are in the training input too, and were not asked"
        if first.similar:
            yield f"{name}: {len(first.similar):,} questions share 13 words in a row with one of the training input"
        asked = [{one.row for one in found.questions} for found in of_set]
        failed = len(set.union(*asked)) - len(set.intersection(*asked)) + min(found.failed for found in of_set)
        if failed:
            yield f"{name}: {failed:,} questions could not be asked of every model, and are in no figure"


def training(trained: Trained) -> Training:
    """How a model was trained, for the tables."""
    return Training(
        name=f"{trained.arm}, seed {trained.seed}",
        arm=trained.arm,
        seed=trained.seed,
        folder=trained.folder.name,
        rows=trained.rows,
        tokens=trained.tokens,
        too_long=len(trained.too_long),
        losses=tuple((step, loss) for step, loss in trained.losses),
        seconds=trained.seconds,
    )


def data(arm: str, rows: Iterable[ArmRow], without: Collection[int]) -> ArmData:
    """What an arm trains on."""
    mix: dict[str, int] = {}
    characters = count = 0
    for row in rows:
        if row.row not in without:
            mix[row.m_strong] = mix.get(row.m_strong, 0) + 1
            characters += len(row.response)
            count += 1
    return ArmData(arm=arm, rows=count, characters=characters / count if count else 0.0, mix=mix)
