"""How much images differ from each other, as a distance in a model's own features.

Made as LPIPS is (Zhang et al., CVPR 2018, equation 1), of features of unit length at every place, but without weights
learnt from people's judgement and on another network: a number of its own, not to be compared with LPIPS.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

SIDE = 8
"""Feature maps are averaged onto so many places a side, so that memory does not grow with the images."""


def unit_grid(maps: Sequence[Float[Tensor, "b _ _ _"]], side: int = SIDE) -> Float[Tensor, "b e"]:
    """Feature maps of one image as one vector: squared distances between vectors are, averaged over maps and places,
    the squared differences of features of unit length. Between 0 and 4."""
    grids = [F.normalize(F.adaptive_avg_pool2d(each.float(), side), dim=1).flatten(1) for each in maps]
    return torch.cat(grids, 1) / (len(grids) * side**2) ** 0.5


def pair_distances(grids: Float[Tensor, "n e"]) -> Float[Tensor, "n n"]:
    """Squared distances between all images."""
    wide = grids.double()
    square = (wide**2).sum(1)
    return (square[:, None] + square - 2 * wide @ wide.T).clamp(min=0)


def within(distances: Float[Tensor, "n n"], sources: Int64[Tensor, " n"]) -> Float[Tensor, " s"]:
    """Of each source with two images or more, the mean distance between them. `sources` numbers what each came from."""
    means = []
    for source in sources.unique().tolist():
        of_it = sources == source
        count = int(of_it.sum())
        if count > 1:
            means.append(distances[of_it][:, of_it].sum() / (count * (count - 1)))
    return torch.stack(means) if means else distances.new_zeros(0)


def across(
    distances: Float[Tensor, "n n"], sources: Int64[Tensor, " n"], weights: Float[Tensor, "r n"] | None = None
) -> Float[Tensor, " r"]:
    """The mean distance between images of different sources, in r lists in which image i stands `weights[:, i]` times
    (by default once in one); NaN where all are of one source."""
    other: Bool[Tensor, "n n"] = sources[:, None] != sources
    weights = distances.new_ones(1, len(distances)) if weights is None else weights.to(distances)
    total, count = (
        (weights @ table * weights).sum(1) for table in (torch.where(other, distances, 0.0), other.double())
    )
    return total / count
