"""Folders with random weights in the shape of networks that are too large to be fetched for a benchmark."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WORDS = 77


def sd15(folder: Path) -> Path:
    """U-Net and autoencoder of Stable Diffusion 1.5 in half precision, about 1.9 GB; words, which are encoded once, by
    a single layer that knows letters."""
    if (folder / "model_index.json").exists():
        return folder
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=512,
    )
    letters = [chr(ord("a") + place) for place in range(26)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<s>", "</s>"]
    last = len(vocabulary) - 1
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=768,
            num_hidden_layers=1,
            num_attention_heads=12,
            max_position_embeddings=WORDS,
            bos_token_id=last - 1,
            eos_token_id=last,
            pad_token_id=last,
        )
    )
    tokenizer = CLIPTokenizer(
        vocab={word: place for place, word in enumerate(vocabulary)},
        merges=[],
        model_max_length=WORDS,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="</s>",
    )
    StableDiffusionPipeline(
        unet=unet.half(),
        vae=vae.half(),
        text_encoder=text.half(),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder
