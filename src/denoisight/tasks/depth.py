"""Depth along z."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..annotations import Depth
from ..codecs import Codec
from ..codecs.affine import Affine
from ..codecs.ratio import Ratio
from ..errors import DataError, pick
from .base import Head, Reading, Task, image_mean, masked_mean

CODECS: dict[str, Codec[Depth]] = {"affine": Affine(), "ratio": Ratio()}

FARTHEST_LOG_M = 9.0
"""Metric depth is read between exp(-9) and exp(9) metres, so that no head's answer is infinite."""


def depth(classes: tuple[str, ...] = (), codec: str = "affine", loss: str = "affine") -> Task:
    """As Marigold, up to scale and shift by default; "ratio" keeps near things apart and knows depth up to scale."""
    chosen = pick(CODECS, codec, "codec of depth")
    return Task("depth", "depth", Depth, chosen, "depth", pick(LOSSES, loss, "loss of depth")(chosen))


def _on_canvas(codec: Codec[Depth]) -> Head:
    """The distance from what the codec draws."""

    def loss(outputs: Tensor, truth: Depth, image: Tensor) -> Tensor:
        canvas = codec.encode(truth, image)
        return masked_mean((outputs - canvas.pixels[..., :1, :, :]).abs().squeeze(-3), canvas.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        return Reading(codec.decode(outputs.expand(*outputs.shape[:-3], 3, *outputs.shape[-2:]), image), None)

    return Head(1, loss, read)


def _logarithmic(codec: Codec[Depth]) -> Head:
    """Log depth in metres, by a loss that takes off half of the error that a picture has as a whole.

    (Scale-invariant log error: Eigen et al., NeurIPS 2014, eq. 4 with lambda = 0.5.)
    """

    def loss(outputs: Tensor, truth: Depth, image: Tensor) -> Tensor:
        _require(truth, {"metres"}, "silog")
        error = outputs.float().squeeze(-3) - truth.values.clamp(min=1e-6).log()
        return masked_mean(error**2 - 0.5 * image_mean(error, truth.valid) ** 2, truth.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        log_m = outputs.float().squeeze(-3).clamp(-FARTHEST_LOG_M, FARTHEST_LOG_M)
        return Reading(Depth(log_m.exp(), torch.ones_like(log_m, dtype=torch.bool)), None)

    return Head(1, loss, read)


def _invariant(codec: Codec[Depth]) -> Head:
    """Depth up to scale and shift, each picture's taken off by its median and its mean distance from that.

    (Scale- and shift-invariant loss: Ranftl et al., MiDaS, TPAMI 2022, eq. 5, of depth rather than disparity.)
    """

    def loss(outputs: Tensor, truth: Depth, image: Tensor) -> Tensor:
        _require(truth, {"metres", "scale", "affine"}, "ssi")
        said, true = (_normalised(values, truth.valid) for values in (outputs.float().squeeze(-3), truth.values))
        return masked_mean((said - true).abs(), truth.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        values = outputs.float().squeeze(-3)
        low, high = (end(values, (-2, -1), keepdim=True) for end in (torch.amin, torch.amax))
        unit = (values - low) / (high - low).clamp(min=1e-6)
        return Reading(Depth(unit, torch.ones_like(unit, dtype=torch.bool), "affine"), None)

    return Head(1, loss, read)


LOSSES: dict[str, Callable[[Codec[Depth]], Head]] = {
    "affine": _on_canvas,
    "silog": _logarithmic,
    "ssi": _invariant,
}


def _require(truth: Depth, gauges: Collection[str], loss: str) -> None:
    if truth.gauge not in gauges:
        raise DataError(
            f"Depth known up to {truth.gauge!r} cannot be learnt by the loss {loss!r}, which needs "
            f"{' or '.join(sorted(gauges))}; take another with --losses.depth."
        )


def _normalised(values: Float[Tensor, "*b h w"], valid: Bool[Tensor, "*b h w"]) -> Float[Tensor, "*b h w"]:
    seen = torch.where(valid, values, torch.nan).flatten(-2)
    median = torch.nan_to_num(seen.nanmedian(-1).values)[..., None, None]
    spread = image_mean((values - median).abs(), valid)
    return (values - median) / spread.clamp(min=1e-3)
