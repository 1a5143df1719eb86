"""A U-Net that creates is let take an image beside its noisy latents, in place, by a wider first kernel.

One that takes an image already is left as it is. Both raise `WeightsError` for one that does something else with its
channels, such as inpainting.
"""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from ..errors import WeightsError


def halved(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The kernel stands twice and halved, so that the first layer's outputs keep their size.

    For a network that only perceives (Marigold: Ke et al., CVPR 2024, section 3.3).
    """
    kernel = unet.conv_in.weight.detach()
    return _widened(unet, torch.cat([kernel, kernel], dim=1) / 2)


def zeroed(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The kernel's new channels, after the old ones, are zero: whatever the image, the network creates as before.

    For a network that goes on creating (InstructPix2Pix: Brooks et al., CVPR 2023, section 3.2).
    """
    kernel = unet.conv_in.weight.detach()
    return _widened(unet, torch.cat([kernel, torch.zeros_like(kernel)], dim=1))


def _widened(unet: UNet2DConditionModel, kernel: Tensor) -> UNet2DConditionModel:
    old, makes = unet.conv_in, unet.config.out_channels
    if old.in_channels == 2 * makes:
        return unet
    if old.in_channels != makes:
        raise WeightsError(
            f"The U-Net takes {old.in_channels} channels and makes {makes}; give one that takes {makes}, or "
            f"{2 * makes} with an image."
        )
    new = nn.Conv2d(2 * makes, old.out_channels, old.kernel_size, old.stride, old.padding)
    new.load_state_dict({"weight": kernel, "bias": old.bias.detach()})
    unet.conv_in = new.to(kernel)
    unet.register_to_config(in_channels=new.in_channels)
    return unet
