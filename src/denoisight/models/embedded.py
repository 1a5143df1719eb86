"""The embedded model: a small U-Net on patches of pixels, shipped inside the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from pydantic import BaseModel, ConfigDict

from ..diffusion.schedule import Schedule
from .backbone import Backbone
from .latent import PixelPatches
from .text import TextEncoder


class Network(BaseModel):
    """The sizes of an embedded-style network: patch side in pixels, U-Net widths, text width and depth."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch: int = 4
    widths: tuple[int, ...] = (48, 96, 128)
    layers: int = 1
    text_width: int = 64
    text_layers: int = 2
    text_length: int = 24


def build(network: Network, schedule: Schedule, predicts: str) -> Backbone:
    """Random weights. Only the coarsest level attends, to itself and to the words: there it costs little."""
    latents = PixelPatches(network.patch)
    plain = len(network.widths) - 1
    unet = UNet2DConditionModel(
        in_channels=2 * latents.channels,
        out_channels=latents.channels,
        block_out_channels=network.widths,
        layers_per_block=network.layers,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * plain,
        cross_attention_dim=network.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    text = TextEncoder(network.text_width, network.text_layers, network.text_length)
    # Convolutions on this layout are a fifth faster on CPUs, and no slower elsewhere.
    return Backbone(unet.to(memory_format=torch.channels_last), text, latents, schedule, predicts)


def embedded_folder() -> Path:
    """Where the shipped weights lie."""
    with as_file(files("denoisight") / "weights" / "embedded") as folder:
        return folder
