"""Several readers as one endless, weighted data set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import Dataset

from ..annotations import Sample
from ..errors import DataError, UsageError
from ..runtime import generator
from .readers import Reader


class Mix(Dataset[Sample]):
    """Item i is any sample, uniformly, of a reader that is drawn with probability weights[r] / sum(weights).

    Which one hangs on `seed` and i alone, so that a mix is the same in any order and with any number of
    workers. Samples have the truths that all readers have. `length` is that of all readers by default.

    Raises `UsageError` for weights that do not fit, `DataError` for readers without a common truth or with
    different semantic classes.
    """

    def __init__(
        self, readers: Sequence[Reader], weights: Sequence[float], length: int | None = None, seed: int = 0
    ) -> None:
        if len(weights) != len(readers) or not readers or min(weights) < 0 or sum(weights) <= 0:
            raise UsageError(f"{len(readers)} readers and weights {list(weights)}; give each a weight of 0 or more.")
        self.readers = tuple(readers)
        self.truths = tuple(t for t in readers[0].truths if all(t in reader.truths for reader in readers))
        if not self.truths:
            raise DataError(f"{', '.join(r.name for r in readers)} have no truth in common; mix others.")
        if "semantic" in self.truths and len({reader.classes for reader in readers}) > 1:
            names = ", ".join(reader.name for reader in readers)
            raise DataError(f"{names} have different classes; give them one classes.json.")
        self.bounds = torch.tensor(weights, dtype=torch.float64).cumsum(0) / sum(weights)
        self.length = sum(len(reader) for reader in readers) if length is None else length
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> Sample:
        if not 0 <= i < self.length:
            raise IndexError(f"Item {i} of a mix of {self.length}.")
        which, place = torch.rand(2, generator=generator(self.seed, f"mix/{i}"), dtype=torch.float64)
        reader = self.readers[int(torch.searchsorted(self.bounds, which, right=True))]
        sample = reader[int(place * len(reader))]
        return sample.only(self.truths)
