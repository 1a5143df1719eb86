"""What an evaluation writes down: `results.json`, a row a predictor, and `per_image.csv`, a row an image."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import DataError
from ..metrics import Metric, Pooling
from ..runtime import whole_file, write_text
from .protocols import Protocol

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

NAMED_SETTINGS = ("steps", "ensemble", "dtype", "resolution")
"""Every row names these; None where they do not apply."""


class Score(BaseModel, frozen=True, extra="forbid"):
    """A value and its 95 % bootstrap interval over images; None where no image has one."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, *numbers: float) -> Score:
        value, low, high = (None if math.isnan(number) else number for number in numbers)
        return cls(value=value, low=low, high=high)


class Result(BaseModel):
    """One predictor judged by one protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    predictor: str
    model_hash: str | None
    protocol: Protocol
    partial: bool
    """These are not the protocol's images, but some of them or others: compare with nothing."""
    num_images: int
    num_empty: int
    """Images without a pixel to judge; they take no part in means over images."""
    unanswered: float
    """The share of judged pixels for which the prediction declared to know nothing."""
    list_hash: str
    seed: int
    settings: dict[str, Any]
    scores: dict[Pooling, dict[str, Score]]
    metrics: dict[str, Metric]
    versions: dict[str, str]
    keys: tuple[str, ...] = Field(default=(), exclude=True)
    per_image: dict[str, list[float]] = Field(default_factory=dict, exclude=True)

    @field_validator("settings")
    @classmethod
    def _name_settings(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return {**dict.fromkeys(NAMED_SETTINGS), **settings}

    @property
    def headline(self) -> dict[str, Score]:
        """The scores under the pooling that the protocol quotes."""
        return self.scores[self.protocol.pooling]

    def write(self, folder: Path | str) -> None:
        Results(results=(self,)).write(folder)


class Results(BaseModel):
    """All rows of one evaluation, trivial baselines among them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    results: tuple[Result, ...]

    def write(self, folder: Path | str) -> None:
        """`results.json` and `per_image.csv` in `folder`, each whole or absent."""
        folder = Path(folder)
        rows = [row for result in self.results for row in _rows(result)]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with whole_file(folder / "per_image.csv") as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        write_text(folder / "results.json", self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path | str) -> Results:
        """Without the rows of images, which stay in the CSV. Raises `DataError` for a `results.json` that is
        missing, damaged or of another version."""
        path = Path(folder) / "results.json"
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise DataError(f"Cannot read {path} as results of this version ({error}); evaluate again.") from error


def _rows(result: Result) -> list[dict[str, str]]:
    """Unknown scores are left empty."""
    about = {"protocol": result.protocol.name, "task": result.protocol.task, "predictor": result.predictor}
    return [
        {**about, "key": key}
        | {name: "" if math.isnan(v[row]) else f"{v[row]:.6g}" for name, v in result.per_image.items()}
        for row, key in enumerate(result.keys)
    ]
