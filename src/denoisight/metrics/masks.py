"""Masks: overlap with the truth, for things that words mean, and the F-measure of soft maps, for saliency."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Mask
from . import Metric

OVERLAPS = (0.5, 0.6, 0.7, 0.8, 0.9)
CUTS = torch.linspace(0.05, 0.95, 19)
"""Where soft maps are cut into inside and outside to find their best F-measure."""
BETA_SQUARED = 0.3

METRICS = {
    "miou": Metric("fraction", "higher"),
    "oiou": Metric("fraction", "higher"),
    **{f"p@{t:g}": Metric("fraction", "higher") for t in OVERLAPS},
}
SALIENCY_METRICS = {
    "max_f": Metric("fraction", "higher"),
    "mae": Metric("ratio", "lower"),
    "miou": Metric("fraction", "higher"),
}


def masks_counts(prediction: Mask, truth: Mask) -> dict[str, Float[Tensor, "b ..."]]:
    """Sums over each image's valid pixels, its IoU, and whether that reaches each of `OVERLAPS` (>=, as LAVT).

    Inside is a probability of 0.5 and above. An image in which neither side has a pixel inside has an IoU of 0,
    as in LAVT and VPD. Pixels that the prediction declares invalid are outside; `unanswered` counts them.
    `items` is 1 for an image with any valid pixel.
    """
    mask, inside = truth.valid, truth.inside & truth.valid
    probability = torch.where(prediction.valid, prediction.probability, 0.0)

    def total(values: Tensor) -> Tensor:
        return torch.where(mask, values.double(), 0.0).sum((-2, -1))

    # A cut of 0.3 in float32 lies above 0.3 in float64: compare like with like.
    found = [total(probability >= cut) for cut in CUTS.to(probability)]
    hits = [total(inside & (probability >= cut)) for cut in CUTS.to(probability)]
    marked = probability >= 0.5
    intersection, union = total(inside & marked), total(inside | marked)
    items = mask.any(-1).any(-1).double()
    iou = torch.where(union > 0, intersection / union.clamp(min=1), 0.0)
    return {
        "pixels": total(mask),
        "unanswered": total(~prediction.valid),
        "items": items,
        "intersection": intersection,
        "union": union,
        "iou": iou,
        "reached": torch.stack([(iou >= t) & (items > 0) for t in OVERLAPS], -1).double(),
        "error": total((probability - truth.probability).abs()),
        "inside": total(inside),
        "found": torch.stack(found, -1),
        "hits": torch.stack(hits, -1),
    }


def masks_scores(counts: Mapping[str, Float[Tensor, "..."]]) -> dict[str, Float[Tensor, "*n"]]:
    """Scores of `METRICS` from sums, for any leading axes; NaN where no pixel was judged.

    Of summed images, as LAVT (Yang et al., CVPR 2022) and VPD (Zhao et al., ICCV 2023) judge referring
    expressions: `miou` is the mean of the images' IoU, `p@X` the share of images whose IoU is X or more, `oiou`
    the sum of intersections by the sum of unions, in which large things weigh more.
    """
    return {
        "miou": counts["iou"] / counts["items"],
        "oiou": counts["intersection"] / counts["union"],
        **{f"p@{t:g}": counts["reached"][..., i] / counts["items"] for i, t in enumerate(OVERLAPS)},
    }


def saliency_scores(counts: Mapping[str, Float[Tensor, "..."]]) -> dict[str, Float[Tensor, "*n"]]:
    """Scores of `SALIENCY_METRICS` from sums, for any leading axes; NaN where no pixel was judged.

    `max_f` is the largest F-measure over `CUTS` (beta^2 = 0.3; Achanta et al., CVPR 2009), of summed images as
    multi-task papers report it (Vandenhende et al., TPAMI 2021): one cut for all. `mae` is the mean absolute
    difference to the probability.
    """
    hits, found, inside = counts["hits"], counts["found"], counts["inside"][..., None]
    # (1 + b) P R / (b P + R) with both fractions multiplied out, so that finding nothing is 0.
    f = (1 + BETA_SQUARED) * hits / (BETA_SQUARED * inside + found).clamp(min=1e-9)
    judged = counts["pixels"] > 0
    return {
        "max_f": torch.where(judged, f.amax(-1), torch.nan),
        "mae": counts["error"] / counts["pixels"],
        "miou": counts["iou"] / counts["items"],
    }
