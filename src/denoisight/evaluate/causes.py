"""Why a walk may lose towards its end: noise that is left in the estimate, or drift off the noised truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..annotations import Sample, stack
from ..data.readers import Reader
from ..diffusion.noise import add_noise, gaussian
from ..predict.denoise import denoise
from ..predict.model import Model
from ..predict.options import Options
from ..runtime import item_seed
from ..tasks import Task
from ..vectors import widened
from .protocols import Protocol
from .run import Progress, enter
from .steps import StepScores, blank, grid_of


@dataclass(frozen=True, eq=False)
class Causes:
    """One network on two walks with the same noise: fed with its `own` x_t, and with the `fed` truth's.

    `detail` [seeds, S] is the high-frequency energy of the own canvas estimate in relation to that of the truth's
    canvas: above 1 there is more fine detail than the truth has. `fed_detail` is that of the other walk. `error` [S] is
    the mean squared error of the own canvas, averaged over seeds, and `varying` [S] the part of it that is variance
    over seeds; the rest is common to all seeds. With one seed `varying` is NaN.
    """

    own: StepScores
    fed: StepScores
    detail: Float[np.ndarray, "seeds steps"]
    fed_detail: Float[np.ndarray, "seeds steps"]
    error: Float[np.ndarray, " steps"]
    varying: Float[np.ndarray, " steps"]


def separate(
    model: Model,
    protocol: Protocol,
    reader: Reader,
    *,
    steps: int,
    seeds: Sequence[int] = (0,),
    options: Options = Options(),  # noqa: B008
    progress: Progress = iter,
) -> Causes:
    """Walk both ways over the reader's images, at the network's size. Takes two evaluations a step, image and seed."""
    task, _ = model.task(protocol.task, "denoise")
    grid = grid_of(model, steps)
    own, fed = (blank(protocol, reader.keys, grid, len(seeds)) for _ in range(2))
    sums = _Sums.zeros(len(seeds), steps)
    longest = model.parts.config.resolution if options.res is None else options.res
    for chunk in progress(
        [range(i, min(i + options.batch, len(reader))) for i in range(0, len(reader), options.batch)]
    ):
        samples = [reader[i] for i in chunk]
        for places in model.groups([sample.query for sample in samples], longest, options.batch):
            group = _Group(model, task, [samples[i] for i in places], protocol, longest)
            _walk_both(group, own, fed, sums, seeds, options.sampler)
    truth = sums.truth.clamp(min=1e-12)
    count, pixels = len(seeds), sums.pixels.clamp(min=1)
    varying = (sums.error - sums.common * count) / max(count - 1, 1) / pixels if count > 1 else sums.error * torch.nan
    return Causes(
        own,
        fed,
        (sums.own / truth).numpy(),
        (sums.fed / truth).numpy(),
        (sums.error / count / pixels).numpy(),
        varying.numpy(),
    )


class _Group:
    """Samples of one size as the network sees them: images, words, the truth's canvas and its latents."""

    def __init__(self, model: Model, task: Task, samples: list[Sample], protocol: Protocol, longest: int) -> None:
        self.parts, self.task, self.samples = model.parts, task, samples
        self.queries = [sample.asked(protocol.truth) for sample in samples]
        self.images = model.images(self.queries, longest)
        size = tuple(self.images.shape[-2:])
        truths = stack([sample.truths[protocol.truth].resize(*size) for sample in samples]).to(self.images.device)
        canvas = task.codec.encode(truths, self.images)
        self.valid = canvas.valid
        self.prompts = [task.instruct(query.text) for query in self.queries]
        latents = self.parts.backbone.latents
        self.clean = latents.encode(canvas.pixels.to(self.images))
        # What an autoencoder makes of the truth is the finest that can be asked of an estimate.
        self.truth = latents.decode(self.clean)

    def enter(self, scores: StepScores, seed: int, step: int, canvas: Tensor) -> None:
        made = self.task.codec.decode(canvas, self.images)
        for i, sample in enumerate(self.samples):
            enter(scores.tallies[seed][step], made[i].to("cpu").resize(*sample.size), sample, scores.protocol)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Over all valid pixels so far: energies of fine detail, squared errors, and the squares of seeds' mean errors."""

    own: Float[Tensor, "seeds steps"]
    fed: Float[Tensor, "seeds steps"]
    truth: Float[Tensor, ""]
    pixels: Float[Tensor, ""]
    error: Float[Tensor, " steps"]
    common: Float[Tensor, " steps"]

    @classmethod
    def zeros(cls, seeds: int, steps: int) -> _Sums:
        shapes = ((seeds, steps), (seeds, steps), (), (), (steps,), (steps,))
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))


@torch.no_grad()
def _walk_both(
    group: _Group, own: StepScores, fed: StepScores, sums: _Sums, seeds: Sequence[int], sampler: str
) -> None:
    backbone, steps = group.parts.backbone, len(own.timesteps)
    walk: dict[str, Any] = group.parts.config.walk(sampler)
    cond = backbone.condition(group.images, group.prompts)
    sums.truth.add_(_detail(group.truth, group.valid))
    sums.pixels.add_(3 * group.valid.sum().cpu())
    errors = [torch.zeros_like(group.truth, dtype=torch.float32) for _ in range(steps)]
    for row, seed in enumerate(seeds):
        starts = [item_seed(seed, query.key) for query in group.queries]
        noise = gaussian(group.clean.shape[1:], starts).to(group.clean)
        each = [[start] for start in starts]
        for step in denoise(backbone, cond, each, steps=steps, sampler=sampler, **walk):
            noised = add_noise(group.clean, noise, step.level)
            last = step.index == steps - 1
            canvas = backbone.latents.decode(step.x if last else step.clean)
            told = backbone.latents.decode(backbone.denoise(noised, step.level, cond))
            group.enter(own, row, step.index, canvas)
            group.enter(fed, row, step.index, told)
            sums.own[row, step.index] += _detail(canvas, group.valid)
            sums.fed[row, step.index] += _detail(told, group.valid)
            error = (canvas - group.truth).float() * group.valid[:, None]
            errors[step.index] += error
            sums.error[step.index] += widened(error).square().sum().cpu()
    for index, total in enumerate(errors):
        sums.common[index] += widened(total / len(seeds)).square().sum().cpu()


def _detail(canvas: Float[Tensor, "b 3 h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """The energy of what a 3 x 3 mean takes away, where all nine pixels are valid."""
    inside = F.max_pool2d((~valid)[:, None].float(), 3, stride=1, padding=1) == 0
    smooth = F.avg_pool2d(F.pad(canvas.float(), (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return widened((canvas.float() - smooth) * inside).square().sum().cpu()
