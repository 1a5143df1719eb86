"""How each round's pictures look beside the real ones: how far they are from them, and whether a judge agrees with
their labels."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data.open import open_data, subset
from ..data.readers import Reader
from ..errors import DenoisightError
from ..evaluate.creation_results import Scores
from ..evaluate.features import Features, taps_of
from ..predict.load import load
from ..predict.model import Model
from ..predict.options import Options
from .creation import judge_images

log = logging.getLogger(__name__)

MOST = 2048
"""Pictures of either kind that are looked at: distances of fewer say little, and there may be millions."""


class Looks:
    """Sees every round's pictures with the same eyes: the features of `model`, which all began with, and `judge`, a
    model that learnt elsewhere, if there is one. `real` are the labelled pictures."""

    def __init__(self, real: Reader, model: str, judge: str = "", device: str = "auto") -> None:
        self.real, self.model, self.judge_name, self.device = real, model, judge, device

    @cached_property
    def eyes(self) -> Features:
        return taps_of(load(self.model, self.device))

    @cached_property
    def judge(self) -> Model | None:
        return load(self.judge_name, self.device) if self.judge_name else None

    def at(self, pictures: Path) -> dict[str, Any]:
        """The kernel inception distance to the real pictures and the share that lies among them, in these features, and
        the judge's agreement by task, each as [value, low, high]; or why there is none."""
        try:
            created, real = _some(open_data(str(pictures), "all")), _some(self.real)
            seen = judge_images(created, real, features=self.eyes, judge=self.judge, options=Options(batch=16))
        except DenoisightError as error:
            log.warning("%s was not judged: %s", pictures.name, error)
            return {"notes": [f"Not judged: {error}"]}
        (features,) = seen.result.features
        agreed = {each.task: _bounds(each.created, each.metric) for each in seen.result.agreement}
        told = {name: _bounds(features.created, name) for name in ("kid", "precision")}
        return {**told, "agreement": agreed, "notes": list(seen.result.notes)}


def _some(reader: Reader) -> Reader:
    return subset(reader, min(len(reader), MOST))


def _bounds(scores: Scores, name: str) -> list[float | None]:
    score = scores[name]
    return [score.value, score.low, score.high]
