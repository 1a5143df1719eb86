"""A run as one frozen value. Nothing here imports torch, so that the command line shows and checks recipes at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from ..errors import RecipeError

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def _listed(names: object) -> object:
    """Names with commas, as they are written on the command line, apart."""
    said = [names] if isinstance(names, str) else names
    return (
        tuple(part for name in said for part in str(name).split(",") if part)
        if isinstance(said, list | tuple)
        else said
    )


class Part(BaseModel):
    """Frozen, and refusing unknown keys and bad values at birth."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Optim(Part):
    """Linear warm-up and a cosine to zero. `accumulate` micro-batches make one step. Where a network is read out, what
    lies under its heads learns at `backbone_lr` times the rate.

    "muon" learns from scratch in fewer steps; weights that another optimizer has brought far are safer with "adamw".
    """

    name: Literal["adamw", "muon"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    beta2: Share = 0.99
    warmup: Annotated[int, Field(ge=0)] = 50
    clip: Annotated[float, Field(gt=0)] = 1.0
    accumulate: Positive = 1
    backbone_lr: Annotated[float, Field(gt=0)] = 1.0
    ema: Share = 0.999


class Augmentation(Part):
    """How training samples are varied: chance of a mirror image, least share of a side that a crop keeps, colour."""

    flip: Share = 0.5
    crop: Annotated[float, Field(gt=0, le=1)] = 0.7
    colour: Share = 0.3


class Noise(Part):
    """What the network predicts, over which schedule, at which training timesteps.

    Only a model that starts from nothing (`model: new`) may change `schedule` and `predicts`. `timesteps` is a law of
    `diffusion.timesteps`, or a law.json that `denoisight analyze` measured, mixed with the share `rho` of the uniform
    one; `by` sampling from it or scaling the loss by it.
    """

    schedule: str | None = None
    predicts: Literal["eps", "v", "x0", "flow"] | None = None
    timesteps: str = "ct"
    rho: Share = 0.1
    by: Literal["sampling", "scaling"] = "sampling"


class GtAugment(Part):
    """How truths are corrupted in training as denoising will: see `train.gt_augment.GtAugment`."""

    kinds: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    schedule: Literal["lambda", "time", "constant"] = "lambda"
    target: Literal["revised", "naive"] = "revised"
    perturb: Share = 0.0


class Teaching(Part):
    """What a denoising network is taught beside its tasks: see `train.objectives.Teaching`."""

    create: Share = 0.0
    passes: Natural = 0
    weights: dict[str, Annotated[float, Field(gt=0)]] = {}
    drop: Annotated[float, Field(ge=0, le=1 / 3)] = 0.0
    balance: bool = False
    paraphrase: Share = 0.0


class SelfTeaching(Part):
    """Pictures beside the data whose truths are not known or not used: see `train.self_improve`.

    `pictures` are created ones or any others: a folder, shards, scenes[:N]; at most `count` of them (0: all). Samples
    of the data are at least the share `labelled` of every batch. The pictures' `labels` are what the run's average sees
    on them as it learns, or their own. The average keeps the share `optim.ema` of itself over `average_over` pictures
    (0: a twentieth of the run's). Where it labels, a picture counts `weight` times as much as one of the data, from
    nothing on over the first `ramp` pictures that are learnt from, and its pixels only where the average is as sure as
    `confidence`. `dropout` is the share of features that heads do not see of such pictures while they learn, `colour`
    how far the pictures' colours change then and `hidden` the share of them that is blotted out; the average sees all,
    and by features with `mirror` the mirror image as well. `alone` leaves the labelled data out of the lessons, but for
    validation.
    """

    pictures: str = ""
    count: Natural = 0
    labelled: Annotated[float, Field(ge=0, lt=1)] = 0.5
    labels: Literal["average", "own"] = "average"
    weight: Annotated[float, Field(ge=0)] = 1.0
    ramp: Natural = 0
    confidence: Share = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    colour: Share = 0.0
    hidden: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mirror: bool = True
    average_over: Natural = 0
    alone: bool = False


LORA_RANK = 16


class Recipe(Part):
    """A complete training run."""

    recipe: str = Field("adapt", description="The recipe that this began as.")
    tasks: tuple[str, ...] = Field((), description="What to learn.")
    codecs: dict[str, str] = Field({}, description="How truths are drawn, where a task has a choice: depth: ratio.")
    data: str = Field("", description="A folder of labelled images, or scenes[:N].")
    model: str = Field("embedded", description='What to start from: "embedded", a folder, a hub id, or "new".')
    allow_pickle: bool = Field(False, description="Open a model of which there are only pickles.")
    route: Literal["denoise", "readout"] = Field("denoise", description="Which way the model perceives.")
    backbone: Literal["full", "frozen", "lora"] = Field(
        "full", description="What a readout trains of the network under its heads: all of it, nothing, or adapters."
    )
    taps: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (), description='Places that are read out: "every", or some, as mid,up.0.1; none: those of the model.'
    )
    read_level: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="Noise level at which the network is read out; none: that of the model, at first 0."
    )
    read_prompt: Literal["empty", "caption"] | None = Field(
        None, description="Words under which it is read out; none: as the model, at first empty."
    )
    exchange: bool | None = Field(
        None, description="Heads of several tasks tell each other what they see; none: as the model."
    )
    attention_maps: bool | None = Field(
        None, description="Read also where the network attends to each class; none: as the model."
    )
    losses: dict[str, str] = Field({}, description="By what heads learn, where a task has a choice: depth: silog.")
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="How much a head counts in relation to the others, 1 where it is not named."
    )
    sample_pixels: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Share of the pixels that enter heads' losses, mostly those that they are unsure of."
    )
    steps: Positive = Field(2000, description="Optimiser steps.")
    max_time: str = Field("", description="End by then, whatever the steps: 90s, 10m, 2h.")
    batch: Positive = Field(16, description="Images in a batch, over all processes; each is taught every task.")
    res: Natural = Field(0, description="Longest side in pixels at which the network works; 0: the model's own.")
    labels: Natural = Field(0, description="How many training samples to use; 0: all.")
    seed: int = Field(0, description="With it, the data and the versions, a run is determined.")
    network: dict[str, bool | int | tuple[int, ...]] = Field({}, description="Sizes of a new network.")
    lora: Natural = Field(
        0, description="Rank of adapters that a network learns in place of its weights; 0: none, or 16 if asked."
    )
    noise: Noise = Noise()
    gt_augment: GtAugment = GtAugment()
    teaching: Teaching = Teaching()
    self_teaching: SelfTeaching = SelfTeaching()
    optim: Optim = Optim()
    augment: Augmentation = Augmentation()
    predict_steps: Positive = Field(2, description="Denoising steps that the model takes by default.")
    validations: Positive = Field(5, description="How often to validate; the best state is kept.")
    validation_images: Positive = Field(64, description="On how many images, at most.")
    checkpoint_every: Positive = Field(250, description="Steps between checkpoints.")
    workers: Natural | None = Field(None, description="Processes that read ahead (default: 1 for scenes).")
    threads: Natural = Field(0, description="CPU threads of the network; 0: as torch chooses.")
    device: str = Field("auto", description="auto, cpu, cuda[:i] or mps.")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="Of the network's passes.")
    cache_gb: Annotated[float, Field(ge=0)] = Field(
        1.0,
        description="Memory for decoded training images, and as much again for their features where the network is "
        "frozen; 0 keeps neither: a network whose features do not fit then sees whole batches, not image by image.",
    )
    log_every: Positive = Field(20, description="Steps between lines of metrics.jsonl.")
    log_with: tuple[Literal["tensorboard"], ...] = Field((), description="Trackers beside metrics.jsonl.")

    @field_validator("max_time")
    @classmethod
    def _is_duration(cls, text: str) -> str:
        if text and not re.fullmatch(r"\d+(\.\d+)?[smh]?", text):
            raise ValueError("a time is a number with s, m or h, like 90s, 10m or 2h")
        if text and not float(text.rstrip("smh")):
            raise ValueError("a time is more than nothing; leave it out for no limit")
        return text

    @property
    def max_seconds(self) -> float | None:
        if not self.max_time:
            return None
        return float(self.max_time.rstrip("smh")) * {"m": 60, "h": 3600}.get(self.max_time[-1], 1)

    @property
    def images_per_step(self) -> int:
        """That an optimiser step learns from, over all processes."""
        return self.batch * self.optim.accumulate

    @property
    def rank(self) -> int:
        """Of the adapters that are learnt; 0 for none."""
        return self.lora or (LORA_RANK if self.backbone == "lora" else 0)

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def override(recipe: Recipe, changes: dict[str, object]) -> Recipe:
    """The recipe with changes, nested as in its YAML. Raises `RecipeError` naming the key and what it may be."""
    try:
        return Recipe.model_validate(_merge(recipe.model_dump(), changes))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise RecipeError(
            f"Recipe key {key!r}: {first['msg'].lower()} (got {first['input']!r}). See: denoisight config show"
        ) from error


def read_yaml(path: Path | str) -> dict[str, object]:
    """The changes that a --config file asks for. Raises `RecipeError` where it is no mapping."""
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"Cannot read the config file {path}: {error}") from error
    if not isinstance(value, dict):
        raise RecipeError(
            f"The config file {path} must hold `key: value` lines, like the one `denoisight config show` prints."
        )
    return value


def _merge(base: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
