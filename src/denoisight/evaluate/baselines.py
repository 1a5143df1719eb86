"""Predictors that never look at the picture: a score is worth what it lies above theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..annotations import IGNORE, Annotation, Boxes, Labels, Mask, Query, Sample
from ..codecs import Codec
from ..codecs.affine import Affine
from ..codecs.unit_vector import UnitVector
from ..data.readers import Reader
from ..errors import ProtocolError
from ..metrics.align import fit_affine
from ..runtime import item_seed
from .protocols import Protocol
from .run import Predictor

GRID_PX = 64
"""Size of the maps that are made without training images; answers are resized to the picture."""


def baselines(
    protocol: Protocol, training: Reader | None, limit: int | None = None, images: Reader | None = None
) -> dict[str, Predictor]:
    """The trivial predictors for a protocol by name, made from (the first `limit` of) the training images.

    depth      "mean training map": each image scaled as its codec does, or metres where nothing is aligned
               "vertical ramp": far at the top, near at the bottom; through the mean where nothing is aligned
    normals    "mean training map"
               "facing above ground": towards the viewer in the upper half, upwards in the lower
    labels     "most frequent class", "most frequent class per pixel"
    saliency   "mean training map"; so for boundaries
    referring  "mean training mask": the mean, cut where it fits the training masks best
               "largest object", "random object": these two are told the true instances of the judged `images`,
               and all they do not know is what the words mean
    instances  "one thing a quadrant", "one thing in the middle"; so for boxes

    Without training images there is only what needs none, of other tasks nothing. Deterministic. Raises
    `ProtocolError` where a truth is lacking.
    """
    match protocol.task:
        case "depth" | "normals":
            return _maps(protocol, training, limit)
        case "referring":
            return _objects(protocol, training, limit, images)
        case "instances" | "detection":
            return _rectangles(protocol)
        case "saliency" | "boundary":
            if training is None:
                return {}
            return {"mean training map": _always(_mean_mask(_masks(protocol, training, limit)))}
        case "semantic" | "parts":
            return {} if training is None else _most_frequent(protocol, training, limit)
    return {}


def _maps(protocol: Protocol, training: Reader | None, limit: int | None) -> dict[str, Predictor]:
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


def _mean_mask(masks: Sequence[Mask]) -> Mask:
    total = torch.stack([torch.where(mask.valid, mask.probability, 0.0) for mask in masks]).sum(0)
    seen = torch.stack([mask.valid for mask in masks]).sum(0)
    return Mask(total / seen.clamp(min=1), torch.ones_like(seen, dtype=torch.bool))


def _best_mask(masks: Sequence[Mask]) -> Mask:
    """The mean mask cut at that of its own values at which the mean IoU with the masks is largest."""
    mean = _mean_mask(masks).probability
    candidates = mean >= mean.flatten().quantile(torch.linspace(0, 0.95, 20)).unique()[:, None, None]
    overlap = torch.zeros(len(candidates))
    for mask in masks:
        inside = mask.inside & mask.valid
        union = (candidates & mask.valid | inside).sum((1, 2))
        overlap += (candidates & inside).sum((1, 2)) / union.clamp(min=1)
    return Mask.of(candidates[overlap.argmax()])


def _masks(protocol: Protocol, training: Reader, limit: int | None) -> list[Mask]:
    truths = [sample.truths[protocol.truth] for sample in _samples(protocol, training, limit)]
    return [truth for truth in truths if isinstance(truth, Mask)]


def _objects(
    protocol: Protocol, training: Reader | None, limit: int | None, images: Reader | None
) -> dict[str, Predictor]:
    made: dict[str, Predictor] = {}
    if training is not None:
        made["mean training mask"] = _always(_best_mask(_masks(protocol, training, limit)))
    if images is not None and "instances" in images.truths:
        made["largest object"] = _told(images, lambda areas, seed: int(areas.argmax()))
        made["random object"] = _told(images, lambda areas, seed: seed % len(areas))
    return made


def _told(images: Reader, choose: Callable[[Tensor, int], int]) -> Predictor:
    """Answers one of the image's true things, chosen by their areas and the item's own seed."""
    index = {key: i for i, key in enumerate(images.keys)}

    def answer(query: Query, seed: int) -> Mask:
        truth = images[index[query.key]].truths["instances"]
        ids = truth.ids if isinstance(truth, Labels) else torch.zeros(query.size, dtype=torch.int64)
        things, areas = ids[(ids > 0) & (ids != IGNORE)].unique(return_counts=True)
        chosen = things[choose(areas, item_seed(seed, query.key))] if len(things) else -1
        return Mask.of(ids == chosen)

    return lambda queries, seed: [answer(query, seed) for query in queries]


def _rectangles(protocol: Protocol) -> dict[str, Predictor]:
    half, quarter = GRID_PX // 2, GRID_PX // 4
    corners = [(0, 0), (0, half), (half, 0), (half, half)]
    layouts = {"one thing a quadrant": corners, "one thing in the middle": [(quarter, quarter)]}
    return {name: _always(_squares(protocol, places, half)) for name, places in layouts.items()}


def _squares(protocol: Protocol, corners: Sequence[tuple[int, int]], side: int) -> Annotation:
    """Squares with these upper left corners (top, left): as boxes of the first class, or as instances."""
    if protocol.task == "detection":
        xyxy = torch.tensor([[left, top, left + side, top + side] for top, left in corners]).float()
        ones = torch.ones(len(corners))
        return Boxes(xyxy, torch.zeros_like(ones).long(), ones, ones.bool(), (GRID_PX, GRID_PX), protocol.classes)
    ids = torch.zeros(GRID_PX, GRID_PX, dtype=torch.int64)
    for number, (top, left) in enumerate(corners, 1):
        ids[top : top + side, left : left + side] = number
    return Labels(ids, ())
