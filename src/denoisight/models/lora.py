"""Low-rank adapters on a U-Net's attention, trained in place of its weights (Hu et al., ICLR 2022), by peft."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from ..errors import RecipeError
from ..runtime import optional

EXTRA = "lora"

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
"""What diffusers calls the projections of its attention."""

FREE_FILE = "free_weights.safetensors"


def add_adapters(unet: UNet2DConditionModel, rank: int, free: Sequence[str] = ()) -> None:
    """Freeze a U-Net but for new adapters of this rank, and for its parts named in `free`, in place.

    Its answers stay what they were until the adapters are trained. Raises `RecipeError` for a rank that saves nothing,
    `MissingExtraError` without peft.
    """
    peft = optional("peft", EXTRA)
    projections = [module for name, module in unet.named_modules() if name.endswith(PROJECTIONS)]
    most = min(min(module.in_features, module.out_features) for module in projections)
    if rank > most:
        raise RecipeError(f"A LoRA rank of {rank} is more than this U-Net's attention has, {most}; lower --lora.")
    unet.requires_grad_(False)
    # With alpha as large as the rank adapters count once, which is also what opens a file that says nothing of it.
    unet.add_adapter(peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=list(PROJECTIONS)))
    for part in free:
        unet.get_submodule(part).requires_grad_(True)


def has_adapters(unet: UNet2DConditionModel) -> bool:
    return bool(getattr(unet, "peft_config", None))


def fused(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy with its adapters added to the weights; the U-Net itself where it has none.

    A copy, since taking adapters out of weights again leaves them with rounding errors, and training goes on.
    """
    if not has_adapters(unet):
        return unet
    whole = copy.deepcopy(unet)
    whole.fuse_lora()
    whole.unload_lora()
    return whole


def save_adapters(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write `pytorch_lora_weights.safetensors`, which diffusers' `load_lora_weights` adds to what training began with.

    Weights that were free beside the adapters go into `free_weights.safetensors`, under their names in the U-Net.
    """
    layers = optional("peft", EXTRA).get_peft_model_state_dict(unet)
    convert = import_module("diffusers.utils").convert_state_dict_to_diffusers
    # Like the pipelines, this is slow to import.
    loader = import_module("diffusers.loaders").StableDiffusionLoraLoaderMixin
    loader.save_lora_weights(folder, unet_lora_layers=convert(layers))
    trained = {name: weight for name, weight in unet.named_parameters() if weight.requires_grad}
    free = {name: weight.detach().cpu() for name, weight in trained.items() if ".lora_" not in name}
    if free:
        save_file(free, folder / FREE_FILE, metadata={"format": "pt"})
