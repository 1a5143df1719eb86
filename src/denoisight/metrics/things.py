"""Single things, as masks or boxes: which prediction is which true thing, and how many were found."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..annotations import IGNORE, Boxes, Labels, box_iou
from ..errors import ProtocolError, shortlist
from . import Metric

METRICS = {
    "pq": Metric("fraction", "higher"),
    "f1": Metric("fraction", "higher"),
    "matched_iou": Metric("fraction", "higher"),
}


def instances_counts(prediction: Labels, truth: Labels) -> dict[str, Float[Tensor, "b ..."]]:
    """Matches of each image's instances, whatever their classes: 0 is no thing, `IGNORE` is not judged.

    A predicted and a true thing match where their IoU is above a half, so that no thing has two matches
    (Kirillov et al., "Panoptic segmentation", CVPR 2019). Pixels that the truth ignores belong to no union, and a
    prediction of which more than half lies there is not counted.
    """
    rows = [_match_instances(p, t) for p, t in zip(prediction.ids, truth.ids, strict=True)]
    judged = truth.valid
    return {
        "pixels": judged.sum((-2, -1)).double(),
        "unanswered": (judged & ~prediction.valid).sum((-2, -1)).double(),
        **{name: torch.stack([row[name] for row in rows]) for name in rows[0]},
    }


def boxes_counts(prediction: Boxes, truth: Boxes, by_class: bool = True) -> dict[str, Float[Tensor, "b ..."]]:
    """Matches of each image's boxes, `by_class` only with those of the same; every valid prediction counts.

    Predictions choose in the order of their scores the box that they overlap most, by more than a half. `pixels`
    is 1 an image: there is always something to judge. Raises `ProtocolError` where the classes differ.
    """
    if by_class and prediction.classes != truth.classes:
        raise ProtocolError(
            f"Boxes of the classes {shortlist(prediction.classes) or 'none'} cannot be judged by "
            f"{shortlist(truth.classes) or 'none'}; bring them to the truth's classes."
        )
    pairs = [(prediction[i], truth[i]) for i in range(len(truth.ids))]
    rows = [_match_boxes(p, t, by_class) for p, t in pairs]
    ones = torch.ones(len(pairs), dtype=torch.float64)
    return {
        "pixels": ones,
        "unanswered": 0 * ones,
        **{name: torch.stack([row[name] for row in rows]) for name in rows[0]},
    }


def things_scores(counts: Mapping[str, Float[Tensor, "..."]]) -> dict[str, Float[Tensor, "*n"]]:
    """Scores of `METRICS` from sums, for any leading axes; NaN where there is neither a thing nor a prediction.

    `pq` is the panoptic quality of one class: `f1`, 2 TP / (2 TP + FP + FN), times `matched_iou`, the mean IoU of
    the matches (NaN where nothing matches, with a quality of 0).
    """
    hits, overlap = counts["hits"], counts["overlap"]
    things = hits + 0.5 * (counts["extra"] + counts["missed"])
    return {"pq": overlap / things, "f1": hits / things, "matched_iou": overlap / hits}


def match_ids(prediction: Labels, truth: Labels) -> Labels:
    """The prediction of one image with the truth's number on each thing that overlaps it most, new ones elsewhere."""
    iou, found, true = _instance_overlaps(prediction.ids, truth.ids)[:3]
    names = {}
    for row, column in _greedy(iou):
        names[int(found[row])] = int(true[column])
    spare = (n for n in range(1, IGNORE) if n not in set(true.tolist()))
    ids = prediction.ids.clone()
    for id in found.tolist():
        ids[prediction.ids == id] = names[id] if id in names else next(spare, IGNORE)
    return Labels(ids, truth.classes)


def _match_instances(prediction: Int64[Tensor, "h w"], truth: Int64[Tensor, "h w"]) -> dict[str, Tensor]:
    iou, found, true, ignored = _instance_overlaps(prediction, truth)
    matched = iou > 0.5
    extra = ~matched.any(1) & ~ignored
    return _row(iou[matched], extra.sum(), len(true) - matched.sum())


def _match_boxes(prediction: Boxes, truth: Boxes, by_class: bool) -> dict[str, Tensor]:
    order = torch.where(prediction.valid, prediction.scores, -torch.inf).argsort(descending=True, stable=True)
    order = order[: int(prediction.valid.sum())]
    iou = box_iou(prediction.xyxy[order], truth.xyxy[truth.valid])
    if by_class:
        iou = torch.where(prediction.ids[order][:, None] == truth.ids[truth.valid], iou, 0.0)
    free = torch.ones(iou.shape[1], dtype=torch.bool)
    overlaps = []
    for row in torch.where(iou > 0.5, iou, 0.0):
        row = torch.where(free, row, 0.0)
        if row.any():
            overlaps.append(row.max())
            free[row.argmax()] = False
    return _row(torch.stack(overlaps) if overlaps else iou.new_zeros(0), len(order) - len(overlaps), free.sum())


def _row(overlaps: Tensor, extra: Tensor | int, missed: Tensor | int) -> dict[str, Tensor]:
    numbers = {"hits": len(overlaps), "overlap": overlaps.sum(), "extra": extra, "missed": missed}
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in numbers.items()}


def _instance_overlaps(
    prediction: Int64[Tensor, "h w"], truth: Int64[Tensor, "h w"]
) -> tuple[Float[Tensor, "n m"], Int64[Tensor, " n"], Int64[Tensor, " m"], Bool[Tensor, " n"]]:
    """IoU of predicted with true things, the ids of both, and which predictions lie where nothing is judged."""
    found, rows = prediction.unique(return_inverse=True)
    true, columns = truth.unique(return_inverse=True)
    cells = torch.bincount((rows * len(true) + columns).flatten(), minlength=len(found) * len(true))
    shared = cells.reshape(len(found), len(true)).double()
    void = shared[:, true == IGNORE].sum(1)
    size = shared.sum(1)
    union = (size - void)[:, None] + shared.sum(0) - shared
    kept, wanted = (found > 0) & (found != IGNORE), (true > 0) & (true != IGNORE)
    # What the prediction leaves unknown still belongs to the true thing's size.
    iou = (shared / union.clamp(min=1))[kept][:, wanted]
    return iou, found[kept], true[wanted], (void > 0.5 * size)[kept]


def _greedy(iou: Float[Tensor, "n m"]) -> list[tuple[int, int]]:
    """Pairs by falling IoU, every row and column once."""
    pairs, rows, columns = [], set(), set()
    for cell in iou.flatten().argsort(descending=True, stable=True).tolist():
        row, column = divmod(cell, iou.shape[1])
        if iou[row, column] > 0 and row not in rows and column not in columns:
            pairs.append((row, column))
            rows.add(row)
            columns.add(column)
    return pairs
