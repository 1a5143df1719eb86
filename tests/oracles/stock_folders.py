"""Tiny folders with random weights, as plain diffusers saves them."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    MarigoldDepthPipeline,
    MarigoldNormalsPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

PIPELINES = {
    "depth": MarigoldDepthPipeline,
    "normals": MarigoldNormalsPipeline,
    "create": StableDiffusionPipeline,
    "edit": StableDiffusionInstructPix2PixPipeline,
}

SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "trailing",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
}
"""That of Marigold v1-1."""


def stock_folder(folder: Path, kind: str, tiny_vae: bool = False, length: int = 12, **scheduler: Any) -> Path:
    """Random weights, large enough that outputs vary over the picture; prompts of `length` letters and marks."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=4 if kind == "create" else 8,
            out_channels=4,
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=8,
        )
        vae = AutoencoderTiny() if tiny_vae else _autoencoder()
        clip = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=length, bos_token_id=62, eos_token_id=63, pad_token_id=63,
            )
        )  # fmt: skip
        for module in (unet.conv_out, getattr(vae.decoder, "conv_out", None)):
            if module is not None:
                torch.nn.init.normal_(module.weight, std=0.5)
    more = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if kind in ("depth", "normals"):
        more = {"prediction_type": kind, "default_denoising_steps": 4, "default_processing_resolution": 0}
    PIPELINES[kind](
        unet=unet, vae=vae, text_encoder=clip, tokenizer=_tokenizer(length),
        scheduler=DDIMScheduler(**{**SCHEDULER, **scheduler}), **more,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip


def _tokenizer(length: int) -> CLIPTokenizer:
    letters = [chr(ord("a") + i) for i in range(26)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), *(str(i) for i in range(10)), "<s>", "</s>"]
    assert len(vocabulary) == 64
    return CLIPTokenizer(
        vocab={word: i for i, word in enumerate(vocabulary)}, merges=[], model_max_length=length,
        bos_token="<s>", eos_token="</s>", unk_token="</s>", pad_token="</s>",
    )  # fmt: skip
