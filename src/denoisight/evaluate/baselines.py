"""Predictors that never look at the picture: a score is worth what it lies above theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..annotations import Annotation, Labels, Query, Sample
from ..codecs import Codec
from ..codecs.affine import Affine
from ..codecs.unit_vector import UnitVector
from ..data.readers import Reader
from ..errors import ProtocolError
from ..metrics.align import fit_affine
from .protocols import Protocol
from .run import Predictor

GRID_PX = 64
"""Size of the maps that are made without training images; answers are resized to the picture."""


def baselines(protocol: Protocol, training: Reader | None, limit: int | None = None) -> dict[str, Predictor]:
    """The trivial predictors for a protocol by name, made from (the first `limit` of) the training images.

    depth    "mean training map": each image scaled as its codec does, or metres where nothing is aligned
             "vertical ramp": far at the top, near at the bottom; through the mean where nothing is aligned
    normals  "mean training map"
             "facing above ground": towards the viewer in the upper half, upwards in the lower
    labels   "most frequent class", "most frequent class per pixel"

    Without training images there is only what needs none. Deterministic; one map is held in memory, of the
    size of the first training image. Raises `ProtocolError` where a truth is lacking.
    """
    if protocol.classes:
        return {} if training is None else _most_frequent(protocol, training, limit)
    codec = _codec(protocol)
    canvases = {}
    if training is not None:
        canvases["mean training map"] = _mean_canvas(_samples(protocol, training, limit), protocol, codec)
    if protocol.alignment is None:
        canvases["facing above ground"] = _facing_above_ground()
    elif protocol.alignment != "none":
        canvases["vertical ramp"] = -_ramp(GRID_PX) if protocol.alignment == "disparity" else _ramp(GRID_PX)
    elif training is not None:
        canvases["vertical ramp"] = _ramp_through(canvases["mean training map"])
    return {name: _always(codec.decode(canvas, canvas)) for name, canvas in canvases.items()}


def _always(answer: Annotation) -> Predictor:
    def predict(queries: Sequence[Query], seed: int) -> list[Annotation]:
        return [answer.resize(*query.size) for query in queries]

    return predict


def _samples(protocol: Protocol, training: Reader, limit: int | None) -> Iterator[Sample]:
    """The training samples, brought to the size of the first."""
    grid = None
    for index in range(len(training))[:limit]:
        sample = training[index]
        if protocol.truth not in sample.truths:
            raise ProtocolError(
                f"Training image {sample.key!r} has no truth named {protocol.truth!r} to make baselines of "
                f"protocol {protocol.name} from; give the training split of its data."
            )
        grid = grid or sample.size
        yield sample.resize(*grid)
    if grid is None:
        raise ProtocolError("No training images came, but baselines are made from them; give a training split.")


def _codec(protocol: Protocol) -> Codec[Any]:
    if protocol.alignment is None:
        return UnitVector()
    if protocol.alignment == "none":
        return Affine(range_m=protocol.range_m)
    return Affine(protocol.alignment)


def _mean_canvas(samples: Iterator[Sample], protocol: Protocol, codec: Codec[Any]) -> Float[Tensor, "3 h w"]:
    """The mean over valid pixels; where no image has any, the mean over the whole canvas."""
    total = seen = torch.zeros((), dtype=torch.float64)
    for sample in samples:
        pixels, valid = codec.encode(sample.truths[protocol.truth], sample.image)
        total = total + torch.where(valid, pixels, 0.0)
        seen = seen + valid
    overall = total.sum((1, 2), keepdim=True) / seen.sum().clamp(min=1)
    return torch.where(seen > 0, total / seen.clamp(min=1), overall).float()


def _ramp(height: int, width: int = GRID_PX) -> Float[Tensor, "3 h w"]:
    """The far end of the canvas at the top, the near end at the bottom."""
    return torch.linspace(1, -1, height)[:, None].expand(3, height, width)


def _ramp_through(canvas: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """The ramp that lies nearest to a canvas: nobody scales it to the truth where nothing is aligned."""
    ramp = _ramp(*canvas.shape[1:])
    scale, shift = fit_affine(ramp, canvas, torch.ones_like(canvas, dtype=torch.bool))
    return scale[:, None, None] * ramp + shift[:, None, None]


def _facing_above_ground() -> Float[Tensor, "3 h w"]:
    canvas = torch.zeros(3, GRID_PX, GRID_PX)
    canvas[2, : GRID_PX // 2] = canvas[1, GRID_PX // 2 :] = 1.0
    return canvas


def _most_frequent(protocol: Protocol, training: Reader, limit: int | None) -> dict[str, Predictor]:
    votes = _count_votes(_samples(protocol, training, limit), protocol)
    maps = {
        "most frequent class": votes.sum((1, 2), keepdim=True),
        "most frequent class per pixel": votes,
    }
    return {name: _always(Labels(_winners(v), protocol.classes)) for name, v in maps.items()}


def _count_votes(samples: Iterator[Sample], protocol: Protocol) -> Int64[Tensor, "k h w"]:
    votes = torch.zeros((), dtype=torch.int64)
    for sample in samples:
        truth = sample.truths[protocol.truth]
        if not isinstance(truth, Labels) or truth.classes != protocol.classes:
            raise ProtocolError(f"Training image {sample.key!r} has other classes than protocol {protocol.name}.")
        votes = votes + (truth.ids == torch.arange(len(protocol.classes))[:, None, None])
    return votes


def _winners(votes: Int64[Tensor, "k h w"]) -> Int64[Tensor, "h w"]:
    """The class with the most votes, the first of equals; where nobody voted, the overall one."""
    overall = votes.sum((1, 2)).argmax()
    return torch.where(votes.sum(0) > 0, votes.argmax(0), overall)
