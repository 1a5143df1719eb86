"""Surface normals: the angle between two directions, its mean, median, RMSE, and shares below thresholds."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Normals
from ..vectors import lengths
from . import Metric

THRESHOLDS_DEG = (5.0, 7.5, 11.25, 22.5, 30.0)

METRICS = {
    "mean": Metric("degrees", "lower"),
    "median": Metric("degrees", "lower"),
    "rmse": Metric("degrees", "lower"),
    **{f"within_{t:g}": Metric("percent", "higher") for t in THRESHOLDS_DEG},
}

BIN_DEG = 0.05
"""Width of the histogram's bins, so the most by which a median can be wrong."""

_NUM_BINS = round(180 / BIN_DEG)


def angle_deg(a: Float[Tensor, "*b 3 h w"], b: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b h w"]:
    """The angle between two directions in degrees by atan2(|a x b|, a.b), exact where acos is flat.

    Lengths do not matter; a vector of length zero is at 90 degrees to everything.
    """
    a, b = a.double(), b.double()
    dot = (a * b).sum(-3)
    return torch.rad2deg(torch.atan2(lengths(torch.linalg.cross(a, b, dim=-3)), dot))


def normals_counts(prediction: Normals, truth: Normals) -> dict[str, Float[Tensor, "b ..."]]:
    """Sums over each image's valid pixels, and a histogram [b 3600] of angles for the median.

    A pixel that the prediction declares invalid counts as 90 degrees off, as a cosine of zero would;
    `unanswered` counts such pixels.
    """
    mask = truth.valid
    angle = torch.where(prediction.valid, angle_deg(prediction.vectors, truth.vectors), 90.0)

    def total(values: Tensor) -> Tensor:
        return torch.where(mask, values.double(), 0.0).sum((-2, -1))

    return {
        "pixels": total(mask),
        "unanswered": total(~prediction.valid),
        "angle": total(angle),
        "square": total(angle**2),
        **{f"within_{t:g}": total(angle < t) for t in THRESHOLDS_DEG},
        "histogram": _histogram(angle, mask),
    }


def normals_scores(counts: Mapping[str, Float[Tensor, "..."]]) -> dict[str, Float[Tensor, "*n"]]:
    """Scores of `METRICS` from sums, for any leading axes; NaN where no pixel was judged.

    Summed over images first they are DSINE's (Bae & Davison, CVPR 2024: pixels of the whole set pooled);
    averaged over images afterwards they are Marigold's.
    """
    pixels = counts["pixels"]
    return {
        "mean": counts["angle"] / pixels,
        "median": _median(counts["histogram"].double()),
        "rmse": (counts["square"] / pixels).sqrt(),
        **{f"within_{t:g}": 100 * counts[f"within_{t:g}"] / pixels for t in THRESHOLDS_DEG},
    }


def _histogram(angle: Tensor, mask: Tensor) -> Tensor:
    bins = (angle / BIN_DEG).long().clamp(max=_NUM_BINS - 1).flatten(1)
    empty = torch.zeros(len(bins), _NUM_BINS, device=angle.device)
    return empty.scatter_add_(1, bins, mask.flatten(1).to(empty.dtype))


def _median(histogram: Float[Tensor, "*n bins"]) -> Float[Tensor, "*n"]:
    """Where half of the count lies below, with counts spread evenly inside their bin."""
    below = histogram.cumsum(-1)
    half = below[..., -1:] / 2
    index = (below < half).sum(-1, keepdim=True).clamp(max=_NUM_BINS - 1)
    inside = histogram.gather(-1, index)
    start = below.gather(-1, index) - inside
    return ((index + (half - start) / inside) * BIN_DEG)[..., 0]
