"""Step-Mask's first bit alone: does the weak LLM reach the answer from the whole trace, with nothing masked?"""

from math import ceil

from weak2wise.config import Params
from workers.records import Score
from workers.scorers.stepmask import Bits, StepMask


class FullHint(StepMask):
    """One mask level, the one at which each step is left whole; its attempts are Step-Mask's own at that level."""

    version = "1"
    label = "tried with the whole trace as a hint"
    ranking = "guided the weak LLM to the answer with nothing masked; then it has the shortest reasoning"

    @classmethod
    def levels(cls, params: Params) -> int:
        """One."""
        del params
        return 1

    def _score(self, bits: Bits) -> Score:
        """1 or 0, or at most 1 for a candidate that was not asked; 0 without steps."""
        value = float(sum(1 if bit is None else bit for bit in bits))
        return Score(score=value, s_list=bits, savg=value, is_bound=None in bits)

    @classmethod
    def highest(cls, params: Params) -> int:
        """Success."""
        del params
        return 1

    def _weights_of(self, levels: int) -> tuple[int, ...]:
        return (1,) * levels

    def _least(self, levels: int) -> int:
        del levels
        return ceil(self.context.params.min_score or 0)
