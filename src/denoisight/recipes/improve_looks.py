"""How each round's pictures look beside the real ones: how far they are from them, and whether a judge agrees with
their labels."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..annotations import Annotation, Boxes, Sample
from ..create.annotate import Annotating, annotate
from ..create.pairs import source_key
from ..data.open import open_data, subset
from ..data.readers import Reader
from ..data.view import View
from ..errors import DenoisightError
from ..evaluate.creation_results import Scores
from ..predict.load import load
from ..predict.model import Model
from ..predict.options import Options
from ..runtime import item_seed
from ..train.validate import CHOOSE_BY
from .creation import agreement, judge_images
from .improve_stages import counted

log = logging.getLogger(__name__)

MOST = 2048
"""Pictures of either kind that are looked at: distances of fewer say little, and there may be millions."""
FEW = 256
"""So many where time is short; and so many are labelled anew in the end, one by one."""


class Looks:
    """Sees every round's pictures with the same eyes: the features of `model`, which all began with, and `judge`, a
    model that learnt elsewhere, if there is one. `real` are the labelled pictures: half of them as they are, and what
    was created from the other half, since a picture beside its own source is nearer than to any other; at most `most`
    of either are seen. What networks are asked about is counted in `passes`."""

    def __init__(
        self,
        real: Reader,
        model: str,
        judge: str = "",
        device: str = "auto",
        most: int = MOST,
        allow_pickle: bool = False,
    ) -> None:
        self.real, self.model, self.judge_name, self.device, self.most = real, model, judge, device, most
        self.allow_pickle = allow_pickle

    @cached_property
    def eyes(self) -> Model:
        return load(self.model, self.device, allow_pickle=self.allow_pickle)

    @cached_property
    def judge(self) -> Model | None:
        return load(self.judge_name, self.device) if self.judge_name else None

    def at(self, pictures: Path, passes: Counter[str]) -> dict[str, Any]:
        """The kernel inception distance to the real pictures and the share that lies among them, in these features, and
        the judge's agreement by task, each as [value, low, high]; or why there is none."""
        try:
            created, real = (_some(half, self.most) for half in self._halves(open_data(str(pictures), "all")))
            with ExitStack() as counting:
                for model in filter(None, (self.eyes, self.judge)):
                    counting.enter_context(counted(model.parts.backbone.unet, passes))
                seen = judge_images(created, real, features=self.eyes, judge=self.judge, options=Options(batch=16))
        except DenoisightError as error:
            log.warning("%s was not judged: %s", pictures.name, error)
            return {"notes": [f"Not judged: {error}"]}
        (features,) = seen.result.features
        told = {name: _bounds(features.created, name) for name in ("kid", "precision")}
        agreed = {each.task: _bounds(each.created, each.metric) for each in seen.result.agreement}
        return {**told, "agreement": agreed, "notes": list(seen.result.notes)}

    def _halves(self, made: Reader) -> tuple[Reader, Reader]:
        """Pictures created from one half of the labelled ones, and the other half, by a hash of their keys."""
        real = self.real.keys
        ranked = sorted(range(len(real)), key=lambda i: item_seed(0, real[i]))
        half = len(ranked) // 2
        sources = {real[i] for i in ranked[half:]}
        created = [i for i, key in enumerate(made.keys) if source_key(key) in sources]
        return subset(made, created), subset(self.real, sorted(ranked[:half]))

    def after(self, pictures: Path, folder: Path, how: Annotating, passes: Counter[str]) -> dict[str, Any]:
        """The judge's agreement, in the same form, with what a model that has learnt from the pictures says of those
        that were looked at before."""
        assert self.judge
        try:
            model = load(folder, self.device)
            created, _ = self._halves(open_data(str(pictures), "all"))
            anew = Anew(_some(created, min(self.most, FEW)), model, how)
            with counted(model.parts.backbone.unet, passes), counted(self.judge.parts.backbone.unet, passes):
                found = agreement(self.judge, anew, Options(batch=16))
        except DenoisightError as error:
            log.warning("%s was not judged anew: %s", pictures.name, error)
            return {"notes": [f"Not judged anew: {error}"]}
        return {"agreement": {task: _bounds(scores, CHOOSE_BY[task][0]) for task, scores in found.items()}}


@dataclass(frozen=True)
class Anew(View):
    """The pictures of a reader with what a model says of them, where the reader's labels are valid."""

    model: Model
    how: Annotating

    @property
    def keys(self) -> Sequence[str]:
        return self.whole.keys

    def __getitem__(self, i: int) -> Sample:
        sample = self.whole[i]
        (labels,) = annotate(self.model, [sample.query], self.how)
        named = {self.model.task(task)[0].truth: label.annotation for task, label in labels.items()}
        return Sample(sample.query, {name: _where_known(seen, sample.truths[name]) for name, seen in named.items()})


def _where_known(annotation: Annotation, told: Annotation) -> Annotation:
    return annotation if isinstance(told, Boxes) else annotation.without(~told.valid)  # type: ignore[attr-defined]


def _some(reader: Reader, most: int) -> Reader:
    return subset(reader, min(len(reader), most))


def _bounds(scores: Scores, name: str) -> list[float | None]:
    score = scores[name]
    return [score.value, score.low, score.high]
