"""How far a number moves with the choice of images: intervals for means over images, and for all else."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

from .tally import percentiles

PARTS = 20
"""Parts of the images that are left out in turn."""


def bootstrap(
    values: Float[Tensor, " n"],
    statistic: Callable[[Float[Tensor, "r n"]], Float[Tensor, " r"]] = lambda drawn: drawn.mean(1),
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The middle 95 % of a statistic of rows of values drawn with replacement (Efron & Tibshirani, 1993, chapter 13);
    NaN where there is none."""
    if not len(values):
        return torch.nan, torch.nan
    draw, wide = torch.Generator().manual_seed(seed), values.double().cpu()
    # One list at a time: all of them would take a thousand times the memory of the values.
    lists = (wide[torch.randint(len(wide), (1, len(wide)), generator=draw)] for _ in range(resamples))
    return percentiles(torch.cat([statistic(one) for one in lists]))


def jackknife(
    statistic: Callable[..., float], *sets: Tensor, value: float, parts: int = PARTS, seed: int = 0
) -> tuple[float, float]:
    """A 95 % interval around the `value` of `statistic(*sets)`, from what it is without one part of the images in turn.

    For distances between sets, which grow where an image is drawn twice, so that the bootstrap would lie above the
    value (delete-a-group jackknife, Kott 2001; Student's t with parts - 1 degrees of freedom). Every set is cut into
    `parts` at random, fewer where it has fewer images; images are rows. NaN where three images do not remain.
    """
    parts = min(parts, *map(len, sets))
    if min(map(len, sets)) < 4:
        return torch.nan, torch.nan
    draw = torch.Generator().manual_seed(seed)
    shares = [torch.randperm(len(one), generator=draw) % parts for one in sets]
    left = [statistic(*(one[share != part] for one, share in zip(sets, shares, strict=True))) for part in range(parts)]
    without = torch.tensor(left, dtype=torch.float64)
    error = ((parts - 1) / parts * ((without - without.mean()) ** 2).sum()).sqrt()
    reach = float(stdtrit(parts - 1, 0.975) * error)
    return value - reach, value + reach
