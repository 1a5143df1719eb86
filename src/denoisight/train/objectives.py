"""What is trained: a batch, the run's seed and the step in, named losses out.

Objectives are modules, so that engines can wrap their forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..annotations import Batch
from ..diffusion import prediction, timesteps
from ..diffusion.schedule import Level
from ..models.backbone import Backbone, Condition
from ..models.folder import Parts
from ..predict.readout import features
from ..runtime import generator
from ..tasks import Task
from ..tasks.instruct import paraphrase
from .cache import FeatureCache
from .ema import trained
from .gt_augment import ON_POLICY, GtAugment, corrupt
from .noised import Network, noised
from .pixels import sampled


@dataclass(frozen=True)
class Teaching:
    """What a denoising network is taught beside its tasks' own prompts.

    create: the share of passes that make the image itself from its caption, with an empty image condition.
    passes: how many passes an image takes in a step, its roles drawn anew each time; 0 takes every task once.
    weights: how often a task is drawn, in relation to the others; 1 where it is not named.
    drop: the chance to drop the words, the image, and both: each as often (Brooks et al., CVPR 2023, section 3.2.1).
    balance: every role's error in shares of its canvases' variance, so that a pale one counts as much as a gaudy one.
        The variance is that of one process's share of the batch.
    paraphrase: the chance to ask for a task in one of the many ways of `tasks.instruct`.
    """

    create: float = 0.0
    passes: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    drop: float = 0.0
    balance: bool = False
    paraphrase: float = 0.0


CLEAN = GtAugment()
"""Truths as they are."""

CREATE = "create"
"""The role, beside the tasks, of making the image itself."""

LEAST_VARIANCE = 0.01
"""Of a batch's canvases: emptier ones do not make their errors any larger."""

MOST_VELOCITY_WEIGHT = 25.0
"""The bound on the weight of creation's cleanest levels; reached where sigma = 0.2."""


class DenoiseObjective(nn.Module):
    """Recover each role's canvas from its noised latents, given the image and the role's words.

    The roles are the tasks, and creation, whose canvas is the image and whose condition is the caption alone.
    The loss is the mean squared error in the network's own kind of prediction, over valid latents, at
    timesteps drawn from `law` (probabilities p over 0..T-1), or with `scaling` drawn uniformly and weighed by T p,
    which has the same expected gradient. Creation is as much about the last details as about the layout: its timesteps
    are drawn uniformly and its error is that of the velocity; pictures without truths of their own, which may be the
    network's, are not learnt to be made. Every image is encoded once; for a network that edits,
    its latents are scaled where they are the canvas and unscaled where they are the condition.

    Canvases are corrupted as `gt` says, creation's never. On-policy corruption asks `teacher`, a network like the
    backbone that may be set after the start; until then it is the backbone itself.
    """

    teacher: Network
    scale: Tensor

    def __init__(
        self,
        backbone: Backbone,
        tasks: Sequence[Task],
        law: Float[Tensor, T],
        teaching: Teaching = Teaching(),
        gt: GtAugment = CLEAN,
        scaling: bool = False,
    ) -> None:
        super().__init__()
        gt.check(tasks)
        self.backbone = backbone
        self.tasks = {task.name: task for task in tasks}
        self.even = torch.ones_like(law) / len(law)
        self.law = self.even if scaling else law
        # Not kept in checkpoints: the recipe says it.
        self.register_buffer("scale", law * len(law) if scaling else torch.ones_like(law), persistent=False)
        self.teaching = teaching
        self.gt = gt
        self.teacher = backbone.forward

    def forward(self, batch: Batch, seed: int, step: int) -> dict[str, Tensor]:
        return self.losses(batch, self.features(batch), seed, step)

    def features(self, batch: Batch, keep: bool = True) -> list[Tensor]:
        """The images' latents."""
        return [self.backbone.latents.encode(batch.images * 2 - 1)]

    def losses(self, batch: Batch, features: Sequence[Tensor], seed: int, step: int) -> dict[str, Tensor]:
        """Named losses from a batch and its latents."""
        backbone, (image,) = self.backbone, features
        roles = self._roles(seed, step, 0.0 if batch.unlabelled else self.teaching.create)
        canvases = [self._canvas(role, batch, image) for role in roles]
        clean = torch.cat([latents for latents, _ in canvases])
        valid = torch.cat([known for _, known in canvases])

        seeds = [(seed, f"{role} {key}", step) for role in roles for key in batch.keys]
        laws = [self.even if role == CREATE else self.law for role in roles for _ in batch.keys]
        draws = [timesteps.draw(law, 1, generator(s, f"t {k}", n)) for law, (s, k, n) in zip(laws, seeds, strict=True)]
        level = backbone.schedule.at(torch.cat(draws).to(image.device))
        cond = self._condition(roles, batch, backbone.beside(image), seed, step)
        strength, corrupted = self._corrupted(roles, batch, clean, level, seeds)
        x, aim, _ = noised(
            *(clean, corrupted, level, strength, seeds),
            gt=self.gt,
            predicts=backbone.predicts,
            schedule=backbone.schedule,
            teacher=lambda x, level: self.teacher(x, level, cond),
        )
        output = backbone(x, level, cond)

        error = torch.where(valid, (output - aim) ** 2, 0.0) * self._weights(roles, len(batch.keys), level)
        parts = zip(*(tensor.chunk(len(roles)) for tensor in (error, valid, clean)), strict=True)
        losses = {role: self._mean(*part) for role, part in zip(roles, parts, strict=True)}
        return {"loss": torch.stack(list(losses.values())).mean(), **losses}

    def _mean(self, error: Tensor, valid: Tensor, clean: Tensor) -> Tensor:
        """Of one role over its valid latents."""
        mean = error.sum() / valid.sum().clamp(min=1)
        if not self.teaching.balance or not valid.any():
            return mean
        return mean / clean[valid].var(correction=0).clamp(min=LEAST_VARIANCE)

    def _roles(self, seed: int, step: int, share: float) -> list[str]:
        """What the images of this step are taught, no role twice; creation in this share of the passes."""
        names = [*self.tasks, *([CREATE] if share else [])]
        if not self.teaching.passes:
            return names
        told = torch.tensor([self.teaching.weights.get(name, 1.0) for name in self.tasks])
        weights = [(1 - share) * told / told.sum(), *([torch.tensor([share])] if share else [])]
        drawn = timesteps.draw(torch.cat(weights), self.teaching.passes, generator(seed, "roles", step))
        return [names[i] for i in sorted(set(drawn.tolist()))]

    def _weights(self, roles: Sequence[str], images: int, level: Level) -> Float[Tensor, "b 1 1 1"]:
        creating = torch.tensor([role == CREATE for role in roles for _ in range(images)], device=level.t.device)
        weight = prediction.velocity_weight(self.backbone.predicts, level).clamp(max=MOST_VELOCITY_WEIGHT)
        return torch.where(creating, weight, self.scale[level.t.long()])[:, None, None, None]

    def _corrupted(
        self, roles: Sequence[str], batch: Batch, clean: Tensor, level: Level, seeds: Sequence[tuple[int, str, int]]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, "b c h w"]]:
        """How strongly each canvas is corrupted, and what it then looks like in latents."""
        strength = self.gt.strengths(level, self.backbone.schedule.num_timesteps)
        rows, latents = len(batch.keys), list(clean.split(len(batch.keys)))
        strengths = list(strength.split(rows))
        for place, role in enumerate(roles):
            if role == CREATE:
                strengths[place] = torch.zeros_like(strengths[place])
            elif {*self.gt.of(self.tasks[role])} - ON_POLICY:
                own = seeds[place * rows : (place + 1) * rows]
                task = self.tasks[role]
                pixels = corrupt(task, batch.truths, batch.images, strengths[place], self.gt, own)
                latents[place] = self.backbone.latents.encode(pixels)
        return torch.cat(strengths), torch.cat(latents)

    def _canvas(self, role: str, batch: Batch, image: Tensor) -> tuple[Tensor, Tensor]:
        if role == CREATE:
            return image, torch.ones_like(image, dtype=torch.bool)
        task, latents = self.tasks[role], self.backbone.latents
        canvas = task.codec.encode(batch.truths[task.truth], batch.images)
        return latents.encode(canvas.pixels), latents.valid(canvas.valid)

    def _condition(self, roles: Sequence[str], batch: Batch, image: Tensor, seed: int, step: int) -> Condition:
        images, words = [], []
        for role in roles:
            said = batch.texts if role == CREATE else batch.words(self.tasks[role].truth)
            for place, (text, key) in enumerate(zip(said, batch.keys, strict=True)):
                # One draw for what to drop, one for how to ask, one for which paraphrase.
                dropped, asked, which = torch.rand(3, generator=generator(seed, f"words {role} {key}", step)).tolist()
                blind = role == CREATE or self.teaching.drop <= dropped < 3 * self.teaching.drop
                images.append(torch.zeros_like(image[place]) if blind else image[place])
                words.append("" if dropped < 2 * self.teaching.drop else self._words(role, text, asked, which))
        return Condition(torch.stack(images), self.backbone.text(words))

    def _words(self, role: str, text: str, asked: float, which: float) -> str:
        if role == CREATE:
            return text
        if asked < self.teaching.paraphrase:
            return paraphrase(role, text, int(which * 1000))
        return self.tasks[role].instruct(text)


class ReadoutObjective(nn.Module):
    """Each task's own loss on its head's output, from the features of one pass at a low noise level.

    (Diff-2-in-1: Zheng et al., ICLR 2025, section 3.) Under a frozen network gradients reach the heads alone; its
    features are kept, up to `cache` bytes, which is for pictures that are the same, or mirrored, whenever they come.

    `weights` says how much a task counts in relation to the others, 1 where it is not named. Of the known pixels the
    share `pixels` enters the loss, mostly those that the head is unsure of (`train.pixels`); of tasks whose heads
    cannot tell, all do.
    """

    def __init__(
        self,
        parts: Parts,
        tasks: Sequence[Task],
        cache: int = 0,
        weights: Mapping[str, float] = MappingProxyType({}),
        pixels: float = 1.0,
    ) -> None:
        super().__init__()
        self.parts = parts
        self.modules_with_weights = parts.modules()
        self.tasks = tuple(tasks)
        self.frozen = not trained(parts.backbone)
        self.cache = FeatureCache(lambda images, texts: features(parts, images, texts), cache) if cache else None
        self.weights = [weights.get(task.name, 1.0) for task in self.tasks]
        self.pixels = pixels

    def train(self, mode: bool = True) -> ReadoutObjective:
        """A frozen network stays in evaluation mode, in which it keeps the words that it has encoded."""
        super().train(mode)
        if self.frozen:
            self.parts.backbone.eval()
        return self

    def forward(self, batch: Batch, seed: int, step: int) -> dict[str, Tensor]:
        return self.losses(batch, self.features(batch), seed, step)

    def features(self, batch: Batch, keep: bool = True) -> list[Tensor]:
        """What the network makes of the images; `keep` it, where there is room, for when they come again."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if self.cache and keep:
                return self.cache(batch.images, batch.names, batch.texts)
            return features(self.parts, batch.images, batch.texts)

    def losses(self, batch: Batch, features: Sequence[Tensor], seed: int, step: int) -> dict[str, Tensor]:
        """Named losses from a batch and its features."""
        outputs = self.parts.heads(features, batch.images, [task.name for task in self.tasks])  # type: ignore[misc]
        losses = {task.name: self._loss(task, outputs[task.name], batch, seed, step) for task in self.tasks}
        total = sum(weight * loss for weight, loss in zip(self.weights, losses.values(), strict=True))
        return {"loss": total / sum(self.weights), **losses}

    def _loss(self, task: Task, outputs: Tensor, batch: Batch, seed: int, step: int) -> Tensor:
        truth = batch.truths[task.truth]
        if self.pixels < 1:
            unsure = task.head.read(outputs.detach(), batch.images).uncertainty
            seeds = [(seed, f"pixels {task.name} {key}", step) for key in batch.keys]
            if unsure is not None:
                truth = truth.without(~sampled(unsure, truth.valid, self.pixels, seeds))  # type: ignore[attr-defined]
        loss = task.head.taught if task.head.taught and batch.unlabelled else task.head.loss
        return loss(outputs, truth, batch.images)
