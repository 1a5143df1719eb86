"""From a recipe to a trained model: the one place that knows the concrete classes of every room."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration
from jaxtyping import Float
from torch import Tensor, nn

from ..annotations import Batch
from ..data.augment import Augment
from ..data.open import open_data, subset
from ..data.readers import Reader
from ..diffusion.timesteps import law, mixed
from ..errors import DenoisightError, RecipeError, UsageError, pick
from ..models.backbone import Backbone
from ..models.folder import Parts
from ..predict.model import Model, task_of
from ..runtime import pick_device, versions, world, write_json, write_text
from ..tasks import TASKS, Task, make_tasks
from ..tasks.instruct import INSTRUCT
from ..train.batches import Stream, batches
from ..train.contribution import read_law
from ..train.ema import Averaged
from ..train.gt_augment import GtAugment
from ..train.objectives import DenoiseObjective, ReadoutObjective, Teaching
from ..train.optimizers import make_optimizer
from ..train.run import Run
from ..train.validate import validate
from .base import Augmentation, Recipe
from .self_teaching import average_of, beside, self_taught
from .start import starting_parts

log = logging.getLogger(__name__)

OF_READING = (
    "backbone", "taps", "read_level", "read_prompt", "exchange", "losses", "weights", "sample_pixels",
)  # fmt: skip
"""Keys of a recipe that only the readout route has."""


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
) -> Trained:
    """Run a recipe into `out`: config.yaml, env.json, metrics.jsonl, checkpoints/, model/ (the best by validation).

    resume: "latest" or a checkpoint folder. Raises `UsageError` for a folder in use without `resume` or
    `overwrite`, `RecipeError` for values that do not go together, `DataError` for data that do not fit.
    """
    out = Path(out)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    reader, held_out = _readers(recipe)
    accelerator = _accelerator(recipe, out)
    parts = starting_parts(recipe, reader)
    learnt = parts.config.denoises if recipe.route == "denoise" else parts.config.reads
    tasks = tuple(task_of(entry) for entry in learnt if entry.name != INSTRUCT)
    if accelerator.is_main_process:
        _claim(out, resume, overwrite)
        _describe(recipe, out, reader, held_out, accelerator.device)

    accelerator.wait_for_everyone()
    objective = _objective(recipe, parts, tasks).to(accelerator.device).train()
    optim = recipe.optim
    optimizer = make_optimizer(
        *(optim.name, objective, optim.lr, optim.beta2, optim.weight_decay),
        rate=lambda name: 1.0 if "heads." in name else optim.backbone_lr,
    )
    average = average_of(recipe, objective)
    if isinstance(objective, DenoiseObjective):
        objective.teacher = Averaged(parts.backbone, average)
    plain, objective = objective, self_taught(recipe, objective, parts, tasks, average)
    run = _run(recipe, out, accelerator, quiet)
    if resume:
        run.resume(objective, optimizer, average, None if resume == "latest" else Path(resume))
    wrapped, optimizer = accelerator.prepare(objective, optimizer)
    model = Model(parts)
    began = time.monotonic()
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
    )


def _batches(
    recipe: Recipe, reader: Reader, parts: Parts, tasks: tuple[Task, ...], accelerator: Accelerator
) -> Callable[[int], Generator[Batch, None, None]]:
    """This process's share of the micro-batches from a step on."""
    # What a mask may be confused with is drawn from the picture's instances, where they are known.
    confusing = [truth for truth in _gt_augment(recipe).truths_beside(tasks) if truth in reader.truths]
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
        images = Batch.of([held_out[i].only(()) for i in range(len(held_out))])
        creating = DenoiseObjective(model.parts.backbone, (), objective.law, Teaching(create=1.0))
        with torch.no_grad():
            loss = float(creating(images.to(model.parts.backbone.device), seed=0, step=0)["create"])
        scores = {**scores, "create/loss": loss, "badness": scores["badness"] + loss}
    return scores


def _keep(recipe: Recipe, model: Model, folder: Path, scores: dict[str, float], step: int) -> None:
    """Save the state that validated best, telling how it came about."""
    rounded = {name: round(value, 5) for name, value in scores.items() if name != "badness"}
    made: dict[str, str | int | float] = {"step": step, "seed": recipe.seed, "data": _data_name(recipe), **rounded}
    if recipe.rank:
        made["lora"] = recipe.rank
    model.save_pretrained(folder, _card(recipe, scores, step), provenance=made)


def _readers(recipe: Recipe) -> tuple[Reader, Reader]:
    """Training samples, and the validation images by which the best model is chosen."""
    _check_route(recipe)
    if not recipe.tasks and not recipe.teaching.create:
        raise RecipeError(f"No task to train; name some of: {', '.join(TASKS)}.")
    if not recipe.data:
        raise RecipeError(
            "No data to train on; give a folder of labelled images with --data DIR, or --data scenes:1000."
        )
    tasks = [make_tasks([name], ("any",))[0] for name in recipe.tasks]
    truths = [task.truth for task in tasks]
    size = (recipe.res or 64,) * 2
    reader = open_data(recipe.data, "train", truths, size=size, annotated=bool(truths))
    if confusing := _gt_augment(recipe).truths_beside(tasks):
        known = open_data(recipe.data).truths
        more = [truth for truth in confusing if truth in known]
        reader = open_data(recipe.data, "train", [*truths, *more], size=size)
    if recipe.labels:
        reader = subset(reader, recipe.labels)
    reader = beside(recipe, reader)
    name = "scenes" if recipe.data.startswith("scenes") else recipe.data
    held_out = open_data(name, "val", truths, size=size)
    return reader, subset(held_out, min(len(held_out), recipe.validation_images))


def _check_route(recipe: Recipe) -> None:
    """Raises `RecipeError` for what is of the other route, or of tasks that are not learnt."""
    if recipe.route == "readout":
        if recipe.teaching != Recipe().teaching:
            raise RecipeError("`teaching` is of networks that denoise; leave it out, or take --route denoise.")
        if recipe.backbone == "frozen" and recipe.lora:
            raise RecipeError(
                "Adapters of a frozen network would learn nothing; leave out --lora or take --backbone lora."
            )
    elif strange := [name for name in OF_READING if getattr(recipe, name) != getattr(Recipe(), name)]:
        raise RecipeError(
            f"{', '.join(strange)} are of networks that are read out; leave out, or take --route readout."
        )
    elif recipe.optim.backbone_lr != 1:
        raise RecipeError("optim.backbone_lr is of networks that are read out; set optim.lr, or take --route readout.")
    for key in ("weights", "losses"):
        for name in getattr(recipe, key):
            pick({task: task for task in recipe.tasks}, name, f"task in {key}")


def _objective(recipe: Recipe, parts: Parts, tasks: tuple[Task, ...]) -> nn.Module:
    if recipe.route == "readout":
        if recipe.backbone == "frozen":
            parts.backbone.requires_grad_(False)
        return ReadoutObjective(parts, tasks, _feature_room(recipe), recipe.weights, recipe.sample_pixels)
    noise, backbone = recipe.noise, parts.backbone
    return DenoiseObjective(
        backbone,
        tasks,
        _law(recipe, backbone),
        Teaching(**recipe.teaching.model_dump()),
        _gt_augment(recipe),
        scaling=noise.by == "scaling",
    )


def _feature_room(recipe: Recipe) -> int:
    """Bytes for features of pictures that are always the same under a network that is."""
    still = recipe.augment == Augmentation(flip=0.0, crop=1.0, colour=0.0)
    return int(recipe.cache_gb * 1e9) if still and recipe.backbone == "frozen" else 0


def _gt_augment(recipe: Recipe) -> GtAugment:
    return GtAugment(**recipe.gt_augment.model_dump())


def _law(recipe: Recipe, backbone: Backbone) -> Float[Tensor, "T"]:
    """A law of the table by its name, or a measured one by its file."""
    noise = recipe.noise
    if noise.timesteps.endswith(".json"):
        return mixed(read_law(noise.timesteps, backbone.schedule.num_timesteps), noise.rho)
    return law(noise.timesteps, backbone.schedule, backbone.predicts, noise.rho)


def _accelerator(recipe: Recipe, out: Path) -> Accelerator:
    """Raises `DenoisightError` where several processes were started but do not find each other.

    torchrun on machines without CUDA gives lone processes unless Accelerate is told that the CPU is meant.
    """
    device = pick_device(recipe.device)
    if device.type == "cuda" and recipe.device != "auto":
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


def _claim(out: Path, resume: str | None, overwrite: bool) -> None:
    """Make the run's folder, or refuse one that holds another run."""
    used = out.exists() and any(out.iterdir())
    if used and not resume and not overwrite:
        raise UsageError(f"{out} is not empty; add --resume to go on with it or --overwrite to replace it.")
    if used and overwrite and not resume:
        shutil.rmtree(out)
    write_text(out / ".gitignore", "*\n")


def _describe(recipe: Recipe, out: Path, reader: Reader, held_out: Reader, device: torch.device) -> None:
    """Write down what is run, and say it in the first line."""
    write_text(out / "config.yaml", recipe.to_yaml())
    write_json(
        out / "env.json",
        {
            "versions": versions(),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "command": sys.argv,
        },
    )
    log.info(
        "device %s, %d threads, seed %d, %d training and %d validation images, into %s",
        *(device, torch.get_num_threads(), recipe.seed, len(reader), len(held_out), out),
    )
    for note in reader.notes:
        log.info("%s", note)


def _workers(recipe: Recipe, reader: Reader) -> int:
    """Scenes are rendered while the network works; small folders are decoded once and kept in memory."""
    if recipe.workers is not None:
        return recipe.workers
    return 1 if reader.name == "scenes" else 0


def _data_name(recipe: Recipe) -> str:
    """What the data are called, without telling where they lie."""
    return recipe.data if recipe.data.startswith("scenes") else Path(recipe.data).name


def _card(recipe: Recipe, scores: dict[str, float], step: int) -> str:
    """The model card: what the folder is and how to use it."""
    rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in scores.items() if name != "badness")
    learnt = ", ".join(recipe.tasks) or "create"
    use = 'denoisight.create_images(model, ["a red box"])'
    if recipe.tasks:
        use = f'model.predict("photo.jpg", task="{recipe.tasks[0]}").save("out")'
    return (
        f"---\nlibrary_name: denoisight\ntags: [diffusion, {learnt}]\n---\n"
        f"# {learnt} by {recipe.route}\n\n"
        f"Trained on {_data_name(recipe)} for {step} steps, seed {recipe.seed}.\n\n"
        f"| validation | |\n|---|---|\n{rows}\n\n"
        f'```python\nimport denoisight\n\nmodel = denoisight.load("FOLDER")\n{use}\n```\n'
    )
