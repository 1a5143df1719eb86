"""The embedded model: a small U-Net on patches of pixels, shipped inside the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from pydantic import BaseModel, ConfigDict

from ..diffusion.schedule import Schedule
from .backbone import Backbone
from .latent import PixelPatches
from .text import TextEncoder


class Network(BaseModel):
    """The sizes of an embedded-style network: patch side in pixels, U-Net widths, text width and depth.

    `attends` counts the coarsest levels that attend, to themselves and to the words. With `pooled` the words
    also reach every level through the time embedding, summed up by attention. `words` is how many words of the
    vocabulary it knows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch: int = 4
    widths: tuple[int, ...] = (48, 96, 128)
    layers: int = 1
    text_width: int = 64
    text_layers: int = 2
    text_length: int = 24
    words: int = 551
    attends: int = 1
    pooled: bool = False


def build(network: Network, schedule: Schedule, predicts: str) -> Backbone:
    """Random weights. Attention is left to the coarsest levels, where it costs little."""
    latents = PixelPatches(network.patch)
    plain = len(network.widths) - network.attends
    summary = {"addition_embed_type": "text", "addition_embed_type_num_heads": 4} if network.pooled else {}
    unet = UNet2DConditionModel(
        in_channels=2 * latents.channels,
        out_channels=latents.channels,
        block_out_channels=network.widths,
        layers_per_block=network.layers,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * network.attends,
        up_block_types=("CrossAttnUpBlock2D",) * network.attends + ("UpBlock2D",) * plain,
        cross_attention_dim=network.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
        **summary,
    )
    # So few positions attend that plain attention is twice as fast as the fused kernel, whose way back is slow on CPUs.
    unet.set_attn_processor(AttnProcessor())
    text = TextEncoder(network.text_width, network.text_layers, network.text_length, network.words)
    # Convolutions on this layout are a fifth faster on CPUs, and no slower elsewhere.
    return Backbone(unet.to(memory_format=torch.channels_last), text, latents, schedule, predicts)


SHIPPED = ("embedded", "embedded-create")
"""Models inside the package."""


def embedded_folder(name: str = "embedded") -> Path:
    """Where the weights of a shipped model lie."""
    with as_file(files("denoisight") / "weights" / name) as folder:
        return folder
