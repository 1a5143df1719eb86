"""How each task's predictions are counted and scored: one row a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial as bind
from typing import Any

from torch import Tensor

from ..annotations import Annotation, Boxes, Depth, Labels, Mask, Normals
from ..errors import ProtocolError, pick
from ..metrics import Metric, depth, labels, masks, normals, precision, things
from ..metrics.tally import Scores
from ..runtime import optional
from .protocols import Protocol


@dataclass(frozen=True)
class Ranking:
    """Scores of the whole list at once, from what every image keeps; without intervals over images."""

    keep: Callable[[Any, Any], Any]
    scores: Callable[[Sequence[Any]], dict[str, float]]
    metrics: Mapping[str, Metric]


@dataclass(frozen=True)
class Judge:
    """`counts` of a batch of predictions and truths of one kind, `scores` of their sums, perhaps a ranking too."""

    kind: type[Annotation]
    counts: Callable[[Any, Any], dict[str, Tensor]]
    scores: Scores
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    ranking: Ranking | None = None

    def require(self) -> None:
        """Raises `MissingExtraError` where a package that the scores need is absent."""
        if self.ranking is not None:
            optional("faster_coco_eval", precision.EXTRA)


METRICS: Mapping[str, Mapping[str, Metric]] = {
    "depth": depth.METRICS,
    "normals": normals.METRICS,
    "semantic": labels.METRICS,
    "parts": labels.METRICS,
    "referring": masks.METRICS,
    "saliency": masks.SALIENCY_METRICS,
    "boundary": masks.SALIENCY_METRICS,
    "instances": things.METRICS,
    "detection": things.METRICS,
}
"""What each task's scores are measured in; classes and rankings of a protocol come on top."""


def judge_of(protocol: Protocol) -> Judge:
    """Raises `UsageError` for a task that no scores are known for."""
    return pick(JUDGES, protocol.task, "task to judge")(protocol)


def _depth(protocol: Protocol) -> Judge:
    if protocol.alignment is None or protocol.range_m is None:
        raise ProtocolError(f"Protocol {protocol.name} judges depth, so it must have a range and an alignment.")
    counts = bind(depth.depth_counts, alignment=protocol.alignment, range_m=protocol.range_m)
    return Judge(Depth, counts, depth.depth_scores, METRICS[protocol.task])


def _normals(protocol: Protocol) -> Judge:
    return Judge(Normals, normals.normals_counts, normals.normals_scores, METRICS[protocol.task])


def _labels(protocol: Protocol) -> Judge:
    of_classes = {f"iou/{name}": labels.IOU for name in protocol.classes}
    scores = bind(labels.labels_scores, classes=protocol.classes)
    return Judge(Labels, labels.labels_counts, scores, {**METRICS[protocol.task], **of_classes})


def _referring(protocol: Protocol) -> Judge:
    return Judge(Mask, masks.masks_counts, masks.masks_scores, METRICS[protocol.task])


def _soft_mask(protocol: Protocol) -> Judge:
    return Judge(Mask, masks.masks_counts, masks.saliency_scores, METRICS[protocol.task])


def _instances(protocol: Protocol) -> Judge:
    ranking = Ranking(precision.instance_things, precision.average_precision, precision.METRICS)
    return Judge(Labels, things.instances_counts, things.things_scores, METRICS[protocol.task], ranking)


def _boxes(protocol: Protocol) -> Judge:
    """Classes count where the protocol has some."""
    by_class = bool(protocol.classes)
    counts = bind(things.boxes_counts, by_class=by_class)
    ranking = Ranking(bind(precision.box_things, by_class=by_class), precision.average_precision, precision.METRICS)
    return Judge(Boxes, counts, things.things_scores, METRICS[protocol.task], ranking)


JUDGES: Mapping[str, Callable[[Protocol], Judge]] = {
    "depth": _depth,
    "normals": _normals,
    "semantic": _labels,
    "parts": _labels,
    "referring": _referring,
    "saliency": _soft_mask,
    "boundary": _soft_mask,
    "instances": _instances,
    "detection": _boxes,
}
"""Boundaries are counted pixel by pixel, which is stricter than benchmarks with a tolerance: to choose a model by,
not to compare with papers."""
