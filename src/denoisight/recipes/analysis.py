"""What an analysis of a walk writes down: `analysis.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import DataError
from ..evaluate.protocols import Protocol
from ..evaluate.results import Score
from ..metrics import Metric
from ..runtime import write_text


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Walk(_Part):
    """One number of steps: of each metric the mean over seeds after every step, with its 95 % interval over images and
    seeds, and the same of each seed [seeds][steps]. `seconds` is the time of the whole walk for one image, warm."""

    steps: int
    timesteps: tuple[int, ...]
    scores: dict[str, tuple[Score, ...]]
    by_seed: dict[str, tuple[tuple[float | None, ...], ...]]
    seconds: float


class Shape(_Part):
    """How the deciding metric runs along the longest walk. Gains and losses are positive whatever its direction.

    `startup_gain` is the best step's score against the first one's, `late_loss` the last one's against the best one's
    (over all steps, whatever the model's stopping point), `relative_loss` that in shares of the best score. Steps count
    from 1.
    """

    trivial: float
    trivial_name: str
    first: Score
    best_step: int
    best: Score
    last: Score
    startup_gain: Score
    late_loss: Score
    relative_loss: float | None


class CausesFound(_Part):
    """See `evaluate.causes.Causes`: values after every step, means over seeds; `varying` is None with one seed."""

    num_images: int
    own: tuple[float | None, ...]
    fed: tuple[float | None, ...]
    detail: tuple[float | None, ...]
    fed_detail: tuple[float | None, ...]
    error: tuple[float | None, ...]
    varying: tuple[float | None, ...] | None


class Stopping(_Part):
    """A walk of `steps` steps of which `taken` are taken; `behind` is what it loses against the best of all."""

    steps: int
    taken: int
    stop_at: float
    score: float
    behind: Score


class Analysis(_Part):
    schema_version: Literal[1] = 1
    model: str
    model_hash: str
    protocol: Protocol
    num_images: int
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    metric: str
    metrics: dict[str, Metric]
    walks: tuple[Walk, ...]
    """By steps; the last is the longest, which everything else is about."""
    shape: Shape
    causes: CausesFound
    verdict: str
    rule: str
    candidates: tuple[Stopping, ...]
    recommended: Stopping
    stored: str
    """"" where the recommendation stands in the model's `model.json` now, else why it does not."""
    law: str
    """The file beside this one that holds the measured law."""
    versions: dict[str, str]

    def write(self, folder: Path | str) -> None:
        write_text(Path(folder) / "analysis.json", self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path | str) -> Analysis:
        """Raises `DataError` for an `analysis.json` that is missing, damaged or of another version."""
        path = Path(folder) / "analysis.json"
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise DataError(f"Cannot read {path} as an analysis of this version ({error}); analyse again.") from error
