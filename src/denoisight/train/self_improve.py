"""Learning from pictures without truths, which the averaged weights answer for (Diff-2-in-1: Zheng et al., ICLR 2025).

The raw weights of a run are the paper's exploitation parameters: they learn by gradient from real pictures with their
truths and from created ones. The averaged weights are its creation parameters: they say what is seen on the created
pictures, are moved by nothing but the average, and are what is validated and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from ..annotations import Batch
from ..diffusion.prediction import clean_from
from ..diffusion.schedule import Level
from ..errors import UsageError
from ..models.backbone import Backbone, Condition
from ..predict.denoise import denoise
from ..predict.readout import seen_both_ways
from ..runtime import generator, item_seed
from ..tasks import Reading, Task
from .ema import Averaged
from .views import varied, with_gaps

Features = Sequence[Tensor]


@dataclass(frozen=True)
class SelfTeaching:
    """How much pictures without truths count.

    weight: of such a picture, where a labelled one counts 1. ramp: over how many steps that weight rises from nothing.
    confidence: answers are taken at pixels whose uncertainty is at most 1 - confidence; where the head cannot tell,
    everywhere.

    Where teacher and learner see the same they soon agree, and there is little to learn. So the learner may see less:
    dropout is the share of a network's features that heads do not see (UniMatch: Yang et al., CVPR 2023), which costs
    nothing, for the features are there; colour is how far brightness, contrast and saturation of the picture change
    (FixMatch: Sohn et al., NeurIPS 2020), hidden the share of it that is blotted out (MIC: Hoyer et al., CVPR 2023),
    both of which take a pass of the network of their own. And the teacher may see more: with `mirror` it says the mean
    of what it sees in the picture and in its mirror image (data distillation: Radosavovic et al., CVPR 2018).
    """

    weight: float = 1.0
    ramp: float = 0.0
    confidence: float = 0.0
    dropout: float = 0.0
    colour: float = 0.0
    hidden: float = 0.0
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.weight < 0 or self.ramp < 0 or not 0 <= self.confidence <= 1 or not 0 <= self.colour <= 1:
            raise UsageError(
                f"Weight {self.weight}, ramp {self.ramp}, confidence {self.confidence}, colour {self.colour} came; "
                "the first two are at least 0, the others in [0, 1]."
            )
        if not 0 <= self.dropout < 1 or not 0 <= self.hidden < 1:
            raise UsageError(f"Dropout {self.dropout} and hidden {self.hidden} came; both are in [0, 1).")

    def weight_at(self, step: int) -> float:
        return self.weight * min(1.0, step / self.ramp) if self.ramp else self.weight


class Objective(Protocol):
    """What both routes' objectives are: what a batch's pictures give once, and losses from it."""

    def features(self, batch: Batch, keep: bool = True) -> Features: ...

    def losses(self, batch: Batch, features: Features, seed: int, step: int) -> dict[str, Tensor]: ...


Look = Callable[[Batch], Features]
"""What a network makes of a batch, for who asks."""
Teacher = Callable[[Batch, Look, int, int], Mapping[str, Reading]]
"""(batch, look, seed, step) -> a reading for each truth's name."""


class SelfTaught(nn.Module):
    """An objective whose pictures without truths get them from a teacher, anew whenever they come.

    L = (n_r L_real + w n_c L_created) / (n_r + w n_c): means over each kind's own valid pixels, weighed by numbers of
    pictures, so that created pictures of which little is known lend their weight to no real one; w L_created where
    there are no real ones in the batch. What both kinds are made from is computed in one pass.
    """

    def __init__(self, objective: nn.Module, teacher: Teacher, how: SelfTeaching = SelfTeaching()) -> None:
        super().__init__()
        self.objective = objective
        self.teacher = teacher
        self.how = how

    def forward(self, batch: Batch, seed: int, step: int) -> dict[str, Tensor]:
        objective: Objective = self.objective
        asked = batch.unlabelled
        if not asked:
            return objective.losses(batch, objective.features(batch), seed, step)
        known = [place for place in range(len(batch)) if place not in set(asked)]
        own, real = batch.take(asked), batch.take(known) if known else None
        seen = self._varied(own, seed, step)
        ours: Features = ()
        if seen is None:
            both, seen = objective.features(batch), own
            ours, theirs = rows(both, known), rows(both, asked)
            readings = self.teacher(
                own, lambda asked: theirs if asked is own else objective.features(asked), seed, step
            )
        else:
            ours = objective.features(real) if real else ours
            theirs = list(objective.features(seen, keep=False))
            readings = self.teacher(own, objective.features, seed, step)
        told = answered(seen, readings, self.how.confidence)
        created = objective.losses(told, with_gaps(theirs, self.how.dropout, own.keys, seed, step), seed, step)
        weight = self.how.weight_at(step)
        if not real:
            # Other processes, or other parts of the same step, may have the labelled ones.
            return {**created, "loss": weight * created["loss"], "created": created["loss"].detach()}
        return _mean(objective.losses(real, ours, seed, step), created, len(known), weight * len(asked))

    def _varied(self, batch: Batch, seed: int, step: int) -> Batch | None:
        """The batch as the learner sees it, or None where that is as it is."""
        colour, hidden = self.how.colour, self.how.hidden
        if not colour and not hidden:
            return None
        draws = [generator(seed, f"seen {key}", step) for key in batch.keys]
        pairs = zip(batch.images, draws, strict=True)
        return replace(batch, images=torch.stack([varied(image, colour, hidden, draw) for image, draw in pairs]))


def _mean(real: Mapping[str, Tensor], created: Mapping[str, Tensor], count: int, weight: float) -> dict[str, Tensor]:
    """Losses of both kinds of pictures; what is not taught on created ones is the real ones' alone."""
    both = {
        name: (count * loss + weight * created[name]) / (count + weight) if name in created else loss
        for name, loss in real.items()
    }
    return {**both, "created": created["loss"].detach()}


class ReadoutTeacher:
    """Answers for all tasks by the averaged heads, from the features that the raw ones are given, too.

    heads: `(look, batch, names) -> outputs`, under the averaged weights; where the backbone learns as well, it looks
    at the images itself. mirror: see `SelfTeaching`.
    """

    def __init__(self, heads: Callable[..., Mapping[str, Tensor]], tasks: Sequence[Task], mirror: bool = False) -> None:
        self.heads = heads
        self.tasks = tuple(tasks)
        self.mirror = mirror

    @torch.no_grad()
    def __call__(self, batch: Batch, look: Look, seed: int, step: int) -> dict[str, Reading]:
        names = [task.name for task in self.tasks]
        outputs = self.heads(look, batch, names)
        if self.mirror:
            outputs = seen_both_ways(self.tasks, outputs, self.heads(look, batch.flip(), names))
        return {task.truth: task.head.read(outputs[task.name], batch.images) for task in self.tasks}


class _Asked(nn.Module):
    """A backbone that denoises or, asked for words alone, encodes them: for a second set of weights of both."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, *asked: Any) -> Tensor:
        return self.backbone(*asked) if len(asked) > 1 else self.backbone.text(*asked)


class DenoiseTeacher:
    """Answers for all tasks by one walk of the averaged network, from noise that belongs to item and step."""

    def __init__(
        self, backbone: Backbone, average: EMAModel, tasks: Sequence[Task], steps: int, **walking: Any
    ) -> None:
        self.backbone = backbone
        self.network = Averaged(_Asked(backbone), average)
        self.tasks = tuple(tasks)
        self.steps = steps
        self.walking = walking

    @torch.no_grad()
    def __call__(self, batch: Batch, look: Look, seed: int, step: int) -> dict[str, Reading]:
        backbone, count = self.backbone, len(batch)
        image = backbone.beside(look(batch)[0]).repeat(len(self.tasks), 1, 1, 1)
        words = [task.instruct(text) for task in self.tasks for text in batch.words(task.truth)]
        seeds = [[item_seed(seed, f"{task.name} {key}", step)] for task in self.tasks for key in batch.keys]
        cond = Condition(image, self.network(words))
        steps = denoise(backbone, cond, seeds, steps=self.steps, denoiser=self._clean, **self.walking)
        canvases = backbone.latents.decode([taken.x for taken in steps][-1]).split(count)
        decoded = zip(self.tasks, canvases, strict=True)
        return {task.truth: Reading(task.codec.decode(pixels, batch.images), None) for task, pixels in decoded}

    def _clean(self, x: Tensor, level: Level, cond: Condition) -> Tensor:
        return clean_from(self.backbone.predicts, self.network(x, level, cond), x, level)


def rows(features: Features, places: Sequence[int]) -> list[Tensor]:
    return [maps[list(places)] for maps in features]


def answered(batch: Batch, readings: Mapping[str, Reading], confidence: float = 0.0) -> Batch:
    """The batch with a teacher's annotations in place of truths, unknown where it is less sure than `confidence`."""
    truths = {
        name: reading.annotation
        if reading.uncertainty is None
        else reading.annotation.without(reading.uncertainty > 1 - confidence)
        for name, reading in readings.items()
    }
    return replace(batch, truths=truths)
