"""What training does to truths, drawn against the noise level (as in figure 4 of Pang et al., ICLR 2025)."""

from __future__ import annotations

import numpy as np
import torch

from ..annotations import Batch
from ..data.readers import Reader, classes_of
from ..errors import pick
from ..predict.model import Model
from ..render import to_rgb
from ..tasks import TASKS
from ..train.gt_augment import ON_POLICY, GtAugment, corrupt
from ..train.noised import noised

LEVELS = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)
"""In shares of T."""


@torch.no_grad()
def corrupted(
    model: Model, task: str, reader: Reader, count: int, gt: GtAugment, seed: int = 0
) -> list[list[np.ndarray]]:
    """A row of pictures for each of the first samples: the image, the clean canvas, and corrupted at each of `LEVELS`.

    Samples are brought to the size at which the model works. Raises `RecipeError` for kinds that do not fit the task,
    and for an on-policy one `UsageError` where the model did not learn it.
    """
    backbone = model.parts.backbone
    truth = pick(TASKS, task, "task")(("any",)).truth
    own = model.task(task, "denoise")[0] if gt.on_policy else TASKS[task](classes_of(reader, truth) or ("any",))
    gt.check([own])
    samples = [reader[i] for i in range(min(count, len(reader)))]
    size = backbone.fitting_size(*samples[0].size, model.parts.config.resolution)
    batch = Batch.of([sample.resize(*size) for sample in samples]).to(backbone.device)
    clean = own.codec.encode(batch.truths[truth], batch.images).pixels
    cond = backbone.condition(batch.images, [own.instruct(words) for words in batch.words(truth)])
    seeds = [(seed, key, 0) for key in batch.keys]
    columns = [batch.images.cpu(), _seen(clean)]
    for share in LEVELS:
        step = torch.full((len(batch),), backbone.schedule.timestep(share), device=backbone.device)
        level = backbone.schedule.at(step)
        strength = gt.strengths(level, backbone.schedule.num_timesteps)
        pixels = corrupt(own, batch.truths, batch.images, strength, gt, seeds)
        if ON_POLICY & set(gt.kinds):
            made = noised(
                *(backbone.latents.encode(clean), backbone.latents.encode(pixels), level, strength, seeds),
                gt=gt,
                predicts=backbone.predicts,
                schedule=backbone.schedule,
                teacher=lambda x, level: backbone(x, level, cond),
            )
            pixels = backbone.latents.decode(made.corrupted)
        columns.append(_seen(pixels))
    return [[to_rgb(column[i]) for column in columns] for i in range(len(batch))]


def _seen(canvas: torch.Tensor) -> torch.Tensor:
    return ((canvas + 1) / 2).clamp(0, 1).float().cpu()
