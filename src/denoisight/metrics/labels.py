"""Labels: the confusion matrix and what follows from it."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import IGNORE, Labels
from ..errors import ProtocolError
from . import Metric

METRICS = {"miou": Metric("fraction", "higher"), "pixel_accuracy": Metric("fraction", "higher")}
IOU = Metric("fraction", "higher")
"""Of the scores `iou/CLASS`, one a class."""


def labels_counts(prediction: Labels, truth: Labels) -> dict[str, Float[Tensor, "b ..."]]:
    """`confusion` [b k k+1]: pixels by (true class, predicted class); `IGNORE` in the truth is left out.

    The last column holds pixels that the prediction left at `IGNORE`: a miss for the true class, charged to
    no other. `unanswered` counts them too. Raises `ProtocolError` where classes differ or an id has none.
    """
    k = len(truth.classes)
    if prediction.classes != truth.classes:
        raise ProtocolError(
            f"Labels with {len(prediction.classes)} classes cannot be judged by {k} classes that differ from "
            "them in name or order; train or map the prediction to the protocol's classes."
        )
    for side, ids in (("prediction", prediction.ids), ("truth", truth.ids)):
        if ((ids != IGNORE) & ((ids < 0) | (ids >= k))).any():
            raise ProtocolError(f"The {side} holds label ids beyond its {k} classes; ids are 0-{k - 1} or {IGNORE}.")
    answer = torch.where(prediction.ids == IGNORE, k, prediction.ids)
    image = torch.arange(len(truth.ids), device=truth.ids.device)[:, None, None]
    cell = ((image * k + truth.ids) * (k + 1) + answer)[truth.valid]
    confusion = torch.bincount(cell, minlength=len(truth.ids) * k * (k + 1)).reshape(-1, k, k + 1).double()
    return {
        "pixels": confusion.sum((-2, -1)),
        "unanswered": confusion[..., -1].sum(-1),
        "confusion": confusion,
    }


def labels_scores(counts: Mapping[str, Float[Tensor, "..."]], classes: Sequence[str]) -> dict[str, Float[Tensor, "*n"]]:
    """Scores of `METRICS` and `iou/CLASS` from sums, for any leading axes; NaN where no pixel was judged.

    IoU = hits / (true + predicted - hits), as PASCAL VOC defines it. A class in neither truth nor prediction
    has no IoU (NaN) and is left out of the mean.
    """
    confusion = counts["confusion"]
    hits = confusion.diagonal(dim1=-2, dim2=-1)
    true, predicted = confusion.sum(-1), confusion[..., :-1].sum(-2)
    iou = hits / (true + predicted - hits)
    return {
        "miou": iou.nanmean(-1),
        "pixel_accuracy": hits.sum(-1) / counts["pixels"],
        **{f"iou/{name}": iou[..., index] for index, name in enumerate(classes)},
    }
