"""Wiring of what a run learns from its own eyes: pictures beside the data, and who answers for them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..data.open import folder_of, open_data, open_pictures, subset
from ..data.readers import Reader
from ..data.readers.folder import folder_info
from ..data.unlabelled import Joined, Renamed, Unlabelled
from ..errors import RecipeError
from ..models.folder import Parts
from ..predict.readout import features
from ..tasks import Task, make_tasks
from ..train.ema import Averaged, EMAModel, averaged, decay_of
from ..train.objectives import ReadoutObjective
from ..train.self_improve import DenoiseTeacher, ReadoutTeacher, SelfTaught, SelfTeaching, Teacher
from .base import Recipe

log = logging.getLogger(__name__)


def beside(recipe: Recipe, reader: Reader) -> Reader:
    """The labelled samples and the pictures beside them, or the latter alone. Raises `RecipeError` for tasks whose
    truths answer to words, since nobody says what such a picture is asked for."""
    own = recipe.self_teaching
    if not own.pictures:
        return reader
    check_self_teaching(recipe)
    size = (recipe.res or 64,) * 2
    # Nothing is judged on created pictures, so none are held out.
    split = "all" if _are_created(own.pictures) else "train"
    if own.labels == "own":
        truths = [task.truth for task in make_tasks(recipe.tasks, ("any",))]
        pictures = open_data(own.pictures, split, truths, size=size)
    else:
        pictures = Unlabelled(open_pictures(own.pictures, split, size=size, annotated=False), reader)
    chosen = subset(pictures, min(own.count, len(pictures))) if own.count else pictures
    if own.labels == "own":
        chosen = Renamed(chosen, "beside")
    return Joined((chosen,)) if own.alone else Joined((reader, chosen), own.labelled)


def _are_created(spec: str) -> bool:
    folder = folder_of(spec)
    return folder is not None and folder_info(folder).created


def check_self_teaching(recipe: Recipe) -> None:
    """Raises `RecipeError` for what does not go together with learning from pictures beside the data."""
    own = recipe.self_teaching
    if spoken := {"referring", "detection"} & set(recipe.tasks):
        raise RecipeError(f"Nobody can tell what {spoken.pop()} shall find on pictures without truths; leave it out.")
    if own.dropout and recipe.route != "readout":
        raise RecipeError(
            "self_teaching.dropout is of heads that read features; leave it out, or take --route readout."
        )
    if own.labels == "own":
        used = {"pictures", "count", "labelled", "alone", "labels", "mirror", "average_over"}
        if unused := [
            name for name, value in own if name not in used and value != getattr(Recipe().self_teaching, name)
        ]:
            raise RecipeError(
                f"self_teaching.{unused[0]} is of labels that the average gives; leave it out where pictures have "
                "labels of their own."
            )
        if recipe.teaching.create:
            raise RecipeError(
                "Pictures with labels of their own would be learnt to be created, too; leave --self-teaching.labels as "
                "they are, or learn no creation: by --route readout in denoisight improve, by --teaching.create 0 in "
                "denoisight train."
            )


def average_of(recipe: Recipe, objective: nn.Module) -> EMAModel:
    """The average that is validated and kept: beside pictures of its own it starts as what it is, a good model."""
    if not recipe.self_teaching.pictures:
        return averaged(objective, recipe.optim.ema)
    return averaged(objective, decay_in(recipe, recipe.steps), steady=True)


def decay_in(recipe: Recipe, steps: float) -> float:
    """The decay a step of that average in a run of so many, of which a twentieth is its interval if nobody says."""
    each = recipe.images_per_step
    over = recipe.self_teaching.average_over or max(round(steps) * each // 20, each)
    return decay_of(recipe.optim.ema, over, each)


def self_taught(
    recipe: Recipe, objective: nn.Module, parts: Parts, tasks: Sequence[Task], average: EMAModel
) -> nn.Module:
    """The objective, taught by the average where there are pictures without truths."""
    own = recipe.self_teaching
    if not own.pictures or own.labels == "own":
        return objective
    if own.confidence:
        check_doubts(_undoubted(recipe, tasks), len(tasks), "--self-teaching.confidence")
    ramp = own.ramp / recipe.images_per_step
    how = SelfTeaching(own.weight, ramp, own.confidence, own.dropout, own.colour, own.hidden, own.mirror)
    return SelfTaught(objective, _teacher(objective, parts, tasks, average, how), how)


def check_doubts(sure: Sequence[str], num_tasks: int, flag: str) -> None:
    """Says of which tasks nothing tells how sure answers are, which `flag` asks for; raises `RecipeError` where that is
    all."""
    what = f"Nothing tells how sure answers about {' and '.join(sure)} are, which {flag} asks for"
    if len(sure) == num_tasks:
        raise RecipeError(f"{what}; leave it out, or learn what can be doubted (normals, semantic) by --route readout.")
    if sure:
        log.warning("%s: they are taken as they are.", what)


def _undoubted(recipe: Recipe, tasks: Sequence[Task]) -> list[str]:
    if recipe.route == "denoise":
        return [task.name for task in tasks]
    blank = torch.zeros(1, 3, 2, 2)
    answers = {task.name: task.head.read(torch.zeros(1, task.head.channels, 2, 2), blank) for task in tasks}
    return [name for name, answer in answers.items() if answer.uncertainty is None]


def _teacher(
    objective: nn.Module, parts: Parts, tasks: Sequence[Task], average: EMAModel, how: SelfTeaching
) -> Teacher:
    if not isinstance(objective, ReadoutObjective):
        return DenoiseTeacher(parts.backbone, average, tasks, parts.config.steps, **parts.config.walk("ddim"))
    if objective.frozen:
        heads = Averaged(parts.heads, average)
        return ReadoutTeacher(lambda look, batch, names: heads(look(batch), batch.images, names), tasks, how.mirror)
    whole = Averaged(_Whole(parts), average)
    return ReadoutTeacher(lambda look, batch, names: whole(batch.images, names, batch.texts), tasks, how.mirror)


class _Whole(nn.Module):
    """Network and heads in one call, for a second set of weights of both."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        self.modules_with_weights = parts.modules()

    def forward(self, images: Tensor, names: Sequence[str], texts: Sequence[str]) -> Mapping[str, Tensor]:
        return self.parts.heads(features(self.parts, images, texts), images, names)  # type: ignore[misc]
