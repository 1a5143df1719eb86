"""What a run starts from: a new network, a model that knows something already, a stock pipeline to be widened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..data.readers import Reader, classes_of
from ..diffusion.schedule import SCHEDULES
from ..errors import RecipeError, pick
from ..models import widen
from ..models.backbone import Backbone
from ..models.embedded import Network
from ..models.folder import ModelConfig, Parts, TaskEntry, assemble, with_heads
from ..models.heads import LEVELS
from ..models.lora import add_adapters
from ..models.stock import EDITING, FAMILIES, perceiving
from ..models.text import MARKS, Words
from ..predict.load import load
from ..predict.model import task_of
from ..tasks import LOSSES, make_tasks
from ..tasks.instruct import INSTRUCT, TEMPLATES
from .base import Recipe


def starting_parts(recipe: Recipe, reader: Reader) -> Parts:
    """The model to start from, told its new tasks; heads that it lacks are new.

    Tasks that it knew keep their codecs, heads that it had their losses and the places that they read.
    """
    start = None if recipe.model == "new" else load(recipe.model, device="cpu", allow_pickle=recipe.allow_pickle).parts
    known = {} if start is None else {e.name: e.codec for e in (*start.config.denoises, *start.config.reads)}
    learnt = {} if start is None else {e.name: e.loss for e in start.config.reads}
    # A model that only hears paraphrases is asked for a task in the first of them.
    always = recipe.teaching.paraphrase == 1
    entries = tuple(
        TaskEntry(
            name=name,
            classes=_classes(name, reader),
            prompt=TEMPLATES[name][0] if always else None,
            codec=recipe.codecs.get(name, known.get(name)),
            loss=_loss(recipe, name, learnt) if recipe.route == "readout" else None,
        )
        for name in recipe.tasks
    )
    if recipe.teaching.paraphrase:
        entries = (*entries, TaskEntry(name=INSTRUCT))
    heads = {entry.name: task_of(entry).head.channels for entry in entries if entry.name != INSTRUCT}
    learns: dict[str, Any] = (
        {"denoises": entries, "creates": recipe.teaching.create > 0}
        if recipe.route == "denoise"
        else {"denoises": _still_denoised(recipe, entries, start), "reads": entries, **_reading(recipe, start)}
    )
    learns["first"] = recipe.route
    if learns.get("attention_maps") and not any(entry.classes for entry in entries):
        raise RecipeError(
            "attention_maps are of the classes of a task; teach one that tells classes apart, or leave out."
        )
    if learns.get("attention_maps") and learns["read_prompt"] == "caption":
        raise RecipeError("With attention_maps the prompt is the classes; leave out read_prompt=caption.")
    heads_for = heads if recipe.route == "readout" else None
    if recipe.rank and start is None:
        raise RecipeError("LoRA adapts a network that knows something already; leave out --lora, or name a --model.")
    if start is None:
        config = ModelConfig(
            name=recipe.recipe,
            network=_network(recipe),
            schedule=_schedule(recipe),
            predicts=recipe.noise.predicts or "x0",
            resolution=recipe.res or 64,
            steps=recipe.predict_steps,
            **learns,
        )
        return assemble(config, heads_for)
    if recipe.noise.schedule or recipe.noise.predicts or recipe.network:
        raise RecipeError(
            "noise.schedule, noise.predicts and network are the model's own; set them only with --model new."
        )
    config = start.config.model_copy(
        update={
            "name": "-".join(("denoisight", *recipe.tasks)),
            "resolution": recipe.res or start.config.resolution,
            "steps": recipe.predict_steps,
            "reads": (),
            "provenance": {"started_from": start.config.name},
            **learns,
        }
    )
    if config.stock:
        return _with_known_heads(_stock_parts(config, start, heads_for, recipe.rank), start)
    parts = assemble(config, heads_for)
    parts.backbone.load_state_dict(start.backbone.state_dict())
    if recipe.rank:
        parts.backbone.text.requires_grad_(False)
        add_adapters(parts.backbone.unet, recipe.rank)
    return _with_known_heads(parts, start)


def _still_denoised(recipe: Recipe, entries: Sequence[TaskEntry], start: Parts | None) -> tuple[TaskEntry, ...]:
    """What a network that stays as it is goes on denoising, of the tasks that heads learn, as far as both mean the same
    classes: it can then be asked by both routes. They take as many steps as before."""
    if start is None or recipe.backbone != "frozen" or recipe.rank:
        return ()
    means = {entry.name: entry.classes for entry in entries}
    kept = (entry for entry in start.config.denoises if means.get(entry.name) == entry.classes)
    return tuple(entry.model_copy(update={"steps": entry.steps or start.config.steps}) for entry in kept)


def _loss(recipe: Recipe, name: str, learnt: Mapping[str, str | None]) -> str | None:
    """By what a task's head learns: as told, as before, or by the first there is."""
    if name in recipe.losses or name in learnt:
        return recipe.losses.get(name, learnt.get(name))
    return LOSSES[name][0] if name in LOSSES else None


def _reading(recipe: Recipe, start: Parts | None) -> dict[str, Any]:
    """How the network is read out: as told, or as the model that it starts from was."""
    own = start.config if start and start.config.reads else ModelConfig(name="", levels=LEVELS)
    level = recipe.read_level
    if level is not None:
        schedule = start.backbone.schedule if start else pick(SCHEDULES, _schedule(recipe), "schedule")()
        level = schedule.timestep(level) if level else 0
    return {
        "taps": recipe.taps or own.taps,
        "read_level": own.read_level if level is None else level,
        "read_prompt": recipe.read_prompt or own.read_prompt,
        "levels": own.levels,
        "exchange": own.exchange if recipe.exchange is None else recipe.exchange,
        "attention_maps": own.attention_maps if recipe.attention_maps is None else recipe.attention_maps,
    }


def _with_known_heads(parts: Parts, start: Parts) -> Parts:
    """Heads that the start had for the same tasks, and their neck, go on from what they are."""
    if parts.heads is None or start.heads is None:
        return parts
    known = start.heads.state_dict()
    fresh = parts.heads.state_dict()
    fitting = {name: known[name] for name, new in fresh.items() if name in known and known[name].shape == new.shape}
    parts.heads.load_state_dict(fresh | fitting)
    return parts


def _schedule(recipe: Recipe) -> str:
    return recipe.noise.schedule or "scaled-linear"


def _network(recipe: Recipe) -> Network:
    """One that shall hear paraphrases knows all words that there are by now."""
    words = {"words": len(Words()) - len(MARKS)} if recipe.teaching.paraphrase else {}
    return Network.model_validate(words | recipe.network)


def _stock_parts(config: ModelConfig, start: Parts, heads_for: dict[str, int] | None, lora: int) -> Parts:
    """A stock model told its new tasks: as an InstructPix2Pix one if it is one already, shall create, or is asked in
    words that matter; else, and if it is one already, as a Marigold one.

    Words matter where they choose among several tasks, come in paraphrases, or name the thing that is meant.
    """
    # Heads leave the network as it is.
    names = [entry.name for entry in config.denoises] if heads_for is None else []
    family = FAMILIES[config.stock]
    if family.task and config.creates:
        raise RecipeError(
            f"A {config.stock} folder only perceives and cannot learn to create; start from the Stable Diffusion "
            "folder that it was made of or, in denoisight train, leave out --teaching.create."
        )
    editing = family.edits or (not family.task and (config.creates or _words_matter(config)))
    if names and editing:
        config = _editing(config, start.backbone)
    elif names:
        config = _perceiving(config, start.backbone, names)
    if lora:
        # Channels that the network did not have can be learnt by no adapter of what it had.
        widened = FAMILIES[config.stock].width > family.width
        add_adapters(start.backbone.unet, lora, free=["conv_in"] if widened else [])
    return with_heads(config, start.backbone, heads_for)


def _words_matter(config: ModelConfig) -> bool:
    """Instructions in free words are an entry of their own, and so count as a second task."""
    return len(config.denoises) > 1 or any("{text}" in task_of(entry).prompt for entry in config.denoises)


def _editing(config: ModelConfig, backbone: Backbone) -> ModelConfig:
    widen.zeroed(backbone.unet)
    backbone.edits = True
    return config.model_copy(update={"stock": EDITING})


def _perceiving(config: ModelConfig, backbone: Backbone, names: list[str]) -> ModelConfig:
    """A Marigold-shaped network's own task has no prompt."""
    widen.halved(backbone.unet)
    backbone.text.padded = False
    own = FAMILIES[perceiving(names)].task
    bare = {"prompt": "", "codec": "clipped" if own == "normals" else None}
    entries = tuple(e.model_copy(update=bare) if names == [own] else e for e in config.denoises)
    return config.model_copy(update={"stock": perceiving(names), "denoises": entries})


def _classes(name: str, reader: Reader) -> tuple[str, ...]:
    (task,) = make_tasks([name], ("any",))
    return classes_of(reader, task.truth) if task.classes else ()
