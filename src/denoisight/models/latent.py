"""Latent spaces: exact patches of pixels, or a variational autoencoder."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class PixelPatches:
    """Each square patch of pixels becomes the channels of one position; nothing is lost and nothing is learnt."""

    def __init__(self, patch: int = 4) -> None:
        self.stride = patch
        self.channels = 3 * patch**2

    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h2 w2"]:
        return F.pixel_unshuffle(pixels, self.stride)

    def unscale(self, latents: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b c h2 w2"]:
        return latents

    def decode(self, latents: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b 3 h w"]:
        return F.pixel_shuffle(latents, self.stride)

    def valid(self, valid: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b c h2 w2"]:
        return F.pixel_unshuffle(valid[:, None].expand(-1, 3, -1, -1), self.stride)


class AutoencoderLatents(nn.Module):
    """A diffusers `AutoencoderKL` or `AutoencoderTiny`, frozen, scaled as its own configuration says.

    Latents are the posterior's mode; decoded pixels may leave [-1, 1].
    """

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(False).eval()
        self.shift = getattr(vae.config, "shift_factor", None) or 0.0
        self.channels = vae.config.latent_channels
        self.stride = 2 ** (len(vae.config.block_out_channels) - 1)

    @property
    def precision(self) -> torch.dtype:
        """To which all that comes in is brought."""
        return next(self.vae.parameters()).dtype

    @torch.no_grad()
    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h2 w2"]:
        encoded = self.vae.encode(pixels.to(self.precision))
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return (latents - self.shift) * self.vae.config.scaling_factor

    def unscale(self, latents: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b c h2 w2"]:
        return latents / self.vae.config.scaling_factor + self.shift

    def decode(self, latents: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b 3 h w"]:
        return self.vae.decode(self.unscale(latents.to(self.precision))).sample

    def valid(self, valid: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b c h2 w2"]:
        """A latent counts only where every pixel that it stands for does."""
        invalid = F.max_pool2d((~valid)[:, None].float(), self.stride)
        return (invalid == 0).expand(-1, self.channels, -1, -1)
