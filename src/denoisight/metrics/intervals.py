"""How far a number moves with the choice of images: intervals for means over images, and for all else."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from scipy.special import stdtrit
from torch import Tensor

from .tally import percentiles

PARTS = 20
"""Parts of the images that are left out in turn."""


def bootstrap(
    values: Float[Tensor, " n"],
    statistic: Callable[[Float[Tensor, "r n"]], Float[Tensor, " r"]] = lambda drawn: drawn.mean(1),
    *,
    sources: Int64[Tensor, " n"] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The middle 95 % of a statistic of rows of values drawn with replacement (Efron & Tibshirani, 1993, chapter 13);
    NaN where there is none. Values that share a source, numbered in `sources`, are drawn together."""
    if not len(values):
        return torch.nan, torch.nan
    draw, wide = torch.Generator().manual_seed(seed), values.double().cpu()
    members = _members(torch.arange(len(values)) if sources is None else sources)
    chosen = (members[torch.randint(len(members), (len(members),), generator=draw)] for _ in range(resamples))
    # One list at a time: all of them would take a thousand times the memory of the values.
    return percentiles(torch.cat([statistic(wide[rows[rows >= 0]][None]) for rows in chosen]))


def jackknife(
    statistic: Callable[..., float], *sources: Int64[Tensor, " _"], value: float, parts: int = PARTS, seed: int = 0
) -> tuple[float, float]:
    """A 95 % interval around the `value` of a statistic of sets of images, from what it is without one part of them in
    turn: `statistic(*rows)` for the rows that remain of each set.

    For distances between sets, which grow where an image is drawn twice, so that the bootstrap would lie above the
    value (delete-a-group jackknife, Kott 2001; Student's t with parts - 1 degrees of freedom). `sources` number, set by
    set, what each image was made from. The sources of every set are cut into `parts` at random, fewer where there are
    fewer. NaN where three of them do not remain.
    """
    numbers = [each.unique(return_inverse=True)[1] for each in sources]
    counts = [int(each.max()) + 1 if len(each) else 0 for each in numbers]
    if min(counts) < 4:
        return torch.nan, torch.nan
    parts = min(parts, *counts)
    draw = torch.Generator().manual_seed(seed)
    shares = [(torch.randperm(count, generator=draw) % parts)[of] for count, of in zip(counts, numbers, strict=True)]
    left = [statistic(*((share != part).nonzero().flatten() for share in shares)) for part in range(parts)]
    without = torch.tensor(left, dtype=torch.float64)
    error = ((parts - 1) / parts * ((without - without.mean()) ** 2).sum()).sqrt()
    reach = float(stdtrit(parts - 1, 0.975) * error)
    return value - reach, value + reach


def _members(sources: Int64[Tensor, " n"]) -> Int64[Tensor, "s k"]:
    """The rows of each source, a line each, filled up with -1."""
    _, numbers, counts = sources.unique(return_inverse=True, return_counts=True)
    members = torch.full((len(counts), int(counts.max())), -1)
    order = numbers.argsort(stable=True)
    place = torch.arange(len(sources)) - (counts.cumsum(0) - counts)[numbers[order]]
    members[numbers[order], place] = order
    return members
