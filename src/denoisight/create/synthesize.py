"""Captions -> images; images under their captions -> images like them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..annotations import Query, Sample
from ..diffusion.guidance import classifier_free, share_out
from ..diffusion.noise import NOISES, add_noise, fresh_noise
from ..diffusion.prediction import Denoiser
from ..diffusion.samplers import SAMPLERS, invert
from ..errors import DenoisightError, UsageError, pick
from ..models.backbone import Backbone, Condition
from ..predict.model import Model
from ..runtime import item_seed
from .captions import parsed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Creation:
    """How images are created.

    steps: denoising steps. sampler: a name of `SAMPLERS`. guidance: the weight of classifier-free guidance, 0 for
    none (diffusers' `guidance_scale` is one more), away from the words `negative`, unless a prompt says itself what
    to avoid. seed: with an image's key it
    fixes the noise, whatever the batch. size: (height, width) in pixels, rounded to what the model takes (None:
    a square of the model's own resolution). batch: images in one network pass. eta: of "ddim" alone, the share of
    fresh noise at each step in [0, 1], from none to what ddpm draws.
    """

    steps: int = 25
    sampler: str = "ddim"
    guidance: float = 2.0
    negative: str = ""
    seed: int = 0
    size: tuple[int, int] | None = None
    batch: int = 16
    eta: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, but must be at least 1.")
        if self.guidance < 0:
            raise UsageError(f"guidance is {self.guidance}; give 0 for none, or more.")
        if self.size and min(self.size) < 1:
            raise UsageError(f"Images of {self.size[1]}x{self.size[0]} were asked for; give sides of 1 pixel or more.")
        check_eta(self.eta, self.sampler)


INVERSION = "inversion"
STRATEGIES = (*NOISES, INVERSION)
"""How an image gets its noise: drawn from `NOISES`, or found by walking the sampler backwards from the image."""


def check_eta(eta: float, sampler: str) -> None:
    """Raises `UsageError` for a share of fresh noise out of range, or above 0 where the sampler has no choice."""
    if not 0 <= eta <= 1:
        raise UsageError(f"eta is {eta}; give a share of fresh noise from 0 to 1.")
    if eta and sampler != "ddim":
        raise UsageError(f"eta {eta} is of the sampler ddim, not of {sampler!r}; take ddim, or leave eta out.")


def with_eta(eta: float) -> dict[str, float]:
    """What a sampler is told of it: nothing where it is 0, since only DDIM takes it."""
    return {"eta": eta} if eta else {}


@torch.no_grad()
def synthesize(
    backbone: Backbone,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    sampler: str = "ddim",
    guidance: float | Sequence[float] = 0.0,
    negative: str = "",
    avoid: Sequence[Sequence[str]] = (),
    images: Float[Tensor, "b 3 h w"] | None = None,
    noise_level: float = 1.0,
    noise: str = "gaussian",
    size: tuple[int, int] = (64, 64),
    spacing: str = "trailing",
    **walking: Any,
) -> Float[Tensor, "b 3 h w"]:
    """One image in [0, 1] for each prompt and seed, by one network pass a step.

    From noise of `size` (height, width); or from `images` in [0, 1], noised to exactly `noise_level` in (0, 1] and
    denoised from there (Meng et al. 2022, SDEdit): little noise keeps their layout, level 1 hardly anything.
    `noise` is one of `STRATEGIES`; "inversion" takes as many passes again, and without guidance, other words or fresh
    noise it leads back to the image. `guidance` is a weight for all, or one for each. `avoid` holds for each image what
    it is steered away from, in the place of `negative`; several share the guidance.
    Sides must fit the backbone; `walking` goes to the sampler (compat, eta). Raises `UsageError` for a noise level or
    an inversion without images, and for levels out of range.
    """
    pick({name: name for name in STRATEGIES}, noise, "noise")
    if images is None and (noise_level != 1 or noise == INVERSION):
        raise UsageError(
            f"A noise level of {noise_level} by {noise} came without images; only images can be noised in part."
        )
    like, latents, cond = next(backbone.parameters()), backbone.latents, backbone.condition(None, prompts)
    height, width = size if images is None else images.shape[-2:]
    shape = (latents.channels, height // latents.stride, width // latents.stride)
    if images is None:
        x = NOISES[noise](shape, seeds).to(like)
    else:
        clean = latents.encode(images.to(like) * 2 - 1)
        # Part of a walk starts at its own level, on no stock grid.
        walking = {name: value for name, value in walking.items() if name != "compat"} | {"start": noise_level}
        if noise == INVERSION:
            x = invert(backbone.denoise, clean, cond, backbone.schedule, steps, start=noise_level, spacing=spacing)
        else:
            first = torch.full((len(clean),), backbone.schedule.timestep(noise_level), device=clean.device)
            x = add_noise(clean, NOISES[noise](shape, seeds).to(like), backbone.schedule.at(first))
    weights = guidance if isinstance(guidance, Sequence) else [guidance] * len(prompts)
    denoiser = _steered(backbone, weights, [list(each) or [negative] for each in avoid or [()] * len(prompts)])
    return walk(backbone, denoiser, x, cond, seeds, sampler=sampler, steps=steps, spacing=spacing, **walking)


def _steered(backbone: Backbone, weights: Sequence[float], negatives: Sequence[Sequence[str]]) -> Denoiser:
    """Guided away from each image's own negatives, which share its weight."""
    counts = [len(row) for row in negatives]
    columns = [[row[k] if k < len(row) else "" for row in negatives] for k in range(max(counts))]
    conds = [backbone.condition(None, column) for column in columns]
    return classifier_free(backbone.denoise, conds, share_out(weights, counts), join=Condition.join)


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
    images = backbone.latents.decode(x.to(cond.image)).float()
    if not images.isfinite().all():
        precision = cond.image.dtype
        raise DenoisightError(f"The network computed NaN or infinity in {precision}; try --precision bf16 or fp32.")
    return (images / 2 + 0.5).clamp(0, 1)


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
    eta: float = 0.0,
) -> list[Sample]:
    """One sample for each prompt, with the image and the prompt as its text; `Creation` says what the keywords mean.

    "a red box, not a sphere" is kept away from spheres; its text is "a red box".
    """
    keys = [f"{index:06d}" for index in range(1, len(prompts) + 1)]
    return list(stream(model, prompts, keys, Creation(steps, sampler, guidance, negative, seed, size, batch, eta)))


def stream(model: Model, prompts: Sequence[str], keys: Sequence[str], how: Creation = Creation()) -> Iterator[Sample]:
    """Samples in the order of the prompts. `keys` name them, and their noise hangs on these.

    Raises `UsageError` where the model never learnt to create, or a prompt is longer than it can take.
    """
    backbone, side = model.parts.backbone, model.parts.config.resolution
    require_creation(model)
    captions = [parsed(prompt) for prompt in prompts]
    backbone.text.check([*(words for text, avoid in captions for words in (text or "", *avoid)), how.negative])
    size = backbone.fitting_size(*(how.size or (side, side)))
    for first in range(0, len(prompts), how.batch):
        chosen = slice(first, first + how.batch)
        texts = [caption.text or "" for caption in captions[chosen]]
        made = synthesize(
            backbone,
            texts,
            [item_seed(how.seed, key) for key in keys[chosen]],
            steps=how.steps,
            sampler=how.sampler,
            guidance=how.guidance,
            negative=how.negative,
            avoid=[caption.avoid for caption in captions[chosen]],
            size=size,
            **with_eta(how.eta),
            **model.parts.config.walk(how.sampler),
        ).cpu()
        for image, text, key in zip(made, texts, keys[chosen], strict=True):
            yield Sample(Query(image, text, key))


def require_creation(model: Model) -> None:
    """Raises `UsageError` where the model never learnt to create."""
    if model.parts.config.creates:
        return
    if model.parts.backbone.edits:
        raise UsageError(
            f"Model {model.name!r} edits images but creates none; give it some with --image (in Python: "
            "edit_images), or teach it with: denoisight train --model FOLDER --data DIR --teaching.create 1"
        )
    raise UsageError(
        f"Model {model.name!r} never learnt to create images; teach it with: denoisight train --recipe embedded-create"
    )
