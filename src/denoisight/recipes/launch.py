"""From a recipe to a trained model: the one place that knows the concrete classes of every room."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration
from torch import Tensor, nn

from ..annotations import Batch
from ..data.augment import Augment, fit
from ..data.open import open_data, open_pictures, subset
from ..data.readers import Reader
from ..data.scenes import SPLITS
from ..errors import DenoisightError, RecipeError, UsageError
from ..models.backbone import Backbone
from ..models.folder import Parts
from ..predict.model import Model, task_of
from ..runtime import pick_device, use_threads, warn_of_emulation, world
from ..tasks import TASKS, Task, make_tasks
from ..tasks.instruct import INSTRUCT
from ..train.batches import Stream, batches
from ..train.ema import Averaged
from ..train.objectives import DenoiseObjective, Teaching
from ..train.optimizers import make_optimizer
from ..train.run import Run
from ..train.validate import validate
from .base import Recipe
from .objective import check_route, gt_augment_of, objective_of
from .record import card, claim, data_name, describe, is_scenes
from .self_teaching import average_of, beside, decay_in, self_taught
from .start import starting_parts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What a run left behind."""

    folder: Path
    best: dict[str, Any]
    seconds: float
    is_main: bool


def train(
    recipe: Recipe,
    out: Path | str,
    *,
    resume: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    within: Callable[[nn.Module], AbstractContextManager[object]] = nullcontext,
) -> Trained:
    """Run a recipe into `out`: config.yaml, env.json, metrics.jsonl, checkpoints/, model/ (the best by validation).

    resume: "latest" or a checkpoint folder. within: a context that is asked for with the network, and entered while it
    is trained and validated, for who counts its passes. Raises `UsageError` for a folder in use without `resume` or
    `overwrite`, `RecipeError` for values that do not go together, `DataError` for data that do not fit.
    """
    out = Path(out)
    use_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    reader, held_out = _readers(recipe)
    accelerator = _accelerator(recipe, out)
    parts = starting_parts(recipe, reader)
    learnt = parts.config.denoises if recipe.route == "denoise" else parts.config.reads
    tasks = tuple(task_of(entry) for entry in learnt if entry.name != INSTRUCT)
    objective = objective_of(recipe, parts, tasks).to(accelerator.device).train()
    optim = recipe.optim
    optimizer = make_optimizer(
        *(optim.name, objective, optim.lr, optim.beta2, optim.weight_decay),
        rate=lambda name: 1.0 if "heads." in name else optim.backbone_lr,
    )
    average = average_of(recipe, objective)
    if isinstance(objective, DenoiseObjective):
        objective.teacher = Averaged(parts.backbone, average)
    plain, objective = objective, self_taught(recipe, objective, parts, tasks, average)
    # Only now, so that a recipe that is refused leaves no folder behind.
    if accelerator.is_main_process:
        claim(out, recipe, resume, overwrite)
        describe(recipe, out, reader, held_out, accelerator.device)
    accelerator.wait_for_everyone()
    run = _run(recipe, out, accelerator, quiet)
    if resume:
        run.resume(objective, optimizer, average, None if resume == "latest" else Path(resume))
    wrapped, optimizer = accelerator.prepare(objective, optimizer)
    model = Model(parts)
    began = time.monotonic()
    with within(parts.backbone.unet):
        run.train(
            wrapped,
            optimizer,
            average,
            accelerator,
            batches=_batches(recipe, reader, parts, tasks, accelerator),
            validate=lambda: _validate(recipe, model, plain, held_out),
            keep=lambda scores, step: _keep(recipe, model, out / "model", scores, step),
        )
    # The first process still validates and saves. One that tore its group down right after its last gather could also
    # wait for ever: gloo's thread may then still be freeing the gathered tensors, for which it needs the interpreter.
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return Trained(out, run.state["best"] or {}, time.monotonic() - began, accelerator.is_main_process)


def _run(recipe: Recipe, out: Path, accelerator: Accelerator, quiet: bool) -> Run:
    return Run(
        folder=out,
        steps=recipe.steps,
        seed=recipe.seed,
        lr=recipe.optim.lr,
        warmup=recipe.optim.warmup,
        clip=recipe.optim.clip,
        accumulate=recipe.optim.accumulate,
        max_time=recipe.max_seconds,
        validations=recipe.validations,
        checkpoint_every=recipe.checkpoint_every,
        log_every=recipe.log_every,
        quiet=quiet,
        on_log=_tracker(recipe, accelerator),
        both=bool(recipe.self_teaching.pictures),
        decay=partial(decay_in, recipe) if recipe.self_teaching.pictures else None,
    )


def _batches(
    recipe: Recipe, reader: Reader, parts: Parts, tasks: tuple[Task, ...], accelerator: Accelerator
) -> Callable[[int], Generator[Batch, None, None]]:
    """This process's share of the micro-batches from a step on."""
    # What a mask may be confused with is drawn from the picture's instances, where they are known.
    confusing = [truth for truth in gt_augment_of(recipe).truths_beside(tasks) if truth in reader.truths]
    stream = Stream(
        reader,
        truths=[*(task.truth for task in tasks), *confusing],
        size=parts.backbone.fitting_size(*reader[0].size, parts.config.resolution),
        augment=Augment(recipe.augment.flip, recipe.augment.crop, recipe.augment.colour),
        batch=recipe.batch,
        seed=recipe.seed,
        cache_gb=recipe.cache_gb,
    )
    micro = recipe.optim.accumulate
    share = (accelerator.process_index, accelerator.num_processes)
    return lambda start: batches(stream, start * micro, recipe.steps * micro, _workers(recipe, reader), *share)


def _validate(recipe: Recipe, model: Model, objective: nn.Module, held_out: Reader) -> dict[str, float]:
    """Scores of the tasks; of creation the held-out images' own loss, always at the same noise."""
    scores = validate(model, recipe.tasks, recipe.route, held_out, model.parts.config.steps)
    if recipe.teaching.create:
        creating = _creating(model.parts.backbone, objective.law)
        loss = _creation_loss(creating, held_out, model.parts.config.resolution, recipe.batch)
        scores = {**scores, "create/loss": loss, "badness": scores["badness"] + loss}
    return scores


def _creating(backbone: Backbone, law: Tensor) -> DenoiseObjective:
    """Learns to create alone, where the network is."""
    return DenoiseObjective(backbone, (), law, Teaching(create=1.0)).to(backbone.device)


def _creation_loss(creating: DenoiseObjective, images: Reader, resolution: int, batch: int) -> float:
    """The mean over images of one size, which is how they are learnt."""
    size, total = creating.backbone.fitting_size(*images[0].size, resolution), 0.0
    for first in range(0, len(images), batch):
        chosen = [fit(images[i].only(()), size) for i in range(first, min(first + batch, len(images)))]
        with torch.no_grad():
            losses = creating(Batch.of(chosen).to(creating.backbone.device), seed=0, step=0)
        total += len(chosen) * float(losses["create"])
    return total / len(images)


def _keep(recipe: Recipe, model: Model, folder: Path, scores: dict[str, float], step: int) -> None:
    """Save the state that validated best, telling how it came about; of scores those that some image has."""
    rounded = {name: round(value, 5) for name, value in scores.items() if name != "badness" and not isnan(value)}
    made: dict[str, str | int | float] = {"step": step, "seed": recipe.seed, "data": data_name(recipe.data), **rounded}
    if recipe.rank:
        made["lora"] = recipe.rank
    model.save_pretrained(folder, card(recipe, scores, step), provenance=made)


def _readers(recipe: Recipe) -> tuple[Reader, Reader]:
    """Training samples, and the validation images by which the best model is chosen."""
    check_route(recipe)
    if not recipe.tasks and not recipe.teaching.create:
        raise RecipeError(f"No task to train; name some of: {', '.join(TASKS)}.")
    if not recipe.data:
        raise RecipeError(
            "No data to train on; give a folder of labelled images with --data DIR, or --data scenes:1000."
        )
    tasks = [make_tasks([name], ("any",))[0] for name in recipe.tasks]
    truths = [task.truth for task in tasks]
    size = (recipe.res or 64,) * 2
    reader = _opened(recipe.data, "train", truths, size)
    if confusing := gt_augment_of(recipe).truths_beside(tasks):
        known = open_data(recipe.data).truths
        more = [truth for truth in confusing if truth in known]
        reader = open_data(recipe.data, "train", [*truths, *more], size=size)
    if recipe.labels:
        reader = subset(reader, recipe.labels)
    reader = beside(recipe, reader)
    # With their number, since there may be a folder called scenes.
    name = f"scenes:{len(SPLITS['val'])}" if is_scenes(recipe.data) else recipe.data
    held_out = _opened(name, "val", truths, size)
    return reader, subset(held_out, min(len(held_out), recipe.validation_images))


def _opened(data: str, split: str, truths: Sequence[str], size: tuple[int, int]) -> Reader:
    """Who learns to create alone needs no truths."""
    if not truths:
        return open_pictures(data, split, size=size, annotated=False)
    return open_data(data, split, truths, size=size)


def _accelerator(recipe: Recipe, out: Path) -> Accelerator:
    """Raises `DenoisightError` where several processes were started but do not find each other.

    torchrun on machines without CUDA gives lone processes unless Accelerate is told that the CPU is meant.
    """
    device = pick_device(recipe.device)
    warn_of_emulation(device, recipe.precision)
    if device.type == "cuda" and device.index is not None and recipe.device != "auto":
        torch.cuda.set_device(device)
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision={"fp32": "no"}.get(recipe.precision, recipe.precision),
        gradient_accumulation_steps=recipe.optim.accumulate,
        project_config=ProjectConfiguration(str(out), logging_dir=str(out)),
        log_with=list(recipe.log_with) or None,
        # A readout never asks the U-Net's last layer, so that layer gets no gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=recipe.route == "readout")],
    )
    _, ranks = world()
    if "WORLD_SIZE" in os.environ and accelerator.num_processes != ranks:
        raise DenoisightError(
            f"{ranks} processes were started but this one sees {accelerator.num_processes}; launch with torchrun."
        )
    if recipe.batch % accelerator.num_processes:
        raise UsageError(f"A batch of {recipe.batch} cannot be split over {accelerator.num_processes} processes.")
    return accelerator


def _tracker(recipe: Recipe, accelerator: Accelerator) -> Callable[[dict[str, Any]], None]:
    if not recipe.log_with:
        return lambda numbers: None
    accelerator.init_trackers("tensorboard")

    def note(numbers: dict[str, Any]) -> None:
        accelerator.log({k: v for k, v in numbers.items() if k != "step"}, step=numbers["step"])

    return note


def _workers(recipe: Recipe, reader: Reader) -> int:
    """Scenes are rendered while the network works; small folders are decoded once and kept in memory."""
    if recipe.workers is not None:
        return recipe.workers
    return 1 if reader.name == "scenes" else 0
