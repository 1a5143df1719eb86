"""Depth against metres: AbsRel, RMSE, log10, scale-invariant log error, and the deltas."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..annotations import Depth
from ..errors import ProtocolError
from . import Metric
from .align import Alignment, align

METRICS = {
    "abs_rel": Metric("ratio", "lower"),
    "rmse": Metric("m", "lower"),
    "log10": Metric("log10", "lower"),
    "silog": Metric("100 x log", "lower"),
    "delta1": Metric("fraction", "higher"),
    "delta2": Metric("fraction", "higher"),
    "delta3": Metric("fraction", "higher"),
}

_SMALLEST = 1e-6


def depth_counts(
    prediction: Depth, truth: Depth, *, alignment: Alignment, range_m: tuple[float, float]
) -> dict[str, Float[Tensor, " b"]]:
    """Sums over the judged pixels of each image: where the truth is valid and strictly inside `range_m`.

    In this order, as Marigold does (Ke et al., CVPR 2024): align, clip to `range_m`, clip to at least 1e-6.
    A pixel that the prediction declares invalid stays out of the fit and is then judged as the near end of
    the range; `unanswered` counts such pixels. Batches are [b h w]. Raises `ProtocolError` for gauges that
    cannot be compared.
    """
    if truth.gauge != "metres":
        raise ProtocolError(f"A truth of gauge {truth.gauge!r} judges nothing; give truths in metres.")
    near, far = range_m
    mask = judged(truth, range_m)
    aligned = align(prediction, truth, alignment, mask)
    p = torch.where(prediction.valid, aligned, near).clamp(near, far).clamp(min=_SMALLEST)
    g = torch.where(mask, truth.values, 1.0).double()
    log_ratio = torch.log(p) - torch.log(g)
    ratio = torch.maximum(p / g, g / p)

    def total(values: Tensor) -> Tensor:
        return torch.where(mask, values.double(), 0.0).sum((-2, -1))

    return {
        "pixels": total(mask),
        "unanswered": total(~prediction.valid),
        "abs_rel": total((p - g).abs() / g),
        "square": total((p - g) ** 2),
        "log10": total((torch.log10(p) - torch.log10(g)).abs()),
        "log": total(log_ratio),
        "log_square": total(log_ratio**2),
        **{f"delta{n}": total(ratio < 1.25**n) for n in (1, 2, 3)},
    }


def depth_scores(counts: Mapping[str, Float[Tensor, "*n"]]) -> dict[str, Float[Tensor, "*n"]]:
    """Scores of `METRICS` from sums, for any leading axes; NaN where no pixel was judged.

    AbsRel, RMSE, delta_n: Eigen et al., NeurIPS 2014, section 4. silog = 100 sqrt(E[d^2] - E[d]^2) with d the
    difference of logs (the KITTI benchmark's).
    """
    pixels = counts["pixels"]
    mean = {name: value / pixels for name, value in counts.items()}
    return {
        "abs_rel": mean["abs_rel"],
        "rmse": mean["square"].sqrt(),
        "log10": mean["log10"],
        "silog": 100 * (mean["log_square"] - mean["log"] ** 2).clamp(min=0).sqrt(),
        **{f"delta{n}": mean[f"delta{n}"] for n in (1, 2, 3)},
    }


def judged(truth: Depth, range_m: tuple[float, float]) -> Bool[Tensor, "*b h w"]:
    """Where the truth is known and strictly between the ends of the range."""
    near, far = range_m
    return truth.valid & (truth.values > near) & (truth.values < far)
