"""Guidance as a wrapper: denoiser -> denoiser."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .prediction import Denoiser
from .schedule import Level


def classifier_free(
    denoiser: Denoiser, negative_cond: Any, weight: float, *, join: Callable[[Any, Any], Any]
) -> Denoiser:
    """Steer towards the condition and away from `negative_cond` (Ho and Salimans 2022, equation 6).

    `eps~ = (1 + w) eps(cond) - w eps(negative_cond)`; the negative is the empty prompt in ordinary guidance,
    a correctional prompt otherwise. It is computed between the clean estimates: at a fixed x and level
    `eps = (x - alpha x0) / sigma` is affine in x0 and the two weights sum to one, so both forms are the same,
    and so are those in v and flow. Weight 0 is no guidance and returns the denoiser itself.

    `join(a, b)` puts two conditions of batch b into one of batch 2b: both estimates come from one evaluation.
    """
    if weight == 0:
        return denoiser

    def guided(x: Tensor, level: Level, cond: Any) -> Tensor:
        twice = Level(*(torch.cat([part, part]) for part in level))
        clean, negative = denoiser(torch.cat([x, x]), twice, join(cond, negative_cond)).chunk(2)
        return clean + weight * (clean - negative)

    return guided


def two_way(
    denoiser: Denoiser,
    image_cond: Any,
    empty_cond: Any,
    weight: float,
    image_weight: float,
    *,
    join: Callable[[Any, Any], Any],
) -> Denoiser:
    """Steer towards the words and, by a weight of its own, towards the image (Brooks et al. 2023, equation 3).

    With x(c) the clean estimate: `x(cond) + w_T (x(cond) - x(image_cond)) + w_I (x(image_cond) - x(empty_cond))`, where
    `image_cond` has the image but not the words, and `empty_cond` neither. The paper's scales s are w + 1. Weights of 0
    are no guidance and return the denoiser itself; `join` is that of `classifier_free`.
    """
    if weight == 0 and image_weight == 0:
        return denoiser

    def guided(x: Tensor, level: Level, cond: Any) -> Tensor:
        thrice = Level(*(torch.cat([part] * 3) for part in level))
        conds = join(join(cond, image_cond), empty_cond)
        clean, image, empty = denoiser(torch.cat([x] * 3), thrice, conds).chunk(3)
        return clean + weight * (clean - image) + image_weight * (image - empty)

    return guided
