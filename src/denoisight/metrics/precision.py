"""Average precision of boxes and instance masks, by COCO's rules through faster-coco-eval.

AP ranks the predictions of all images together, so it is no sum over images: each image gives its `Things`, and
the whole list is scored at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..annotations import IGNORE, Boxes, Labels
from ..runtime import optional
from . import Metric

EXTRA = "eval"
METRICS = {name: Metric("fraction", "higher") for name in ("ap", "ap50", "ap75")}
MOST = 100
"""So many predictions an image are ranked, the best."""


@dataclass(frozen=True)
class Region:
    """One thing: its class, its box (x, y, width, height) in pixels, or its run lengths down the columns, which
    begin with what is outside."""

    category: int
    score: float
    box: tuple[float, ...] = ()
    runs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Things:
    """What one image holds, and what was found in it."""

    size: tuple[int, int]
    true: tuple[Region, ...]
    found: tuple[Region, ...]


def instance_things(prediction: Labels, truth: Labels) -> Things:
    """Of one image, without a class; where things carry no scores, larger ones are taken to be surer.

    Pixels that the truth ignores are taken from both sides.
    """
    seen = replace(prediction, ids=torch.where(truth.valid, prediction.ids, IGNORE))
    return Things(truth.size, _masks(truth), _masks(seen))


def box_things(prediction: Boxes, truth: Boxes, by_class: bool = True) -> Things:
    """Of one image; all of one class where not `by_class`."""
    return Things(truth.size, _boxes(truth, by_class), _boxes(prediction, by_class))


def average_precision(images: Sequence[Things]) -> dict[str, float]:
    """Scores of `METRICS`: AP (mean over IoU 0.5 to 0.95), AP at 0.5 and at 0.75; NaN where nothing is true.

    The mean over classes of the area under the interpolated precision (101 recalls), with the best `MOST`
    predictions an image. Raises `MissingExtraError` without faster-coco-eval.
    """
    library = optional("faster_coco_eval", EXTRA)
    if not any(image.true for image in images):
        return dict.fromkeys(METRICS, torch.nan)
    if not any(image.found for image in images):
        return dict.fromkeys(METRICS, 0.0)
    kind: Literal["segm", "bbox"] = "segm" if any(r.runs for i in images for r in i.true) else "bbox"
    draw = library.mask.frPyObjects
    true = [_annotation(r, image, n, draw) for n, image in enumerate(images, 1) for r in image.true]
    found = [_annotation(r, image, n, draw) for n, image in enumerate(images, 1) for r in image.found]
    truth = library.COCO(
        {
            "images": [{"id": n, "height": i.size[0], "width": i.size[1]} for n, i in enumerate(images, 1)],
            "annotations": [annotation | {"id": id, "iscrowd": 0} for id, annotation in enumerate(true, 1)],
            "categories": [{"id": c, "name": str(c)} for c in sorted({a["category_id"] for a in true})],
        }
    )
    judge = library.COCOeval_faster(truth, truth.loadRes(found), kind, print_function=lambda *text: None)
    judge.params.maxDets = [MOST]
    judge.evaluate()
    judge.accumulate()
    # Axes: IoU threshold, recall, class, range of areas (the first is all), most predictions.
    precision = np.asarray(judge.eval["precision"])[:, :, :, 0, 0]
    at = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}
    return {name: _mean(precision[rows]) for name, rows in at.items()}


def _mean(precision: np.ndarray) -> float:
    """Classes without a true thing are marked by -1."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else torch.nan


def _annotation(region: Region, image: Things, number: int, draw: Callable[..., Any]) -> dict[str, Any]:
    common = {"image_id": number, "category_id": region.category, "score": region.score}
    if region.runs:
        mask = {"size": list(image.size), "counts": list(region.runs)}
        return common | {"segmentation": draw(mask, *image.size), "area": sum(region.runs[1::2])}
    return common | {"bbox": list(region.box), "area": region.box[2] * region.box[3]}


def _masks(labels: Labels) -> tuple[Region, ...]:
    present = [id for id in labels.ids.unique().tolist() if id not in (0, IGNORE)]
    masks = [labels.ids == id for id in present]
    shares = [float(mask.double().mean()) for mask in masks]
    scores = shares if labels.scores is None else [float(labels.scores[id - 1]) for id in present]
    return tuple(Region(1, score, runs=_run_lengths(mask)) for score, mask in zip(scores, masks, strict=True))


def _run_lengths(inside: Tensor) -> tuple[int, ...]:
    column_wise = inside.T.flatten().numpy()
    changes = np.flatnonzero(np.diff(column_wise, prepend=False)) if column_wise.size else np.zeros(0, int)
    return tuple(np.diff(changes, prepend=0, append=column_wise.size).tolist())


def _boxes(boxes: Boxes, by_class: bool) -> tuple[Region, ...]:
    kept = boxes.valid
    corners = boxes.xyxy[kept].double()
    rows = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).tolist()
    numbers = zip(boxes.ids[kept].tolist(), boxes.scores[kept].tolist(), rows, strict=True)
    return tuple(Region(id + 1 if by_class else 1, score, tuple(box)) for id, score, box in numbers)
