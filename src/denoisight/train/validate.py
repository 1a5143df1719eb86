"""How good a model is on its validation images, in one number a task."""

from __future__ import annotations

from collections.abc import Sequence

from ..annotations import Annotation, Query
from ..data.readers import Reader
from ..evaluate.own import own
from ..evaluate.run import count
from ..predict.model import Model, Options, Route

CHOOSE_BY = {"depth": ("abs_rel", 1.0), "normals": ("mean", 1.0), "semantic": ("miou", -1.0)}
"""The score that decides between two states of a model, and its sign as a loss."""

SCALE = {"depth": 1.0, "normals": 90.0, "semantic": 1.0}
"""Brings the deciding scores to about one range, so that several tasks can be added."""


def validate(
    model: Model, tasks: Sequence[str], route: Route, reader: Reader, steps: int, batch: int = 16
) -> dict[str, float]:
    """The deciding score of each task, and "badness": their sum as losses, by which the best model is kept."""
    scores: dict[str, float] = {}
    badness = 0.0
    for task in tasks:

        def predictor(queries: Sequence[Query], seed: int, task: str = task) -> list[Annotation]:
            asked = model.stream(queries, task, Options(steps=steps, route=route, seed=seed, batch=batch))
            return [prediction.annotation for prediction in asked]

        tally = count(predictor, own(reader, task), reader, range(len(reader)), batch=batch)
        metric, sign = CHOOSE_BY[task]
        value = tally.scores("pooled" if task != "depth" else "per-image")[metric]
        scores[f"{task}/{metric}"] = value
        badness += sign * value / SCALE[task]
    return {**scores, "badness": badness}
