"""A model as a folder: what it is in `model.json`, its U-Net as diffusers saves it, the rest as safetensors."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..diffusion.schedule import SCHEDULES
from ..errors import DenoisightError, WeightsError, pick
from ..runtime import whole_folder, write_text
from .backbone import Backbone
from .embedded import Network, build
from .files import again, snapshot_of
from .heads import Heads
from .lora import fused
from .stock import is_stock, open_stock, save_stock
from .taps import Taps

FORMAT: Literal[1] = 1


class TaskEntry(BaseModel):
    """A task that the model was trained for.

    `classes` where it tells classes apart, `prompt` where it was asked for in other words than the task's own, `codec`
    where its truth is drawn in another way than the task's first, `loss` where its head learnt by another loss than
    heads did when there was no choice, `steps` where it has a number of steps of its own, `stop_at` where it leaves its
    walk before the end: once the next noise level is below it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    classes: tuple[str, ...] = ()
    prompt: str | None = None
    codec: str | None = None
    loss: str | None = None
    steps: int | None = None
    stop_at: float | None = Field(default=None, ge=0, lt=1)


class ModelConfig(BaseModel):
    """All that is needed to open a model again. `resolution` is the longest side in pixels that it works at.

    `stock` is the diffusers class that opens the folder, too; network, schedule and predicts are the folder's own then.
    Tasks are read out of the network's features at the places `taps` (empty: `taps.default_places`) at the timestep
    `read_level`, under the empty prompt or the query's caption, by heads on a pyramid of at most `levels` levels, which
    may `exchange` what they see. With `attention_maps` the prompt is instead the classes of the first task that has
    some, and where the network attends to each is read, too. A task that is denoised and read is asked for by the route
    `first` where nobody says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = FORMAT
    name: str
    network: Network = Network()
    schedule: str = "scaled-linear"
    predicts: Literal["eps", "v", "x0", "flow"] = "x0"
    resolution: int = 64
    steps: int = 4
    denoises: tuple[TaskEntry, ...] = ()
    reads: tuple[TaskEntry, ...] = ()
    creates: bool = False
    stock: str = ""
    spacing: str = "trailing"
    taps: tuple[str, ...] = ()
    read_level: int = Field(default=0, ge=0)
    read_prompt: Literal["empty", "caption"] = "empty"
    levels: int = Field(default=1, ge=1)
    exchange: bool = False
    attention_maps: bool = False
    first: Literal["denoise", "readout"] = "denoise"
    provenance: dict[str, str | int | float] = {}

    def walk(self, sampler: str) -> dict[str, str]:
        """How a sampler walks for this model: on its own grid, and a stock model in the steps of diffusers' DDIM."""
        stepping = {"compat": "diffusers"} if self.stock and sampler == "ddim" else {}
        return {"spacing": self.spacing, **stepping}


@dataclass(frozen=True, eq=False)
class Parts:
    """What a folder holds: the configuration, the backbone, and heads with their taps if it reads out."""

    config: ModelConfig
    backbone: Backbone
    heads: Heads | None = None
    taps: Taps | None = None

    def with_config(self, **changes: Any) -> Parts:
        """The same weights under a changed configuration."""
        return replace(self, config=self.config.model_copy(update=changes))

    def modules(self) -> nn.ModuleDict:
        """Everything with weights, under the names that the folder and checkpoints use; of latents an autoencoder."""
        backbone = self.backbone
        present = {"unet": backbone.unet, "text": backbone.text, "heads": self.heads, "latents": backbone.latents}
        return nn.ModuleDict({name: module for name, module in present.items() if isinstance(module, nn.Module)})


def assemble(config: ModelConfig, heads_for: dict[str, int] | None = None) -> Parts:
    """A fresh model with random weights; `heads_for` names the channels of each readout task."""
    schedule = pick(SCHEDULES, config.schedule, "schedule")()
    return with_heads(config, build(config.network, schedule, config.predicts), heads_for)


def with_heads(config: ModelConfig, backbone: Backbone, heads_for: dict[str, int] | None) -> Parts:
    """The parts of a backbone, with fresh heads for the readout tasks if there are any."""
    if not heads_for:
        return Parts(config, backbone)
    names = next((entry.classes for entry in config.reads if entry.classes), ()) if config.attention_maps else ()
    taps = Taps(backbone, config.taps, names)
    heads = Heads(taps.channels, taps.strides, heads_for, config.levels, config.exchange)
    return Parts(config, backbone, heads.to(memory_format=torch.channels_last), taps)


def from_stock(
    folder: Path,
    config: ModelConfig | None = None,
    heads_for: dict[str, int] | None = None,
    allow_pickle: bool = False,
) -> Parts:
    """A plain diffusers folder: Marigold perceives its one task, Stable Diffusion creates, InstructPix2Pix edits.

    `config` is what we wrote down beside it, if we saved it. Raises `WeightsError` naming what does not fit.
    """
    stock = open_stock(folder, allow_pickle)
    task = stock.family.task
    # In the hub's cache a folder is called by its commit.
    name, _ = snapshot_of(folder) or (folder.resolve().name, "")
    told = config or ModelConfig(
        name=name.rpartition("/")[2],
        stock=stock.name,
        spacing=stock.spacing,
        steps=stock.steps,
        resolution=stock.resolution,
        # Marigold is never told what to do: its prompt is empty.
        denoises=(TaskEntry(name=task, prompt="", codec="clipped" if task == "normals" else None),) if task else (),
        creates=not task and not stock.family.edits,
    )
    parts = with_heads(told, stock.backbone, heads_for)
    parts.modules().eval()
    return parts


def save(parts: Parts, folder: Path | str, card: str = "", dtype: torch.dtype = torch.float32) -> None:
    """Write the folder whole or not at all, weights in `dtype`."""
    config, modules = parts.config, dict(parts.modules().items())
    with whole_folder(folder) as new:
        if config.stock:
            save_stock(parts.backbone, config.stock, config.spacing, config.steps, config.resolution, new, dtype)
            for part in ("unet", "text", "latents"):  # which the stock classes have written
                del modules[part]
        else:
            modules["unet"] = fused(parts.backbone.unet)
            parts.backbone.unet.save_config(new / "unet")
        for name, module in modules.items():
            weights = {k: v.detach().to("cpu", dtype).contiguous() for k, v in module.state_dict().items()}
            target = (
                new / "unet" / "diffusion_pytorch_model.safetensors" if name == "unet" else new / f"{name}.safetensors"
            )
            save_file(weights, target, metadata={"format": "pt"})
        (new / "model.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (new / "README.md").write_text(card, encoding="utf-8")


def read_config(folder: Path) -> ModelConfig:
    """Raises `WeightsError` where the folder is not one of ours, or from a later version."""
    try:
        return ModelConfig.model_validate(json.loads((folder / "model.json").read_text(encoding="utf-8")))
    except OSError as error:
        raise WeightsError(f"{folder} holds no model.json; give a folder that denoisight saved.") from error
    except (ValidationError, ValueError) as error:
        raise WeightsError(f"{folder / 'model.json'} cannot be read as a model of format {FORMAT}: {error}") from error


def store_walk(folder: Path, task: str, steps: int, stop_at: float) -> None:
    """Write into a folder's `model.json` how a task is denoised where nobody says; the weights stay as they are.

    `stop_at` is a noise level, 0 to take every step. Raises `WeightsError` where the folder has no `model.json`,
    `DataError` where it cannot be written.
    """
    config = read_config(folder)
    told = {"steps": steps, "stop_at": stop_at or None}
    entries = tuple(e.model_copy(update=told) if e.name == task else e for e in config.denoises)
    changed = config.model_copy(update={"denoises": entries})
    write_text(folder / "model.json", changed.model_dump_json(indent=2) + "\n")


def open_folder(folder: Path | str, heads_for: dict[str, int] | None = None, allow_pickle: bool = False) -> Parts:
    """Open a saved model in float32 on the CPU, in evaluation mode. Raises `WeightsError` naming the bad file.

    `allow_pickle` is for stock folders that hold no safetensors.
    """
    folder = Path(folder)
    config = read_config(folder) if (folder / "model.json").is_file() or not is_stock(folder) else None
    if config is None or config.stock:
        parts = from_stock(folder, config, heads_for, allow_pickle)
    else:
        try:
            parts = assemble(config, heads_for)
        except (DenoisightError, ValueError) as error:
            raise WeightsError(f"{folder / 'model.json'} describes a model that cannot be built: {error}") from error
    for name, module in parts.modules().items():
        if parts.config.stock and name != "heads":
            continue
        source = (
            folder / "unet" / "diffusion_pytorch_model.safetensors"
            if name == "unet"
            else folder / f"{name}.safetensors"
        )
        try:
            module.load_state_dict({k: v.float() for k, v in load_file(source).items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            first = " ".join(line.strip() for line in str(error).splitlines()[:2])
            raise WeightsError(
                f"{source} is missing, damaged or of another model ({first}); {again(source)}."
            ) from error
        module.eval()
    return parts
