"""One row of counts per image; the scores and intervals that follow from all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ProtocolError, shortlist
from . import Pooling

Scores = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""A `*_scores` function: counts with any leading axes to scores with these axes."""


def percentiles(values: Float[Tensor, " r"], level: float = 0.95) -> tuple[float, float]:
    """The ends of the middle `level` of the values, leaving out NaN."""
    low, high = values.nanquantile(values.new_tensor([(1 - level) / 2, (1 + level) / 2])).tolist()
    return low, high


class Tally:
    """Counts of the images named by `keys`, as far as they have come in.

    Rows are read in the order of the sorted keys, whatever the order in which they were added, so results do
    not depend on batches, workers or the order of images, not even by rounding. What cannot be added up, such as
    ranked predictions, is kept beside the counts as an image's details. `source` names what an image was made from,
    by its key: images of one source are alike, so intervals draw them together.
    """

    def __init__(self, keys: Sequence[str], score: Scores, source: Callable[[str], str] = str) -> None:
        self.keys = tuple(sorted(keys))
        self.score = score
        self.source = source
        self._rows: dict[str, dict[str, Tensor] | None] = dict.fromkeys(self.keys)
        self._details: dict[str, Any] = {}
        if len(self._rows) < len(self.keys):
            twice = sorted({key for key, after in pairwise(self.keys) if key == after})
            raise ProtocolError(f"Images stand twice in the list: {shortlist(twice)}; list each once.")

    def add(self, keys: Sequence[str], counts: Mapping[str, Float[Tensor, "b ..."]]) -> None:
        """Take in a batch, one row an image. Raises `ProtocolError` for keys counted before or not listed."""
        for row, key in enumerate(keys):
            self._enter(key, {name: values[row].cpu() for name, values in counts.items()})

    def keep(self, key: str, details: Any) -> None:
        """Take in what is scored over the whole list at once."""
        self._details[key] = details

    def merge(self, part: Tally) -> None:
        """Take in another worker's rows. Raises `ProtocolError` for a key counted before or not listed."""
        for key, row in part._rows.items():
            if row is not None:
                self._enter(key, row)
        self._details |= part._details

    @property
    def missing(self) -> tuple[str, ...]:
        """Images that have no row yet."""
        return tuple(key for key, row in self._rows.items() if row is None)

    def counts(self) -> dict[str, Float[Tensor, "n ..."]]:
        """All rows, in the order of `keys`. Raises `ProtocolError` where images are missing."""
        rows = [row for row in self._rows.values() if row is not None]
        if len(rows) < len(self.keys) or not rows:
            raise ProtocolError(
                f"{len(self.missing)} of {len(self.keys)} images were not counted, such as "
                f"{shortlist(self.missing)}; half a list is another list, so count them or list fewer."
            )
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def details(self) -> list[Any]:
        """What was kept of the images, in the order of `keys`."""
        return [self._details[key] for key in self.keys]

    def per_image(self) -> dict[str, Float[Tensor, " n"]]:
        """Each image's scores in the order of `keys`; NaN where it has no pixel, or none of the class."""
        return self.score(self.counts())

    def scores(self, pooling: Pooling) -> dict[str, float]:
        """The scores of the whole list; NaN for a score that no image has."""
        one = torch.ones(1, len(self.keys), dtype=torch.float64)
        return {name: value.item() for name, value in self._estimate(one, pooling).items()}

    def intervals(
        self, pooling: Pooling, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
    ) -> dict[str, tuple[float, float]]:
        """Percentile bootstrap over images (Efron & Tibshirani, 1993, chapter 13): how far the choice of
        images alone moves the scores. It says nothing about the spread over seeds or trainings."""
        drawn = self.resampled(pooling, resamples=resamples, seed=seed)
        return {name: percentiles(values, level) for name, values in drawn.items()}

    def resampled(
        self, pooling: Pooling, *, resamples: int = 1000, seed: int = 0
    ) -> dict[str, Float[Tensor, " resamples"]]:
        """The scores of lists drawn from this one with replacement. Tallies of the same images draw the same lists, so
        that differences between two of them are paired."""
        sources = [self.source(key) for key in self.keys]
        numbers = {source: number for number, source in enumerate(dict.fromkeys(sources))}
        n = len(numbers)
        draws = torch.randint(n, (resamples, n), generator=torch.Generator().manual_seed(seed))
        times = torch.zeros(resamples, n, dtype=torch.float64)
        times.scatter_add_(1, draws, torch.ones_like(times))
        return self._estimate(times[:, [numbers[source] for source in sources]], pooling)

    def _estimate(self, weights: Float[Tensor, "r n"], pooling: Pooling) -> dict[str, Float[Tensor, " r"]]:
        """The scores of r lists in which image i stands `weights[:, i]` times."""
        if pooling == "pooled":
            counts = self.counts().items()
            return self.score({name: torch.tensordot(weights, c.double(), dims=1) for name, c in counts})
        means = {}
        for name, values in self.per_image().items():
            known = values.isfinite()
            total = weights @ torch.where(known, values, 0.0).double()
            means[name] = total / (weights @ known.double())
        return means

    def _enter(self, key: str, row: dict[str, Tensor]) -> None:
        if key not in self._rows:
            raise ProtocolError(f"Image {key!r} is not on the list of {len(self.keys)}; give the list it is on.")
        if self._rows[key] is not None:
            raise ProtocolError(f"Image {key!r} was counted twice; cut the work into disjoint parts.")
        self._rows[key] = row
