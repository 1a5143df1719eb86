"""The readout route: one pass at a low noise level, features to a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import mirror_words
from ..diffusion.noise import over
from ..errors import DenoisightError
from ..models.backbone import Condition
from ..models.folder import Parts
from ..tasks import Reading, Task


def features(parts: Parts, images: Float[Tensor, "b 3 h w"], texts: Sequence[str] = ()) -> list[Tensor]:
    """Features of images in [0, 1] at the model's reading level, under the empty prompt or, where the model reads so,
    under their captions `texts` (none are empty ones).

    The image stands both where the noisy target goes and where the condition goes, in the scale of each. No noise is
    drawn: at a low level it would only blur, and without it one image has one answer (Diff-2-in-1 reads at t = 0).
    """
    backbone = parts.backbone
    clean = backbone.latents.encode(images * 2 - 1)
    t = torch.full((len(images),), parts.config.read_level, device=images.device)
    level = backbone.schedule.at(t)
    captions = texts if texts and parts.config.read_prompt == "caption" else [""] * len(images)
    cond = Condition(backbone.beside(clean), backbone.text(captions))
    return parts.taps(over(level.alpha, clean) * clean, level, cond)  # type: ignore[misc]


def head_outputs(
    parts: Parts,
    images: Float[Tensor, "b 3 h w"],
    tasks: Sequence[Task],
    texts: Sequence[str] = (),
    mirror: bool = False,
) -> dict[str, Float[Tensor, "b k h w"]]:
    """What each task's head says, undecoded, from one shared pass; with `mirror` from one of the mirror images, too.

    Raises `DenoisightError` for what is no number.
    """
    names = [task.name for task in tasks]
    outputs: dict[str, Tensor] = parts.heads(features(parts, images, texts), images, names)  # type: ignore[misc]
    if not all(output.isfinite().all() for output in outputs.values()):
        dtype = next(iter(outputs.values())).dtype
        raise DenoisightError(
            f"Model {parts.config.name!r} computed NaN or infinity in {dtype}; try --precision bf16 or fp32."
        )
    if not mirror:
        return outputs
    return seen_both_ways(tasks, outputs, head_outputs(parts, images.flip(-1), tasks, list(map(mirror_words, texts))))


def seen_both_ways(
    tasks: Sequence[Task], outputs: Mapping[str, Tensor], mirrored: Mapping[str, Tensor]
) -> dict[str, Float[Tensor, "b k h w"]]:
    """The mean of what heads say of pictures and, turned back, of their mirror images: nearer the truth than either."""
    return {task.name: task.head.merge(outputs[task.name], task.head.mirrored(mirrored[task.name])) for task in tasks}


def read(
    parts: Parts, images: Float[Tensor, "b 3 h w"], task: Task, texts: Sequence[str] = (), mirror: bool = False
) -> Reading:
    """A task's annotation, decoded."""
    return task.head.read(head_outputs(parts, images, [task], texts, mirror)[task.name], images)
