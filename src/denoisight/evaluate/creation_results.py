"""What a judgement of created images writes down: `creation.json`, and `per_image.csv`, a row a created image."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import DataError
from ..metrics import Metric
from ..runtime import whole_file, write_text
from .results import Score

Scores = dict[str, Score]

METRICS: Mapping[str, Metric] = {
    "fid": Metric("distance", "lower"),
    "kid": Metric("distance", "lower"),
    "precision": Metric("fraction", "higher"),
    "recall": Metric("fraction", "higher"),
    "density": Metric("ratio", "higher"),
    "coverage": Metric("fraction", "higher"),
}
"""Of one set against the real images, in the features of one network."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Images(_Part):
    """A set: how many images of which sizes ("WIDTHxHEIGHT"), and the hash of their sorted keys."""

    name: str
    num_images: int
    list_hash: str
    sizes: dict[str, int]


class Pair(_Part):
    """A created image and the training image nearest to it; `ratio` is their distance over `Copies.held_out`."""

    key: str
    nearest: str
    ratio: float | None


class Copies(_Part):
    """How near created images come to the training images: `ratio` is the median over created images of the distance
    to the nearest training image, over `held_out`, the same median of real images that are not for training. Around 1
    where created images are as new as real ones are, far below where they copy. `close` is the share of created images
    that lie nearer to a training image than all but 5 % of the real images do: 0.05 where none are copies. `nearest`
    are the nearest pairs."""

    held_out: float
    ratio: Score
    close: Score
    nearest: tuple[Pair, ...]


class Diversity(_Part):
    """Mean distances in the model's own features (`metrics.diversity`) between created images of one source, of
    different sources, and between real images; of at most so many images of each set."""

    created_within: Score
    created_across: Score
    real: Score
    num_created: int
    num_sources: int
    num_real: int


class InFeatures(_Part):
    """Sets against the real images in the features of one network, which `features` names. `train` is a reference: as
    many training images as were created, or all there are (`num_train`)."""

    features: str
    weights: str
    width: int
    created: Scores
    train: Scores | None
    num_train: int | None
    copies: Copies | None
    diversity: Diversity | None


class LabelStatistic(_Part):
    """How one property of the labels is distributed over a set, and how far that is from the real images': `js`, the
    Jensen-Shannon divergence in bits, and where bins are ordered `wasserstein`, in `unit`.

    `bins` are the bins' names, or their edges, one more than bins.
    """

    name: str
    truth: str
    unit: str
    bins: tuple[str, ...] | tuple[float, ...]
    shares: dict[str, tuple[float, ...]]
    created: Scores
    train: Scores | None


class Agreement(_Part):
    """What a judge model makes of the created labels, beside what it makes of real truths, which is its ceiling: on
    labels it cannot be expected to agree more. `metric` is the one to quote."""

    task: str
    judge: str
    weights: str
    settings: dict[str, Any]
    metric: str
    created: Scores
    real: Scores
    metrics: dict[str, Metric]


class CreationResult(_Part):
    schema_version: Literal[1] = 1
    created: Images
    real: Images
    train: Images | None
    features: tuple[InFeatures, ...]
    statistics: tuple[LabelStatistic, ...]
    agreement: tuple[Agreement, ...]
    metrics: dict[str, Metric] = Field(default_factory=lambda: dict(METRICS))
    settings: dict[str, Any]
    seed: int
    notes: tuple[str, ...]
    versions: dict[str, str]
    rows: tuple[dict[str, Any], ...] = Field(default=(), exclude=True)
    """Of each created image its key and its own numbers."""

    def write(self, folder: Path | str) -> None:
        """`creation.json` and `per_image.csv` in `folder`, each whole or absent."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with whole_file(Path(folder) / "per_image.csv") as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            table.writeheader()
            table.writerows({name: _text(value) for name, value in row.items()} for row in self.rows)
        write_text(Path(folder) / "creation.json", self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path | str) -> CreationResult:
        """Without the rows of images, which stay in the CSV. Raises `DataError` for a `creation.json` that is missing,
        damaged or of another version."""
        path = Path(folder) / "creation.json"
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise DataError(f"Cannot read {path} as a judgement of this version ({error}); judge again.") from error


def _text(value: Any) -> str:
    """Unknown numbers are left empty."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
