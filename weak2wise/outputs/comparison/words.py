"""How the numbers of a comparison are written, in table and page."""

from weak2wise.outputs.comparison.facts import Cost, Noise
from weak2wise.statistics import Estimate


def interval(found: Estimate) -> str:
    """A number and its interval."""
    return f"{_number(found.value)} [{_number(found.low)}, {_number(found.high)}]"


def _number(value: float) -> str:
    return f"{value + 0.0:.3f}".replace("-0.000", "0.000").replace("-", "−")


def share(found: Estimate) -> str:
    """A share in per cent and its interval."""
    return f"{100 * found.value:.0f}% [{100 * found.low:.0f}, {100 * found.high:.0f}]"


def seconds(cost: Cost, questions: int) -> str:
    """Seconds for a question."""
    if cost.seconds is None:
        return "time not known"
    each = cost.seconds / questions
    return f"{each:,.1f} s" if each >= 0.1 else f"{each:.1g} s" if each >= 0.001 else "0 s"


def settled(noise: Noise) -> str:
    """Which settings would make the choice repeatable, in a sentence or two."""
    wanted = f"{100 * noise.wanted:.0f} %"
    if noise.present.same >= noise.wanted:
        return f"Two runs agree in more than {wanted} of the questions as it is."
    parts = []
    for key, value in noise.settles.items():
        most = max(getattr(prediction, key) for prediction in noise.predictions)
        parts.append(f"params.{key} {value} is enough" if value else f"no params.{key} up to {most} is enough")
    return f"For two runs to agree in {wanted} of the questions, {' and '.join(parts)}."
