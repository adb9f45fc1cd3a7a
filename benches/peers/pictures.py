"""Pictures and the answers that are right for them: the rule of tests/models/README.md."""

import math
import random
from dataclasses import dataclass

LABELS = ["top_left", "top_right", "bottom_left", "bottom_right"]
SIDE, CHANNELS, QUARTER = 32, 3, 16
TOLERANCE = 1e-3


@dataclass
class Picture:
    data: list[float]
    scores: list[float]

    def fits(self, scores: list[float]) -> bool:
        """Says whether these are the scores of this picture."""
        return len(scores) == len(self.scores) and all(
            abs(got - right) <= TOLERANCE for got, right in zip(scores, self.scores)
        )


def _quarter(index: int) -> int:
    row, column = divmod(index % (SIDE * SIDE), SIDE)
    return 2 * (row // QUARTER) + column // QUARTER


def scores(data: list[float]) -> list[float]:
    """Returns what a model has to give for a picture."""
    sums = [0.0] * 4
    for index, value in enumerate(data):
        sums[_quarter(index)] += min(max(value, 0.0), 1.0)
    logits = [16 * total / (CHANNELS * QUARTER * QUARTER) for total in sums]
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / sum(powers) for power in powers]


def make(seed: int, marker: float = 0.0) -> Picture:
    """Returns a picture with one quarter brighter than the others, marked if `marker` is not 0."""
    source = random.Random(seed)
    bright, how_much = source.randrange(4), 0.05 + 0.15 * source.random()
    data = [
        round(source.random() * 0.8 + (how_much if _quarter(index) == bright else 0), 3)
        for index in range(CHANNELS * SIDE * SIDE)
    ]
    if marker:
        data[0] = marker
    return Picture(data, scores(data))
