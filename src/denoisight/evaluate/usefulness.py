"""What a picture is worth: the accuracy gained for each one beside the labels, and in real pictures.

An arm has `num_pictures` more than the base: created ones, real ones without labels, or real ones with labels. Scores
are by seed; an arm and its base are compared in the seeds that both have. Intervals are over seeds alone, at 95 %, with
Student's t, since seeds are few; the test images are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from ..errors import UsageError

Seeds = Mapping[int, float]


class Estimate(NamedTuple):
    """A mean over seeds and its 95 % interval; NaN where it cannot be told."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(np.nan, np.nan, np.nan)


def gains(scores: Seeds, base: Seeds, num_pictures: int, better: int = 1) -> dict[int, float]:
    """By seed, by how much a picture made the score better than the base's, in the score's unit; below 0 where worse.

    `better` is -1 where lower scores are better. Raises `UsageError` for fewer than one picture.
    """
    if num_pictures < 1:
        raise UsageError(f"A gain per picture was asked for of {num_pictures} pictures; give 1 or more.")
    return {seed: better * (scores[seed] - base[seed]) / num_pictures for seed in sorted(scores.keys() & base.keys())}


def usefulness(gained: Seeds) -> Estimate:
    """The accuracy gained per picture, in the mean over seeds; of a single seed without an interval."""
    values = np.array(list(gained.values()))
    if len(values) < 2:
        return Estimate(float(values.mean()), np.nan, np.nan) if len(values) else UNKNOWN
    value, reach = float(values.mean()), _quantile(len(values)) * float(values.std(ddof=1)) / len(values) ** 0.5
    return Estimate(value, value - reach, value + reach)


def worth(gained: Seeds, real: Seeds) -> Estimate:
    """How many real pictures are as good as one of these: the ratio of the means of `gains` over the seeds that both
    have, with the interval of Fieller (1954) for a ratio of paired means.

    Unknown where fewer than two seeds are in common, or real pictures do not surely help: then there is no measure.
    """
    seeds = sorted(gained.keys() & real.keys())
    if len(seeds) < 2 or not usefulness({seed: real[seed] for seed in seeds}).low > 0:
        return UNKNOWN
    pairs = np.array([[gained[seed], real[seed]] for seed in seeds])
    above, below = pairs.mean(0)
    spread = _quantile(len(seeds)) ** 2 * np.cov(pairs.T) / len(seeds)
    # (above - r below)^2 = t^2 var(above - r below), a quadratic equation in r that opens upwards
    a, b, c = below**2 - spread[1, 1], above * below - spread[0, 1], above**2 - spread[0, 0]
    root = max(b**2 - a * c, 0.0) ** 0.5
    return Estimate(float(above / below), float((b - root) / a), float((b + root) / a))


def _quantile(num_seeds: int) -> float:
    return float(stdtrit(num_seeds - 1, 0.975))
