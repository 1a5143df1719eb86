"""The two halves of a backbone and what joins them: a latent space, and a network that denoises in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..annotations import resize_image
from ..diffusion import prediction
from ..diffusion.schedule import Level, Schedule
from .text import Prompts


@runtime_checkable
class LatentSpace(Protocol):
    """Pixels in [-1, 1] <-> latents of about unit variance, `stride` times smaller."""

    channels: int
    stride: int

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h2 w2"]: ...

    def unscale(self, latents: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b c h2 w2"]:
        """The same in the autoencoder's own scale."""
        ...

    def decode(self, latents: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b 3 h w"]: ...

    def valid(self, valid: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b c h2 w2"]:
        """Which latents may be judged, from which pixels may."""
        ...


@dataclass(frozen=True, eq=False)
class Condition:
    """What a denoising step knows beside the noisy latents: the image (zeros when creating) and the words."""

    image: Float[Tensor, "b c h w"]
    text: Float[Tensor, "b n d"]

    def join(self, other: Condition) -> Condition:
        """Both, one after the other along the batch."""
        return Condition(torch.cat([self.image, other.image]), torch.cat([self.text, other.text]))

    def repeat(self, times: int) -> Condition:
        """Each item `times` times in a row."""
        return Condition(self.image.repeat_interleave(times, 0), self.text.repeat_interleave(times, 0))


class Backbone(nn.Module):
    """One conditional denoiser: latent space, U-Net, text encoder, noise schedule and what the U-Net predicts.

    Calling it is the plain network pass; `denoise` is the contract `(x, level, cond) -> clean x`. `edits` says that the
    network takes the image as InstructPix2Pix does: after the noisy latents, and unscaled.
    """

    def __init__(
        self,
        unet: nn.Module,
        text: Prompts,
        latents: LatentSpace,
        schedule: Schedule,
        predicts: str,
        edits: bool = False,
    ) -> None:
        super().__init__()
        prediction.require_defined(predicts, schedule)
        self.unet = unet
        self.text = text
        self.latents = latents
        self.schedule = schedule
        self.predicts = predicts
        self.edits = edits

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def granularity(self) -> int:
        """Image sides must be multiples of this many pixels."""
        return self.latents.stride * 2 ** (len(self.unet.config.block_out_channels) - 1)

    def condition(self, images: Float[Tensor, "b 3 h w"] | None, prompts: Sequence[str]) -> Condition:
        """Images in [0, 1], or None to create from the words alone; each distinct prompt is encoded once.

        Without images a single zero stands for them, which `forward` spreads over the picture.
        """
        words = self.text(prompts)
        if images is None:
            return Condition(words.new_zeros(len(words), self.latents.channels, 1, 1), words)
        return Condition(self.see(images), words)

    def see(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Images in [0, 1] as the network takes them beside the noisy latents."""
        return self.beside(self.latents.encode(images * 2 - 1))

    def beside(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """An image's latents in the scale in which the network takes them beside the noisy ones."""
        return self.latents.unscale(image) if self.edits else image

    def forward(self, x: Float[Tensor, "b c h w"], level: Level, cond: Condition) -> Float[Tensor, "b c h w"]:
        """The U-Net's own output. The image comes first among the input channels, as in Marigold, or last where the
        network edits; one that has no channels for an image only creates."""
        parts = [x]
        if self.unet.config.in_channels > x.shape[1]:
            image = cond.image.expand(*cond.image.shape[:2], *x.shape[2:])
            parts = [x, image] if self.edits else [image, x]
        joined = torch.cat(parts, dim=1).to(cond.image.dtype)
        return self.unet(joined, level.t, cond.text).sample

    def denoise(self, x: Float[Tensor, "b c h w"], level: Level, cond: Condition) -> Float[Tensor, "b c h w"]:
        return prediction.clean_from(self.predicts, self(x, level, cond), x, level)

    def fitting_size(self, height: int, width: int, longest: int = 0) -> tuple[int, int]:
        """The size at which an image is processed: longest side `longest` (0 keeps it), sides to the granularity."""
        scale = longest / max(height, width) if longest else 1.0
        step = self.granularity
        return tuple(max(step, round(side * scale / step) * step) for side in (height, width))  # type: ignore[return-value]

    def fit(self, image: Float[Tensor, "*b 3 h w"], longest: int = 0) -> Float[Tensor, "*b 3 h2 w2"]:
        return resize_image(image, *self.fitting_size(image.shape[-2], image.shape[-1], longest))
