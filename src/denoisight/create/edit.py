"""Images and instructions -> edited images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Query, Sample
from ..diffusion.guidance import two_way
from ..diffusion.noise import fresh_noise, gaussian
from ..diffusion.samplers import SAMPLERS
from ..errors import UsageError, pick
from ..models.backbone import Condition
from ..predict.model import Model
from ..runtime import item_seed


@torch.no_grad()
def edit_images(
    model: Model,
    images: Sequence[Float[Tensor, "3 h w"]],
    instructions: Sequence[str],
    *,
    steps: int = 0,
    sampler: str = "ddim",
    guidance: float = 6.5,
    image_guidance: float = 0.5,
    negative: str = "",
    seed: int = 0,
) -> list[Sample]:
    """Each image in [0, 1], changed as its instruction says: one sample each, with the instruction as its text.

    For InstructPix2Pix folders (Brooks et al. 2023). guidance, image_guidance: weights towards the words and the
    image, 0 for none (diffusers' `guidance_scale` and `image_guidance_scale` are one more), away from the words
    `negative`. steps: 0 takes the model's own number. seed: with an image's place it fixes the noise. Images keep
    their size, but for sides rounded to what the model takes. They may differ in size, so each is walked alone:
    one network pass a step, of three rows where guided.

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
    walk, like = pick(SAMPLERS, sampler, "sampler"), next(backbone.parameters())
    made = []
    for place, (image, instruction) in enumerate(zip(images, instructions, strict=True), start=1):
        key = f"{place:06d}"
        seeds = [item_seed(seed, key)]
        cond = backbone.condition(backbone.fit(image)[None].to(like), [instruction])
        unsaid = Condition(cond.image, backbone.condition(None, [negative]).text)
        empty = Condition(torch.zeros_like(cond.image), unsaid.text)
        denoiser = two_way(backbone.denoise, unsaid, empty, guidance, image_guidance, join=Condition.join)
        shape = cond.image.shape[1:]
        x, fresh = gaussian(shape, seeds).to(like), fresh_noise(shape, seeds)
        count = steps or model.parts.config.steps
        on_grid = model.parts.config.walk(sampler)
        for step in walk(denoiser, x, cond, backbone.schedule, count, noise=fresh, **on_grid):
            x = step.x
        edited = (backbone.latents.decode(x.to(like)).float() / 2 + 0.5).clamp(0, 1)[0].cpu()
        made.append(Sample(Query(edited, instruction, key)))
    return made
