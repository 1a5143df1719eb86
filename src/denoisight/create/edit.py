"""Images and instructions -> edited images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Editing:
    """How images are edited, by InstructPix2Pix (Brooks et al., CVPR 2023).

    steps: denoising steps, 0 for the model's own number. sampler: a name of `SAMPLERS`. guidance, image_guidance:
    weights towards the words and the image, 0 for none (diffusers' `guidance_scale` and `image_guidance_scale` are one
    more), away from the words `negative`. seed: with an image's key it fixes the noise. res: longest side in pixels at
    which the network works, 0 for the image's own.
    """

    steps: int = 0
    sampler: str = "ddim"
    guidance: float = 6.5
    image_guidance: float = 0.5
    negative: str = ""
    seed: int = 0
    res: int = 0

    def __post_init__(self) -> None:
        if self.guidance < 0 or self.image_guidance < 0:
            raise UsageError(f"Guidance is {self.guidance} and {self.image_guidance}; give 0 for none, or more.")
        for name in ("steps", "res"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}, but must be at least 0.")


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
    res: int = 0,
) -> list[Sample]:
    """Each image changed as its instruction says: one sample each, with the instruction as its text.

    For InstructPix2Pix folders. images: whatever `Model.predict` takes; they keep their size, but for sides rounded to
    what the model takes. `Editing` says what the keywords mean. Raises `UsageError` for a model that does not edit,
    other numbers of images and instructions, a negative weight, or a prompt longer than the model takes.
    """
    if len(images) != len(instructions):
        raise UsageError(f"{len(images)} images came with {len(instructions)} instructions; give one for each.")
    how = Editing(steps, sampler, guidance, image_guidance, negative, seed, res)
    check(model, instructions, how)
    queries = [as_query(image, place) for place, image in enumerate(images, start=1)]
    return [edit(model, query, said, how) for query, said in zip(queries, instructions, strict=True)]


def check(model: Model, instructions: Sequence[str], how: Editing) -> None:
    """Raises `UsageError` for a model that does not edit, or a prompt longer than it takes."""
    if not model.parts.backbone.edits:
        raise UsageError(
            f"Model {model.name!r} does not edit images; give a folder of InstructPix2Pix, or no images to create some."
        )
    model.parts.backbone.text.check([*instructions, how.negative])


@torch.no_grad()
def edit(model: Model, query: Query, instruction: str, how: Editing) -> Sample:
    """One image edited: since sizes may differ each is walked alone, a network pass a step, of three rows if guided."""
    backbone, config = model.parts.backbone, model.parts.config
    like, seeds = next(backbone.parameters()), [item_seed(how.seed, query.key)]
    cond = backbone.condition(backbone.fit(query.image, how.res)[None].to(like), [instruction])
    unsaid = Condition(cond.image, backbone.condition(None, [how.negative]).text)
    empty = Condition(torch.zeros_like(cond.image), unsaid.text)
    denoiser = two_way(backbone.denoise, [unsaid], [empty], how.guidance, how.image_guidance, join=Condition.join)
    x = gaussian(cond.image.shape[1:], seeds).to(like)
    steps, walking = how.steps or config.steps, config.walk(how.sampler)
    (edited,) = walk(backbone, denoiser, x, cond, seeds, sampler=how.sampler, steps=steps, **walking)
    return Sample(Query(edited.cpu(), instruction, query.key))
