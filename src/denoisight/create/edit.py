"""Images and instructions -> edited images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..annotations import Query, Sample
from ..diffusion.guidance import two_way
from ..diffusion.noise import gaussian
from ..errors import UsageError
from ..models.backbone import Condition
from ..predict.model import Model
from ..predict.query import ImageLike, as_query
from ..runtime import item_seed
from .synthesize import walk


@torch.no_grad()
def edit_images(
    model: Model,
    images: Sequence[ImageLike],
    instructions: Sequence[str],
    *,
    steps: int = 0,
    sampler: str = "ddim",
    guidance: float = 6.5,
    image_guidance: float = 0.5,
    negative: str = "",
    seed: int = 0,
) -> list[Sample]:
    """Each image changed as its instruction says: one sample each, with the instruction as its text.

    For InstructPix2Pix folders (Brooks et al. 2023). images: whatever `Model.predict` takes; they keep their size, but
    for sides rounded to what the model takes. steps: 0 takes the model's own number. guidance, image_guidance: weights
    towards the words and the image, 0 for none (diffusers' `guidance_scale` and `image_guidance_scale` are one more),
    away from the words `negative`. seed: with an image's key it fixes the noise. Since sizes may differ, each image is
    walked alone: one network pass a step, of three rows where guided.

    Raises `UsageError` for a model that does not edit, other numbers of images and instructions, a negative weight,
    or a prompt longer than the model takes.
    """
    backbone = model.parts.backbone
    if not backbone.edits:
        raise UsageError(f"Model {model.name!r} does not edit images; give a folder of InstructPix2Pix.")
    if len(images) != len(instructions):
        raise UsageError(f"{len(images)} images came with {len(instructions)} instructions; give one for each.")
    if guidance < 0 or image_guidance < 0:
        raise UsageError(f"Guidance is {guidance} and {image_guidance}; give 0 for none, or more.")
    backbone.text.check([*instructions, negative])
    config, like = model.parts.config, next(backbone.parameters())
    made = []
    for place, (image, instruction) in enumerate(zip(images, instructions, strict=True), start=1):
        query = as_query(image, place)
        seeds = [item_seed(seed, query.key)]
        cond = backbone.condition(backbone.fit(query.image)[None].to(like), [instruction])
        unsaid = Condition(cond.image, backbone.condition(None, [negative]).text)
        empty = Condition(torch.zeros_like(cond.image), unsaid.text)
        denoiser = two_way(backbone.denoise, unsaid, empty, guidance, image_guidance, join=Condition.join)
        x = gaussian(cond.image.shape[1:], seeds).to(like)
        (edited,) = walk(
            backbone, denoiser, x, cond, seeds, sampler=sampler, steps=steps or config.steps, **config.walk(sampler)
        )
        made.append(Sample(Query(edited.cpu(), instruction, query.key)))
    return made
