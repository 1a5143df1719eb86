"""How far two sets of images lie apart, from features of any network: name the network beside every number."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UsageError

FEW = 2000
"""Distances between fewer images are not to be compared with others: FID falls with their number, KID scatters."""


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


def kid(first: Float[Tensor, "n d"], second: Float[Tensor, "m e"]) -> float:
    """The kernel inception distance (Binkowski et al. 2018, section 4): the unbiased squared MMD under
    `k(x, y) = (x . y / d + 1)^3`.

    Around 0, and at times below, where both sets come from one distribution. Raises `UsageError` for a set
    of fewer than two images, or features of different widths.
    """
    check(first, second)
    within = sum(_mean_of_pairs(_kernel(one, one)) for one in (first, second))
    return float(within - 2 * _kernel(first, second).mean())


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


def _kernel(first: Tensor, second: Tensor) -> Float[Tensor, "n m"]:
    return (first.double() @ second.double().T / first.shape[1] + 1) ** 3


def _mean_of_pairs(kernel: Float[Tensor, "n n"]) -> Tensor:
    """Without the diagonal: an image beside itself says nothing of the distribution."""
    return (kernel.sum() - kernel.diagonal().sum()) / (len(kernel) * (len(kernel) - 1))
