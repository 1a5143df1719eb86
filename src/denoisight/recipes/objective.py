"""What a recipe says is learnt, as an objective: which loss of which weights, at which noise, by which truths."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from ..diffusion.timesteps import law, mixed
from ..errors import RecipeError, pick
from ..models.backbone import Backbone
from ..models.folder import Parts
from ..tasks import Task
from ..train.contribution import read_law
from ..train.gt_augment import GtAugment
from ..train.objectives import DenoiseObjective, ReadoutObjective, Teaching
from .base import Augmentation, Recipe

OF_READING = (
    "backbone", "taps", "read_level", "read_prompt", "exchange", "attention_maps", "losses", "weights", "sample_pixels",
)  # fmt: skip
"""Keys of a recipe that only the readout route has."""


def objective_of(recipe: Recipe, parts: Parts, tasks: tuple[Task, ...]) -> nn.Module:
    """The objective of the recipe's route. A network that is not to learn is frozen here."""
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
        gt_augment_of(recipe),
        scaling=noise.by == "scaling",
    )


def gt_augment_of(recipe: Recipe) -> GtAugment:
    return GtAugment(**recipe.gt_augment.model_dump())


def check_route(recipe: Recipe) -> None:
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


def _law(recipe: Recipe, backbone: Backbone) -> Float[Tensor, "T"]:
    """A law of the table by its name, or a measured one by its file."""
    noise = recipe.noise
    if noise.timesteps.endswith(".json"):
        return mixed(read_law(noise.timesteps, backbone.schedule.num_timesteps), noise.rho)
    return law(noise.timesteps, backbone.schedule, backbone.predicts, noise.rho)


def _feature_room(recipe: Recipe) -> int:
    """Bytes for features of pictures that are always the same, or mirrored, under a network that is."""
    still = recipe.augment == Augmentation(flip=recipe.augment.flip, crop=1.0, colour=0.0)
    return int(recipe.cache_gb * 1e9) if still and recipe.backbone == "frozen" else 0
