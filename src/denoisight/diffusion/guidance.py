"""Guidance as a wrapper: denoiser -> denoiser.

All forms add to the clean estimate a mixture of differences between clean estimates. At a fixed x and level the noise
is `(x - alpha x0) / sigma`, affine in x0, and the weights of a mixture sum to one: so what is said of eps holds of x0
too, and of v and flow. All estimates of a step come from one evaluation of the network, on a batch that many times as
large. A weight is one number, or [k, b]: of each of k negatives for each of b items, 0 where an item has fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..errors import pick
from .noise import over
from .prediction import Denoiser
from .schedule import Level

Join = Callable[[Any, Any], Any]
"""Puts two conditions, of batch a and b, into one of batch a + b."""

Weights: TypeAlias = float | Tensor


def classifier_free(denoiser: Denoiser, negatives: Sequence[Any], weights: Weights, *, join: Join) -> Denoiser:
    """Steer towards the condition and away from the negatives (Ho and Salimans 2022, equation 6).

    `eps~ = eps(cond) + sum_k w_k (eps(cond) - eps(negative_k))`, with one negative `(1 + w) eps(cond) - w
    eps(negative)`. A negative is the empty prompt in ordinary guidance, and what the words were confused with in
    correctional guidance (Pang et al., ICLR 2025). Weights of 0 are no guidance and return the denoiser itself.
    """
    away = _of_each(weights, negatives)
    return _mixed(denoiser, negatives, [-weight for weight in away], join)


def two_way(
    denoiser: Denoiser,
    image_conds: Sequence[Any],
    empty_conds: Sequence[Any],
    weights: Weights,
    image_weights: Weights,
    *,
    join: Join,
) -> Denoiser:
    """Steer towards the words and, by a weight of its own, towards the image (Brooks et al. 2023, equation 3).

    With x(c) the clean estimate: `x(cond) + sum_k w_T,k (x(cond) - x(image_k)) + w_I,k (x(image_k) - x(empty_k))`.
    `image_k` has the image but not the words, and `empty_k` neither; both hold the k-th negative in their place. The
    paper's scales s are w + 1. Weights of 0 are no guidance and return the denoiser itself.
    """
    words, image = _of_each(weights, image_conds), _of_each(image_weights, empty_conds)
    shares = [*(i - w for w, i in zip(words, image, strict=True)), *(-i for i in image)]
    return _mixed(denoiser, [*image_conds, *empty_conds], shares, join)


def within(guided: Denoiser, plain: Denoiser, low: float, high: float, num_timesteps: int) -> Denoiser:
    """Guided at noise levels t/T in [low, high], plain elsewhere, at the cost of the one that is called.

    As the items of a sampler's batch do, all must stand at one level; it is read on the host, once a step, unless the
    range is [0, 1] or nothing is guided (limited intervals: Kynkaanniemi et al., NeurIPS 2024).
    """
    if guided is plain or (low, high) == (0.0, 1.0):
        return guided

    def ranged(x: Tensor, level: Level, cond: Any) -> Tensor:
        inside = low <= float(level.t[0]) / num_timesteps <= high
        return (guided if inside else plain)(x, level, cond)

    return ranged


SHARES: dict[str, Callable[[float, int], float]] = {"mean": lambda weight, count: weight / count, "sum": lambda w, _: w}
"""The weight of each of an item's negatives, from the item's weight and how many there are."""


def share_out(weights: Sequence[float], counts: Sequence[int], how: str = "mean") -> Tensor:
    """[k, b] weights for items with so many negatives each: k is the largest count, and missing ones weigh 0."""
    share = pick(SHARES, how, "way to weigh negatives")
    rows = [
        [share(w, n) if k < n else 0.0 for w, n in zip(weights, counts, strict=True)]
        for k in range(max(counts, default=0))
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(weights))


def _of_each(weights: Weights, conds: Sequence[Any]) -> Tensor:
    """[k] or [k, b], in doubles: the caller's precision decides later."""
    given = torch.as_tensor(weights, dtype=torch.float64)
    return given.expand(len(conds), *given.shape[1:])


def _mixed(denoiser: Denoiser, others: Sequence[Any], shares: Sequence[Tensor], join: Join) -> Denoiser:
    """`x(cond) + sum_k share_k (x(other_k) - x(cond))`; what has no share is not evaluated."""
    kept = [(other, share) for other, share in zip(others, shares, strict=True) if share.any()]
    if not kept:
        return denoiser
    conds, rows = [other for other, _ in kept], 1 + len(kept)

    def guided(x: Tensor, level: Level, cond: Any) -> Tensor:
        levels = Level(*(torch.cat([part] * rows) for part in level))
        clean, *estimates = denoiser(torch.cat([x] * rows), levels, reduce(join, conds, cond)).chunk(rows)
        # Each difference is taken first: an estimate that equals the condition's changes nothing, to the last bit.
        moves = [over(share.to(x), x) * (other - clean) for other, (_, share) in zip(estimates, kept, strict=True)]
        return clean + sum(moves)

    return guided
