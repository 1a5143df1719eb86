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
    """Linear warm-up and a cosine to zero."""

    name: Literal["adamw", "muon"] = Field(
        "adamw",
        description="muon learns from scratch in fewer steps; weights that were brought far are safer with adamw.",
    )
    lr: Annotated[float, Field(gt=0)] = Field(5e-4, description="Learning rate after the warm-up.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="Share of the weights taken off per rate.")
    beta2: Share = Field(0.99, description="Decay of the mean square of gradients.")
    warmup: Natural = Field(50, description="Steps over which the rate grows from nothing.")
    clip: Annotated[float, Field(gt=0)] = Field(1.0, description="Largest norm of a gradient.")
    accumulate: Positive = Field(1, description="Batches that make one optimiser step.")
    backbone_lr: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Rate of the network under the heads, in relation to theirs."
    )
    ema: Share = Field(
        0.999, description="Share of itself that the averaged weights keep at a step; see --self-teaching.average-over."
    )


class Augmentation(Part):
    """How training samples are varied."""

    flip: Share = Field(0.5, description="Chance of a mirror image.")
    crop: Annotated[float, Field(gt=0, le=1)] = Field(0.7, description="Least share of a side that a crop keeps.")
    colour: Share = Field(0.3, description="How far colours change.")


class Noise(Part):
    """What the network predicts, over which schedule, at which training timesteps.

    Only a model that starts from nothing (`model: new`) may change `schedule` and `predicts`.
    """

    schedule: str | None = Field(
        None,
        description="Noise schedule of a new network: scaled-linear, linear (or either with -zero-terminal), cosine, "
        "flow.",
    )
    predicts: Literal["eps", "v", "x0", "flow"] | None = Field(None, description="What a new network predicts.")
    timesteps: str = Field(
        "ct",
        description="Law by which training timesteps are drawn: uniform, ramp, ct, ct2, ct-ddpm, ct2-ddpm, native, "
        "converted, min-snr, p2, logit-normal, mode, mode-shifted, or the law.json that `denoisight analyze` wrote.",
    )
    rho: Share = Field(0.1, description="Share of the uniform law that is mixed in.")
    by: Literal["sampling", "scaling"] = Field("sampling", description="Draw timesteps by the law, or weigh losses.")


class GtAugment(Part):
    """How truths are corrupted in training as denoising will: see `train.gt_augment.GtAugment`."""

    kinds: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (),
        description="How truths are corrupted, several with commas: shape, shift, confuse, swap, jitter, blur, drift, "
        "colour (all: those of these that fit), on-policy or on-policy-exact; none: not at all.",
    )
    strength: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="The most that truths are corrupted.")
    schedule: Literal["lambda", "time", "constant"] = Field(
        "lambda", description="How the strength grows with the noise."
    )
    target: Literal["revised", "naive"] = Field(
        "revised", description="Aim at the clean truth, or (for studies) at the corrupted one."
    )
    perturb: Share = Field(0.0, description="Noise on the noise that the target does not tell of, in shares of it.")


class Teaching(Part):
    """What a denoising network is taught beside its tasks: see `train.objectives.Teaching`."""

    create: Share = Field(0.0, description="Share of passes that learn to make the image itself from its caption.")
    passes: Natural = Field(0, description="Passes of an image in a step, its roles drawn anew; 0: every task once.")
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="How often a task is drawn in relation to the others, 1 where it is not named."
    )
    drop: Annotated[float, Field(ge=0, le=1 / 3)] = Field(
        0.0, description="Chance to leave out the words, the image, and both: of each."
    )
    balance: bool = Field(False, description="Every role's error counts in shares of its canvases' variance.")
    paraphrase: Share = Field(0.0, description="Chance to ask for a task in one of many ways.")


class SelfTeaching(Part):
    """Pictures beside the data whose truths are not known or not used: see `train.self_improve`."""

    pictures: str = Field("", description="Created pictures or any others: a folder, shards, scenes[:N].")
    count: Natural = Field(0, description="How many of them, at most; 0: all.")
    labelled: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.5, description="Least share of each batch that samples of the data are."
    )
    labels: Literal["average", "own"] = Field(
        "average", description="The pictures' labels: what the run's averaged weights see as it learns, or their own."
    )
    weight: Annotated[float, Field(ge=0)] = Field(
        1.0, description="How much a picture that the average labels counts, beside 1 of a sample of the data."
    )
    ramp: Natural = Field(
        0, description="Pictures (not steps) that are learnt from until that weight is reached, from nothing on."
    )
    confidence: Share = Field(0.0, description="Pixels that the average is less sure of are not learnt from.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of features that heads do not see of such pictures while they learn; the average does."
    )
    colour: Share = Field(0.0, description="How far the pictures' colours change for the learner, not for the average.")
    hidden: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of them that is blotted out for the learner, not for the average."
    )
    mirror: bool = Field(
        True, description="By features, the average answers with the mean of a picture and its mirror image."
    )
    average_over: Natural = Field(
        0, description="Pictures over which the average keeps --optim.ema of itself; 0: a twentieth of the run's."
    )
    alone: bool = Field(False, description="Learn from the pictures alone; the data only validates.")


LORA_RANK = 16


class Recipe(Part):
    """A complete training run."""

    recipe: str = Field("adapt", description="The recipe that this began as; set by the command.")
    tasks: tuple[str, ...] = Field((), description="What to learn; on the command line TASK or --task says so.")
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
