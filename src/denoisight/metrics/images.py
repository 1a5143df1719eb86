"""How far two sets of images lie apart, from features of any network: name the network beside every number."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UsageError


def kid(first: Float[Tensor, "n d"], second: Float[Tensor, "m d"]) -> float:
    """The kernel inception distance (Binkowski et al. 2018, section 4): the unbiased squared MMD under
    `k(x, y) = (x . y / d + 1)^3`.

    Around 0, and at times below, where both sets come from one distribution. Raises `UsageError` for a set
    of fewer than two images.
    """
    if min(len(first), len(second)) < 2:
        raise UsageError(f"Sets of {len(first)} and {len(second)} images came; their distance needs two in each.")
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


def _kernel(first: Tensor, second: Tensor) -> Float[Tensor, "n m"]:
    return (first.double() @ second.double().T / first.shape[1] + 1) ** 3


def _mean_of_pairs(kernel: Float[Tensor, "n n"]) -> Tensor:
    """Without the diagonal: an image beside itself says nothing of the distribution."""
    return (kernel.sum() - kernel.diagonal().sum()) / (len(kernel) * (len(kernel) - 1))
