"""Which depths may be compared with metres, and the scale and shift that a comparison may forgive."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..annotations import Depth, Gauge
from ..errors import ProtocolError

Alignment = Literal["none", "depth", "disparity", "log"]
"""The space in which scale and shift are fitted before judging; "none" judges metres as they are."""

COMPARABLE: dict[Gauge, tuple[Alignment, ...]] = {
    "metres": ("none", "depth", "disparity", "log"),
    "scale": ("depth", "disparity", "log"),
    "affine": ("depth",),
    "affine-disparity": ("disparity",),
    "affine-log": ("log",),
}
"""A scale and a shift in one space are not a scale and a shift in another, so a gauge fits few alignments."""

LEAST_DISPARITY = 1e-3
"""Aligned disparity is clipped here before it is inverted, in 1/m."""

_SMALLEST = 1e-6


def align(prediction: Depth, truth: Depth, alignment: Alignment, mask: Bool[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Predicted depth in metres, float64, after the least-squares fit to the truth over `mask` in each image.

    As Marigold evaluates (Ke et al., CVPR 2024; modes `least_square` and `least_square_disparity` of its
    `script/depth/eval.py`), log depth likewise. Where disparity is fitted, and where depth must be turned
    into another space, predictions that are not positive stay out of the fit. A constant prediction becomes
    the truth's mean. Nothing is clipped to a range here. Raises `ProtocolError` where the gauge does not fit.
    """
    if alignment not in COMPARABLE[prediction.gauge]:
        raise ProtocolError(
            f"Depth of gauge {prediction.gauge!r} cannot be judged with alignment {alignment!r}, only with "
            f"{' or '.join(map(repr, COMPARABLE[prediction.gauge]))}; choose a protocol that aligns so."
        )
    values = prediction.values.double()
    if alignment == "none":
        return values
    given = values if prediction.gauge.startswith("affine") else _from_depth(values, alignment)
    wanted = _from_depth(truth.values.double(), alignment)
    usable = mask & prediction.valid
    if alignment == "disparity" or (alignment == "log" and prediction.gauge != "affine-log"):
        usable = usable & (values > 0)
    scale, shift = fit_affine(given, wanted, usable)
    fitted = scale[:, None, None] * given + shift[:, None, None]
    if alignment == "disparity":
        return 1 / fitted.clamp(min=LEAST_DISPARITY)
    return fitted.exp() if alignment == "log" else fitted


def fit_affine(
    given: Float[Tensor, "b h w"], wanted: Float[Tensor, "b h w"], mask: Bool[Tensor, "b h w"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """(scale, shift) in each image that minimise `sum((scale given + shift - wanted)^2)` over the mask.

    The normal equations of the line, centred so that they are well conditioned. A constant `given` has scale
    0 and the mean of `wanted` as its shift; an empty mask gives (0, 0).
    """
    count = mask.sum((-2, -1)).clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(mask, values, 0.0).sum((-2, -1)) / count

    given_mean, wanted_mean = mean(given), mean(wanted)
    deviation = given - given_mean[:, None, None]
    variance = mean(deviation**2)
    # Float32 values that differ at all spread more than this; what is below is rounding of the mean.
    constant = variance <= 1e-24 * mean(given**2)
    covariance = mean(deviation * (wanted - wanted_mean[:, None, None]))
    scale = torch.where(constant, 0.0, covariance / torch.where(constant, 1.0, variance))
    return scale, wanted_mean - scale * given_mean


def _from_depth(depth: Tensor, alignment: Alignment) -> Tensor:
    if alignment == "depth":
        return depth
    positive = depth.clamp(min=_SMALLEST)
    return 1 / positive if alignment == "disparity" else positive.log()
