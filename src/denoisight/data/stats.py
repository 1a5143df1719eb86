"""What a data set holds, counted in one walk and flat memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..annotations import Annotation, Boxes, Depth, Labels, Mask, Normals
from ..errors import DataError
from .readers import Reader

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BINS = torch.logspace(-3, 3, 6001, dtype=torch.float64)
"""Edges of depth bins, a millimetre to a kilometre (or so many units): quantiles are right to 0.25 %."""


class _Counts:
    """Counts of one truth over a data set; `update` with each annotation, then `report`."""

    def __init__(self) -> None:
        self.pixels = 0
        self.valid = 0
        self.depth_bins = torch.zeros(len(BINS) + 1, dtype=torch.int64)
        self.classes: Counter[str] = Counter()
        self.inside = 0.0
        self.boxes = 0
        self.gauge = ""

    def update(self, annotation: Annotation) -> None:
        assert isinstance(annotation, Depth | Normals | Labels | Mask | Boxes)
        valid = annotation.valid
        if isinstance(annotation, Boxes):
            self.boxes += int(valid.sum())
            return
        self.pixels += valid.numel()
        self.valid += int(valid.sum())
        match annotation:
            case Depth():
                self.gauge = annotation.gauge
                values = annotation.values[valid].double()
                self.depth_bins += torch.bincount(torch.bucketize(values, BINS), minlength=len(BINS) + 1)
            case Labels() if annotation.classes:
                found = torch.bincount(annotation.ids[valid], minlength=len(annotation.classes))
                self.classes.update(dict(zip(annotation.classes, found.tolist(), strict=True)))
            case Mask():
                self.inside += float(annotation.probability[valid].sum())

    def report(self) -> dict[str, Any]:
        """Shares of all pixels (valid) or of valid ones (classes, inside); depth quantiles in its unit."""
        if not self.pixels:
            return {"boxes": self.boxes}
        shares: dict[str, Any] = {"valid_share": self.valid / self.pixels}
        if self.gauge:
            shares |= {"gauge": self.gauge, "quantiles": _quantiles(self.depth_bins)}
        if self.classes:
            total = max(1, self.valid)
            shares["class_shares"] = {name: count / total for name, count in self.classes.items()}
        if self.inside:
            shares["inside_share"] = self.inside / self.valid
        return shares


def statistics(reader: Reader) -> dict[str, Any]:
    """Count, sizes, mean colour and each truth's valid share, depth quantiles and class shares.

    Raises `DataError` for an empty reader and for the first file that cannot be read.
    """
    if not len(reader):
        raise DataError(f"{reader.name} has no samples to count; choose another split.")
    sizes: Counter[str] = Counter()
    colour_sum, pixels = torch.zeros(3, dtype=torch.float64), 0
    counts: Mapping[str, _Counts] = {truth: _Counts() for truth in reader.truths}
    for i in range(len(reader)):
        sample = reader[i]
        height, width = sample.size
        sizes[f"{width}x{height}"] += 1
        colour_sum += sample.image.sum((1, 2), dtype=torch.float64)
        pixels += height * width
        for truth, count in counts.items():
            count.update(sample.truths[truth])
    return {
        "name": reader.name,
        "count": len(reader),
        "sizes": dict(sizes.most_common()),
        "mean_colour": (colour_sum / pixels).tolist(),
        "classes": list(reader.classes),
        "truths": {truth: count.report() for truth, count in counts.items()},
    }


def _quantiles(bins: Tensor) -> dict[str, float]:
    """Read off the histogram: the geometric middle of the bin that each falls into."""
    total = int(bins.sum())
    if not total:
        return {}
    below = bins.cumsum(0)
    places = [int(torch.searchsorted(below, q * total)) for q in QUANTILES]
    edges = torch.cat([BINS[:1], BINS, BINS[-1:]])
    return {
        f"{q:g}": float((edges[place] * edges[place + 1]).sqrt()) for q, place in zip(QUANTILES, places, strict=True)
    }
