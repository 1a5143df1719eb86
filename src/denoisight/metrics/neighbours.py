"""How two sets of images lie among each other, by nearest neighbours in the features of any network: name the network
beside every number. Distances are Euclidean."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..errors import UsageError
from .images import ROWS, check


def precision_recall(
    created: Float[Tensor, "n d"],
    real: Float[Tensor, "m e"],
    k: int = 3,
    sources: Int64[Tensor, " n"] | None = None,
) -> tuple[Bool[Tensor, " n"], Bool[Tensor, " m"]]:
    """Which created images lie within the manifold of the real ones, and the reverse: their means.

    The manifold of a set is the union of balls around its images, each as wide as the way to its k-th neighbour in the
    set (Kynkäänniemi et al., NeurIPS 2019, equation 1). `sources` numbers what each created image was made from
    (default: each from something else): of a source only the nearest image is a neighbour, of its own source none is,
    for balls that reach no farther than an image's siblings would cover less the more of them there are.
    Raises `UsageError` for sets of k images, or sources, or fewer.
    """
    _check(created, real, k)
    return _balls(created, real, k)[0] > 0, _balls(real, created, k, sources)[0] > 0


def density_coverage(
    created: Float[Tensor, "n d"], real: Float[Tensor, "m e"], k: int = 5
) -> tuple[Float[Tensor, " n"], Bool[Tensor, " m"]]:
    """In how many real balls each created image lies, over k, and which real balls hold a created image; density
    and coverage are the means (Naeem et al., ICML 2020, section 3.2). Density may exceed 1. Errors as above.
    """
    _check(created, real, k)
    counts, reached = _balls(created, real, k)
    return counts.double() / k, reached


def nearest(
    points: Float[Tensor, "n d"], among: Float[Tensor, "m e"]
) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
    """The distance of each point to its nearest one among the others, and which it is; the first of equals."""
    check(points, among, least=1)
    found = [distances.min(1) for _, distances in _distances(points, among)]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])


def _check(created: Tensor, real: Tensor, k: int) -> None:
    check(created, real, least=k + 1)
    if k < 1:
        raise UsageError(f"Neighbour {k} was asked for; give 1 or more.")


def _balls(
    points: Float[Tensor, "n d"], centres: Float[Tensor, "m d"], k: int, sources: Int64[Tensor, " m"] | None = None
) -> tuple[Int64[Tensor, " n"], Bool[Tensor, " m"]]:
    """In how many of the centres' balls each point lies, and which balls hold a point."""
    of = torch.arange(len(centres)) if sources is None else sources.unique(return_inverse=True)[1]
    if (count := int(of.max()) + 1) <= k:
        raise UsageError(f"Neighbour {k} was asked for among images of {count} sources; give images of more.")
    of = of.to(centres.device)
    radii = torch.cat([_to_others(of[rows], of, table, k) for rows, table in _distances(centres, centres)])
    counts, reached = [], torch.zeros(len(centres), dtype=torch.bool, device=centres.device)
    for _, distances in _distances(points, centres):
        inside = distances <= radii
        counts.append(inside.sum(1))
        reached |= inside.any(0)
    return torch.cat(counts), reached


def _to_others(
    mine: Int64[Tensor, " r"], sources: Int64[Tensor, " m"], distances: Float[Tensor, "r m"], k: int
) -> Float[Tensor, " r"]:
    """The distance to the k-th nearest source that is not an image's own; sources are numbered from 0 on."""
    to_each = distances.new_full((len(mine), int(sources.max()) + 1), torch.inf)
    to_each.scatter_reduce_(1, sources.expand_as(distances), distances, "amin")
    return to_each.scatter_(1, mine[:, None], torch.inf).kthvalue(k, 1).values


def _distances(points: Tensor, others: Tensor) -> Iterator[tuple[slice, Float[Tensor, "r m"]]]:
    """Tables of distances, a few rows at a time."""
    wide = others.double()
    for first in range(0, len(points), ROWS):
        rows = points[first : first + ROWS].double()
        yield slice(first, first + len(rows)), torch.cdist(rows, wide)
