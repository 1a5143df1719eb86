"""How many denoising steps to plan and where to stop, from the scores after every step of several walks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..errors import DataError
from ..metrics.tally import percentiles
from .results import Score
from .steps import StepScores

MOST_LOST = 0.02
"""What may be lost of the best score, in shares of it: few images could not tell larger losses from none."""

RULE = (
    "The fewest evaluations that are not worse than the best: the 95 % interval of the difference, from a paired "
    f"bootstrap over images and seeds, reaches zero, and at most {MOST_LOST:.0%} of the best score is lost; of equally "
    "many, the better score."
)


@dataclass(frozen=True, eq=False)
class Stop:
    """A walk of `steps` steps that is left after `taken` of them, at the noise level `stop_at` (0: never).

    `badness` is the mean score, lower being better, and `behind` what is lost against the best of all, with its
    interval.
    """

    steps: int
    taken: int
    stop_at: float
    badness: float
    behind: Score


def stops(walks: Sequence[StepScores], metric: str, sign: float, num_timesteps: int) -> list[Stop]:
    """Every walk with all its stopping points, by evaluations; `sign` times the score is lower where it is better.

    Raises `DataError` where no image has a score.
    """
    every = [(walk, step) for walk in walks for step in range(len(walk.timesteps))]
    badness = [sign * float(walk.means(metric)[:, step].mean()) for walk, step in every]
    known = [place for place, value in enumerate(badness) if value == value]
    if not known:
        raise DataError(f"No image has a {metric}, so that no number of steps can be recommended; give other images.")
    draws = [sign * walk.replicates(metric, step) for walk, step in every]
    best = min(known, key=lambda place: badness[place])
    found = [
        Stop(
            len(every[i][0].timesteps),
            every[i][1] + 1,
            level_between(every[i][0].timesteps, every[i][1], num_timesteps),
            badness[i],
            difference(badness[i], draws[i], badness[best], draws[best]),
        )
        for i in known
    ]
    return sorted(found, key=lambda stop: (stop.taken, round(stop.badness, 6), stop.steps))


def recommend(candidates: Sequence[Stop]) -> Stop:
    """By `RULE`."""
    most = MOST_LOST * abs(min(stop.badness for stop in candidates))
    return next(stop for stop in candidates if (stop.behind.low or 0) <= 0 and (stop.behind.value or 0) <= most)


def difference(one: float, draws: Float[Tensor, " r"], other: float, others: Float[Tensor, " r"]) -> Score:
    """One score minus another, with the interval of its paired replicates."""
    return Score.of(one - other, *percentiles(draws - others))


def level_between(timesteps: Sequence[int], step: int, num_timesteps: int) -> float:
    """The noise level at which a walk is left after this step (the first is 0): halfway to the next; 0 for the last."""
    if step + 1 == len(timesteps):
        return 0.0
    return round((timesteps[step] + timesteps[step + 1]) / (2 * num_timesteps), 4)
