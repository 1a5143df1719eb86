"""Captions -> images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Query, Sample
from ..diffusion.guidance import classifier_free
from ..diffusion.noise import add_noise, fresh_noise, gaussian
from ..diffusion.prediction import Denoiser
from ..diffusion.samplers import SAMPLERS
from ..errors import UsageError, pick
from ..models.backbone import Backbone, Condition
from ..predict.model import Model
from ..runtime import item_seed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Creation:
    """How images are created.

    steps: denoising steps. sampler: a name of `SAMPLERS`. guidance: the weight of classifier-free guidance, 0 for
    none (diffusers' `guidance_scale` is one more), away from the words `negative`. seed: with an image's key it
    fixes the noise, whatever the batch. size: (height, width) in pixels, rounded to what the model takes (None:
    a square of the model's own resolution). batch: images in one network pass.
    """

    steps: int = 25
    sampler: str = "ddim"
    guidance: float = 2.0
    negative: str = ""
    seed: int = 0
    size: tuple[int, int] | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, but must be at least 1.")
        if self.guidance < 0:
            raise UsageError(f"guidance is {self.guidance}; give 0 for none, or more.")


@torch.no_grad()
def synthesize(
    backbone: Backbone,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    sampler: str = "ddim",
    guidance: float = 0.0,
    negative: str = "",
    images: Float[Tensor, "b 3 h w"] | None = None,
    noise_level: float = 1.0,
    size: tuple[int, int] = (64, 64),
    **walking: Any,
) -> Float[Tensor, "b 3 h w"]:
    """One image in [0, 1] for each prompt and seed, by one network pass a step.

    From noise of `size` (height, width); or from `images` in [0, 1], noised to exactly `noise_level` in (0, 1] and
    denoised from there (Meng et al. 2022, SDEdit): little noise keeps their layout, level 1 hardly anything.
    Sides must fit the backbone; `walking` goes to the sampler (spacing, compat). Raises `UsageError` for a noise
    level without images or out of range.
    """
    if images is None and noise_level != 1:
        raise UsageError(f"A noise level of {noise_level} came without images; only images can be noised in part.")
    like, latents = next(backbone.parameters()), backbone.latents
    height, width = size if images is None else images.shape[-2:]
    shape = (latents.channels, height // latents.stride, width // latents.stride)
    x, start = gaussian(shape, seeds).to(like), None
    if images is not None:
        first = torch.full((len(x),), backbone.schedule.timestep(noise_level), device=x.device)
        x = add_noise(latents.encode(images.to(like) * 2 - 1), x, backbone.schedule.at(first))
        start = noise_level
    negatives = backbone.condition(None, [negative] * len(prompts))
    denoiser = classifier_free(backbone.denoise, [negatives], guidance, join=Condition.join)
    cond = backbone.condition(None, prompts)
    return walk(backbone, denoiser, x, cond, seeds, sampler=sampler, steps=steps, start=start, **walking)


def walk(
    backbone: Backbone,
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    cond: Condition,
    seeds: Sequence[int],
    *,
    sampler: str,
    steps: int,
    **walking: Any,
) -> Float[Tensor, "b 3 h2 w2"]:
    """Images in [0, 1] at the end of a sampler's walk from the latents `x`; the seeds fix what noise it adds."""
    fresh = fresh_noise(x.shape[1:], seeds)
    for step in pick(SAMPLERS, sampler, "sampler")(
        denoiser, x, cond, backbone.schedule, steps, noise=fresh, **walking
    ):  # fmt: skip
        x = step.x
    return (backbone.latents.decode(x.to(cond.image)).float() / 2 + 0.5).clamp(0, 1)


def create_images(
    model: Model,
    prompts: Sequence[str],
    *,
    steps: int = 25,
    sampler: str = "ddim",
    guidance: float = 2.0,
    negative: str = "",
    seed: int = 0,
    size: tuple[int, int] | None = None,
    batch: int = 16,
) -> list[Sample]:
    """One sample for each prompt, with the image and the prompt as its text; `Creation` says what the keywords mean."""
    keys = [f"{index:06d}" for index in range(1, len(prompts) + 1)]
    return list(stream(model, prompts, keys, Creation(steps, sampler, guidance, negative, seed, size, batch)))


def stream(model: Model, prompts: Sequence[str], keys: Sequence[str], how: Creation = Creation()) -> Iterator[Sample]:
    """Samples in the order of the prompts. `keys` name them, and their noise hangs on these.

    Raises `UsageError` where the model never learnt to create, or a prompt is longer than it can take.
    """
    backbone, side = model.parts.backbone, model.parts.config.resolution
    if not model.parts.config.creates:
        if backbone.edits:
            raise UsageError(
                f"Model {model.name!r} edits images but creates none; give it some with --image (in Python: "
                "edit_images), or teach it with: denoisight train --model FOLDER --data DIR --teaching.create 1"
            )
        raise UsageError(
            f"Model {model.name!r} never learnt to create images; "
            "teach it with: denoisight train --recipe embedded-create"
        )
    backbone.text.check([*prompts, how.negative])
    size = backbone.fitting_size(*(how.size or (side, side)))
    for first in range(0, len(prompts), how.batch):
        chosen = slice(first, first + how.batch)
        made = synthesize(
            backbone,
            prompts[chosen],
            [item_seed(how.seed, key) for key in keys[chosen]],
            steps=how.steps,
            sampler=how.sampler,
            guidance=how.guidance,
            negative=how.negative,
            size=size,
            **model.parts.config.walk(how.sampler),
        ).cpu()
        for image, prompt, key in zip(made, prompts[chosen], keys[chosen], strict=True):
            yield Sample(Query(image, prompt, key))
