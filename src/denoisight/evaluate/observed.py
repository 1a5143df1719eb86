"""What is kept of a set of images that is judged: features and shares of labels, and no image.

Images are read once, in batches, and forgotten. Rows are in the order of sorted keys, so that results do not hang on
the order of a folder.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..annotations import Sample, base_of
from ..data.readers import Reader
from ..errors import UsageError
from .creation_results import Images
from .features import Features, check_names
from .protocols import list_hash
from .run import Progress
from .statistics import Statistic, shares_of

DIVERSITY_IMAGES = 500
"""How many images of a set their pairs are measured of, at most."""


@dataclass(frozen=True, eq=False)
class Observed:
    """What is kept of a set: by features' names vectors, and of some images grids; by statistics' names shares."""

    name: str
    keys: tuple[str, ...]
    sizes: Mapping[str, int]
    vectors: Mapping[str, Float[Tensor, "n d"]]
    grids: Mapping[str, Float[Tensor, "m e"]]
    sources: Int64[Tensor, " m"]
    """What the images with a grid came from, by number."""
    shares: Mapping[str, Float[Tensor, "n b"]]

    @property
    def sources_of_keys(self) -> Int64[Tensor, " n"]:
        """What every image was made from, by number: images of one source are alike, and no witnesses of their own.
        Of one that no image was made from, it is itself."""
        numbers: dict[str, int] = {}
        return torch.tensor([numbers.setdefault(base_of(key), len(numbers)) for key in self.keys])

    def images(self) -> Images:
        return Images(name=self.name, num_images=len(self.keys), list_hash=list_hash(self.keys), sizes=dict(self.sizes))

    def spread(self, count: int) -> Int64[Tensor, " n"]:
        """The rows of so many images, or of all: those whose keys hash lowest."""
        ranked = sorted(range(len(self.keys)), key=lambda i: _hash(self.keys[i]))
        return torch.tensor(sorted(ranked[:count]))


def source_of(sample: Sample) -> str:
    """What a created image came from: the image that it was made from, else its caption."""
    name = base_of(sample.key)
    return name if name != sample.key else sample.query.text or sample.key


def observe(
    reader: Reader,
    features: Sequence[Features],
    statistics: Sequence[Statistic] = (),
    *,
    source: Callable[[Sample], str] = source_of,
    batch: int = 16,
    progress: Progress = iter,
) -> Observed:
    """Read every image once. Pictures are rounded to 8 bits, as files are. Raises `UsageError` for fewer than two."""
    check_names(features)
    if len(reader) < 2:
        raise UsageError(f"{reader.name} has {len(reader)} images, but a set to judge needs two; give more.")
    keys = list(reader.keys)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    sizes: Counter[str] = Counter()
    vectors: dict[str, list[Tensor]] = {one.name: [] for one in features}
    shares: dict[str, list[Tensor]] = {each.name: [] for each in statistics}
    grids = _Grids(DIVERSITY_IMAGES)
    for chunk in progress([order[i : i + batch] for i in range(0, len(order), batch)]):
        samples = [reader[i] for i in chunk]
        sizes.update(f"{sample.size[1]}x{sample.size[0]}" for sample in samples)
        images = [(sample.image.clamp(0, 1) * 255).round() / 255 for sample in samples]
        seen = {one.name: one.see(images) for one in features}
        for name, (found, _) in seen.items():
            vectors[name].append(found.float())
        maps = {name: found.grids.half() for name, found in seen.items() if found.grids is not None}
        for row, sample in enumerate(samples):
            grids.add(source(sample), sample.key, {name: rows[row].clone() for name, rows in maps.items()})
            for each in statistics:
                shares[each.name].append(shares_of(each, sample))
    kept, sources = grids.stacked()
    return Observed(
        reader.name,
        tuple(keys[i] for i in order),
        dict(sorted(sizes.items())),
        {name: torch.cat(rows) for name, rows in vectors.items()},
        kept,
        sources,
        {name: torch.stack(rows) for name, rows in shares.items()},
    )


@dataclass
class _Grids:
    """Grids of the first sources by a hash of their names, all images of each, as many as fit into `most` images; where
    one alone has more, of its first by a hash of their keys."""

    most: int
    rows: dict[str, dict[str, dict[str, Tensor]]] = field(default_factory=dict)
    count: int = 0
    beyond: bytes = b"\xff" * 65
    """Sources whose hash is not below this one did not fit."""

    def add(self, source: str, key: str, row: dict[str, Tensor]) -> None:
        if not row or _hash(source) >= self.beyond:
            return
        self.rows.setdefault(source, {})[key] = row
        self.count += 1
        while self.count > self.most and len(self.rows) > 1:
            last = max(self.rows, key=_hash)
            self.beyond = _hash(last)
            self.count -= len(self.rows.pop(last))
        if self.count > self.most:
            (alone,) = self.rows.values()
            del alone[max(alone, key=_hash)]
            self.count -= 1

    def stacked(self) -> tuple[dict[str, Tensor], Int64[Tensor, " m"]]:
        ordered = sorted(self.rows, key=_hash)
        rows = [row for source in ordered for row in self.rows[source].values()]
        numbers = [number for number, source in enumerate(ordered) for _ in self.rows[source]]
        names = rows[0] if rows else {}
        return {name: torch.stack([row[name] for row in rows]).float() for name in names}, torch.tensor(
            numbers, dtype=torch.int64
        )


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode()).digest()
