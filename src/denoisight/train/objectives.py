"""What is trained: a batch, the run's seed and the step in, named losses out.

Objectives are modules, so that engines can wrap their forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..annotations import Batch
from ..diffusion import prediction, timesteps
from ..diffusion.noise import add_noise, gaussian
from ..models.backbone import Backbone, Condition
from ..models.folder import Parts
from ..predict.readout import head_outputs
from ..runtime import generator, item_seed
from ..tasks import Task


class DenoiseObjective(nn.Module):
    """Recover each task's canvas from its noised latents, given the image and the task's words.

    The loss is the mean squared error in the network's own kind of prediction, over valid latents, at
    timesteps drawn from `law` (probabilities over 0..T-1). Every image is taught every task, encoded once.
    """

    def __init__(self, backbone: Backbone, tasks: Sequence[Task], law: Float[Tensor, T]) -> None:
        super().__init__()
        self.backbone = backbone
        self.tasks = tuple(tasks)
        self.law = law

    def forward(self, batch: Batch, seed: int, step: int) -> dict[str, Tensor]:
        backbone, images, tasks = self.backbone, batch.images, self.tasks
        canvases = [task.codec.encode(batch.truths[task.truth], images) for task in tasks]
        clean = torch.cat([backbone.latents.encode(canvas.pixels) for canvas in canvases])
        valid = torch.cat([backbone.latents.valid(canvas.valid) for canvas in canvases])
        image = backbone.latents.encode(images * 2 - 1).repeat(len(tasks), 1, 1, 1)
        cond = Condition(image, backbone.text([task.instruct(text) for task in tasks for text in batch.texts]))

        keys = [f"{task.name} {key}" for task in tasks for key in batch.keys]
        draws = [timesteps.draw(self.law, 1, generator(seed, f"t {key}", step)) for key in keys]
        level = backbone.schedule.at(torch.cat(draws).to(images.device))
        noise = gaussian(clean.shape[1:], [item_seed(seed, key, step) for key in keys]).to(clean)
        output = backbone(add_noise(clean, noise, level), level, cond)
        aim = prediction.target(backbone.predicts, clean, noise, level)

        error = torch.where(valid, (output - aim) ** 2, 0.0)
        parts = zip(tasks, error.chunk(len(tasks)), valid.chunk(len(tasks)), strict=True)
        losses = {task.name: e.sum() / v.sum().clamp(min=1) for task, e, v in parts}
        return {"loss": torch.stack(list(losses.values())).mean(), **losses}


class ReadoutObjective(nn.Module):
    """Each task's own loss on its head's output, from the features of one pass at a low noise level.

    (Diff-2-in-1: Zheng et al., ICLR 2025, section 3.)
    """

    def __init__(self, parts: Parts, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.parts = parts
        self.modules_with_weights = parts.modules()
        self.tasks = tuple(tasks)

    def forward(self, batch: Batch, seed: int, step: int) -> dict[str, Tensor]:
        outputs = head_outputs(self.parts, batch.images, [task.name for task in self.tasks])
        losses = {
            task.name: task.head.loss(outputs[task.name], batch.truths[task.truth], batch.images) for task in self.tasks
        }
        return {"loss": torch.stack(list(losses.values())).mean(), **losses}
