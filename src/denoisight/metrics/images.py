"""How far two sets of images lie apart, from features of any network: name the network beside every number."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..errors import UsageError

FEW = 2000
"""Distances between fewer images are not to be compared with others: FID falls with their number, KID scatters."""
ROWS = 1024
"""So many rows of a table of all pairs are held at once."""


def check(first: Tensor, second: Tensor, least: int = 2) -> None:
    """Raises `UsageError` where a set has fewer than `least` images, or the sets' features differ in width."""
    if min(len(first), len(second)) < least:
        raise UsageError(f"Sets of {len(first)} and {len(second)} images came; this needs {least} in each; give more.")
    if first.shape[1:] != second.shape[1:]:
        raise UsageError(
            f"Features of {first.shape[1]} and of {second.shape[1]} numbers an image came; take both from one network."
        )


def fid(first: Float[Tensor, "n d"], second: Float[Tensor, "m e"]) -> float:
    """The Fréchet distance of normal distributions of the features' means and covariances (Heusel et al., NeurIPS 2017,
    equation 6): `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`, with the covariances' unbiased estimates.

    0 for equal sets; it falls with the number of images. With `C = R' R` the trace of the root is the sum of the
    singular values of `R1 R2'`, which is exact also for fewer images than features. Raises `UsageError` as `kid`.
    """
    check(first, second)
    (mean, root), (other_mean, other_root) = map(_moments, (first, second))
    shared = torch.linalg.svdvals(root @ other_root.T).sum()
    distance = ((mean - other_mean) ** 2).sum() + (root**2).sum() + (other_root**2).sum() - 2 * shared
    return float(distance.clamp(min=0))


def kid(first: Float[Tensor, "n d"], second: Float[Tensor, "m e"], sources: Int64[Tensor, " n"] | None = None) -> float:
    """The kernel inception distance (Binkowski et al. 2018, section 4): the unbiased squared MMD under
    `k(x, y) = (x . y / d + 1)^3`.

    `sources` numbers what each of the first images was made from (default: each from something else). Two images of one
    source are not drawn independently, so such a pair says as little of the distribution as an image beside itself.
    Around 0, and at times below, where both sets come from one distribution; NaN where all first images have one
    source. Raises `UsageError` for a set of fewer than two images, or features of different widths.
    """
    check(first, second)
    within = _within(first, sources) + _within(second)
    between = sum(kernel.sum() for _, kernel in _kernels(first, second))
    return float(within - 2 * between / (len(first) * len(second)))


def kid_interval(
    first: Float[Tensor, "n d"],
    second: Float[Tensor, "m d"],
    *,
    size: int,
    subsets: int = 100,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """The middle `level` of the distances between random subsets of `size` images, drawn without replacement.

    Field's practice (100 subsets of at most 1000). It tells how far a distance between so few images scatters;
    the distance between all of them scatters less.
    """
    if not 2 <= size <= min(len(first), len(second)):
        raise UsageError(
            f"Subsets of {size} images were asked for out of {len(first)} and {len(second)}; give 2 to the smaller."
        )
    draw = torch.Generator().manual_seed(seed)

    def some(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=draw)[:size].to(features.device)]

    distances = torch.tensor([kid(some(first), some(second)) for _ in range(subsets)], dtype=torch.float64)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = distances.quantile(tails).tolist()
    return low, high


def _moments(features: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "r d"]]:
    """The mean, and a root of the covariance with no more rows than there are images or features."""
    wide = features.double()
    mean = wide.mean(0)
    root = (wide - mean) / (len(wide) - 1) ** 0.5
    return mean, torch.linalg.qr(root, mode="r").R if len(root) > root.shape[1] else root


def _within(one: Tensor, sources: Tensor | None = None) -> Tensor:
    """The mean kernel of pairs that do not share a source, and so of no image with itself."""
    sources = torch.arange(len(one), device=one.device) if sources is None else sources.to(one.device)
    total, count = one.new_zeros((), dtype=torch.float64), 0
    for rows, kernel in _kernels(one, one):
        apart = sources[rows, None] != sources
        total += (kernel * apart).sum()
        count += int(apart.sum())
    return total / count


def _kernels(first: Tensor, second: Tensor) -> Iterator[tuple[slice, Float[Tensor, "r m"]]]:
    """A few rows of the table at a time, since all of it grows with the square of the number of images."""
    wide = second.double()
    for start in range(0, len(first), ROWS):
        rows = slice(start, start + ROWS)
        yield rows, (first[rows].double() @ wide.T / first.shape[1] + 1) ** 3
