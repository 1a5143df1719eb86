"""Folders of plain diffusers (Marigold, Stable Diffusion, InstructPix2Pix), opened as parts and written back.

Only components of known classes are built, by this program's own imports: a folder names classes, and no code that it
may bring or name is run.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from ..diffusion.schedule import SCHEDULES, Schedule
from ..errors import DenoisightError, WeightsError, shortlist
from .backbone import Backbone
from .files import again, check_whole, choose
from .latent import AutoencoderLatents
from .lora import fused, has_adapters, save_adapters
from .text import ClipPrompts

log = logging.getLogger(__name__)

AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
PREDICTS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}


@dataclass(frozen=True)
class Family:
    """What sets one stock pipeline apart: the task it perceives ("" for none), the width of its network's input in
    multiples of the latents' channels, whether prompts are padded, and whether it edits images by instructions."""

    task: str
    width: int
    padded: bool
    edits: bool = False


EDITING = "StableDiffusionInstructPix2PixPipeline"
"""The stock class of a network that both perceives and creates, too: a task is an edit by instruction."""

FAMILIES = {
    "MarigoldDepthPipeline": Family("depth", 2, padded=False),
    "MarigoldNormalsPipeline": Family("normals", 2, padded=False),
    "StableDiffusionPipeline": Family("", 1, padded=True),
    EDITING: Family("", 2, padded=True, edits=True),
}


@dataclass(frozen=True, eq=False)
class Stock:
    """An opened folder: the backbone, its family's name, and what the folder says of its use."""

    backbone: Backbone
    name: str
    spacing: str
    steps: int
    resolution: int

    @property
    def family(self) -> Family:
        return FAMILIES[self.name]


def is_stock(folder: Path) -> bool:
    return (folder / "model_index.json").is_file()


def check_family(folder: Path) -> tuple[str, str]:
    """The pipeline's and the autoencoder's class that a folder names. Raises `WeightsError` for one not opened here."""
    index = _read(folder / "model_index.json")
    name = str(index.get("_class_name"))
    if name not in FAMILIES:
        raise WeightsError(
            f"{folder / 'model_index.json'} is of a {name}, which denoisight does not open; "
            f"give a folder of one of these: {', '.join(FAMILIES)}."
        )
    kind = str((index.get("vae") or [None, None])[1])
    if kind not in AUTOENCODERS:
        raise WeightsError(f"{folder / 'vae'} is a {kind}; denoisight opens {' and '.join(AUTOENCODERS)}.")
    return name, kind


def open_stock(folder: Path, allow_pickle: bool = False) -> Stock:
    """Open in float32 on the CPU. Raises `WeightsError` naming the class, file or setting that does not fit.

    `allow_pickle` opens `.bin` files where there are no safetensors; what torch unpickles are still weights only.
    """
    name, kind = check_family(folder)
    index, family = _read(folder / "model_index.json"), FAMILIES[name]
    unet = _load(UNet2DConditionModel, folder / "unet", allow_pickle)
    latents = AutoencoderLatents(_load(AUTOENCODERS[kind], folder / "vae", allow_pickle))
    # transformers opens weights in the precision that they were saved in, diffusers in float32.
    clip = _load(CLIPTextModel, folder / "text_encoder", allow_pickle).float().requires_grad_(False)
    tokenizer = _tokenizer(folder / "tokenizer")
    expected = family.width * latents.channels
    takes, makes = unet.config.in_channels, unet.config.out_channels
    if (takes, makes) != (expected, latents.channels):
        raise WeightsError(
            f"{folder / 'unet'} takes {takes} channels and makes {makes}, but a {name} on latents of "
            f"{latents.channels} takes {expected} and makes {latents.channels}; give the U-Net that belongs to it."
        )
    told = _read(folder / "scheduler" / "scheduler_config.json")
    if family.task and told.get("_class_name") != "DDIMScheduler":
        log.warning("%s steps by %s; denoisight takes DDIM in its place.", folder, told.get("_class_name"))
    try:
        words = ClipPrompts(clip, tokenizer, family.padded)
        backbone = Backbone(unet, words, latents, read_schedule(told), _predicts(told), family.edits)
    except DenoisightError as error:
        raise WeightsError(f"{folder / 'scheduler'} cannot be followed: {error}") from error
    steps, resolution = index.get("default_denoising_steps"), index.get("default_processing_resolution")
    native = unet.config.sample_size * latents.stride if isinstance(unet.config.sample_size, int) else 512
    return Stock(backbone.eval(), name, _spacing(told), steps or (4 if family.task else 25), resolution or native)


def save_stock(
    backbone: Backbone, name: str, spacing: str, steps: int, resolution: int, folder: Path, dtype: torch.dtype
) -> None:
    """Write a folder that the stock class `name` opens, whose answers under DDIM are ours; weights in `dtype`.

    Adapters are added to the weights, and stand beside them in a file of their own.
    """
    family, text = FAMILIES[name], backbone.text
    assert isinstance(text, ClipPrompts) and isinstance(backbone.latents, AutoencoderLatents)
    modules = {"unet": fused(backbone.unet), "vae": backbone.latents.vae, "text_encoder": text.clip}
    if dtype != next(backbone.parameters()).dtype:
        modules = {part: nn.Module.to(copy.deepcopy(module), "cpu", dtype) for part, module in modules.items()}
    scheduler = DDIMScheduler.from_config(_describe(backbone, spacing))
    more: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if family.task:
        more = {"default_denoising_steps": steps, "default_processing_resolution": resolution}
        more["prediction_type"] = family.task
    # Pipelines are slow to import, and only this needs one.
    pipeline = getattr(import_module("diffusers"), name)
    pipeline(**modules, tokenizer=text.tokenizer, scheduler=scheduler, **more).save_pretrained(folder)
    if has_adapters(backbone.unet):
        save_adapters(backbone.unet, folder)


def perceiving(tasks: Sequence[str]) -> str:
    """The stock class of a network that only perceives these tasks: Marigold's for normals alone, or for depth."""
    return "MarigoldNormalsPipeline" if tuple(tasks) == ("normals",) else "MarigoldDepthPipeline"


def read_schedule(told: dict[str, Any]) -> Schedule:
    """The noise schedule of a `scheduler_config.json`. Raises `WeightsError` for one that we lack."""
    for name, make in SCHEDULES.items():
        schedule = make()
        if _same(told, _betas(schedule)):
            return replace(schedule, name=name, ends_clean=bool(told.get("set_alpha_to_one", True)))
    shown = {key: told.get(key) for key in ("beta_schedule", "beta_start", "beta_end", "num_train_timesteps")}
    raise WeightsError(f"its schedule {shown} is none of {', '.join(SCHEDULES)}")


_RANGES = {"scaled-linear": ("scaled_linear", 0.00085, 0.012), "linear": ("linear", 0.0001, 0.02)}


def _betas(schedule: Schedule) -> dict[str, Any]:
    """What diffusers calls a schedule of ours; {} for those it has no words for."""
    kind = schedule.name.removesuffix("-zero-terminal")
    if kind not in _RANGES:
        return {}
    name, first, last = _RANGES[kind]
    zero = schedule.name.endswith("-zero-terminal")
    return {
        "beta_schedule": name,
        "beta_start": first,
        "beta_end": last,
        "num_train_timesteps": schedule.num_timesteps,
        "rescale_betas_zero_snr": zero,
    }


def _same(told: dict[str, Any], betas: dict[str, Any]) -> bool:
    defaults = {"rescale_betas_zero_snr": False, "num_train_timesteps": 1000}
    return bool(betas) and all(told.get(key, defaults.get(key)) == value for key, value in betas.items())


def _describe(backbone: Backbone, spacing: str) -> dict[str, Any]:
    kinds = {ours: theirs for theirs, ours in PREDICTS.items()}
    return {
        **_betas(backbone.schedule),
        "prediction_type": kinds[backbone.predicts],
        "timestep_spacing": spacing.removesuffix("-offset"),
        "steps_offset": int(spacing.endswith("-offset")),
        "set_alpha_to_one": backbone.schedule.ends_clean,
        "clip_sample": False,
    }


def _predicts(told: dict[str, Any]) -> str:
    kind = told.get("prediction_type", "epsilon")
    if kind not in PREDICTS:
        raise WeightsError(f"it predicts {kind!r}, which is none of {', '.join(PREDICTS)}")
    if told.get("clip_sample") or told.get("thresholding"):
        raise WeightsError("it clips the clean estimate of latents; set clip_sample and thresholding to false")
    return PREDICTS[kind]


def _spacing(told: dict[str, Any]) -> str:
    spacing = str(told.get("timestep_spacing", "leading"))
    return f"{spacing}-offset" if spacing == "leading" and told.get("steps_offset") else spacing


def _load(kind: Any, folder: Path, allow_pickle: bool) -> Any:
    names = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    weights = choose(folder, names, allow_pickle, again(folder))
    for name in weights.names:
        if not weights.pickled:
            check_whole(folder / name)
    # What is no JSON object is taken by diffusers for the name of a model to look for.
    _read(folder / "config.json")
    how = {"use_safetensors": not weights.pickled, "variant": weights.variant}
    try:
        return kind.from_pretrained(folder, local_files_only=True, **how)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, UnpicklingError) as error:
        raise WeightsError(
            f"{folder} holds no whole {kind.__name__} in {shortlist(weights.names)} ({_first(error)}); {again(folder)}."
        ) from error


def _tokenizer(folder: Path) -> CLIPTokenizer:
    names = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    # Without them transformers makes a tokenizer that knows no words, and says nothing.
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise WeightsError(f"{folder} holds neither tokenizer.json nor vocab.json with merges.txt; {again(folder)}.")
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{folder} cannot be read ({_first(error)}); {again(folder)}.") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is missing or damaged ({_first(error)}); {again(path)}.") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path} does not hold a JSON object; {again(path)}.")
    return value


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
