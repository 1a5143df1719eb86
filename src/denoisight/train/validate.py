"""How good a model is on its validation images, in one number a task."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..annotations import Annotation, Query
from ..data.readers import Reader
from ..evaluate.own import own
from ..evaluate.run import count
from ..predict.model import Model
from ..predict.options import Options, Route

CHOOSE_BY = {
    "depth": ("abs_rel", 1.0),
    "normals": ("mean", 1.0),
    "semantic": ("miou", -1.0),
    "parts": ("miou", -1.0),
    "referring": ("miou", -1.0),
    "saliency": ("max_f", -1.0),
    "boundary": ("max_f", -1.0),
    "instances": ("pq", -1.0),
    "detection": ("pq", -1.0),
}
"""The score that decides between two states of a model, and its sign as a loss."""

WORST = 1e6
"""Stands for a loss that no image tells: finite, so that the other tasks still decide between two states."""

SCALE = {"normals": 90.0}
"""Brings the deciding scores to about one range, so that several tasks can be added; 1 where nothing is said."""


def validate(
    model: Model, tasks: Sequence[str], route: Route, reader: Reader, steps: int, batch: int = 16
) -> dict[str, float]:
    """The deciding score of each task, and "badness": their sum as losses, by which the best model is kept.

    Tasks that only ask for others, like "instruct", have no score of their own. A score that no image has, such as
    that of instances where none are seen, counts as the worst.
    """
    scores: dict[str, float] = {}
    badness = 0.0
    for task in (name for name in tasks if name in CHOOSE_BY):

        def predictor(queries: Sequence[Query], seed: int, task: str = task) -> list[Annotation]:
            asked = model.stream(queries, task, Options(steps=steps, route=route, seed=seed, batch=batch))
            return [prediction.annotation for prediction in asked]

        protocol = own(reader, task)
        tally = count(predictor, protocol, reader, range(len(reader)), batch=batch)
        metric, sign = CHOOSE_BY[task]
        value = tally.scores(protocol.pooling)[metric]
        scores[f"{task}/{metric}"] = value
        if math.isnan(value):
            value = WORST if sign > 0 else 0.0
        badness += sign * value / SCALE.get(task, 1.0)
    return {**scores, "badness": badness}
