"""How a network is read out: what a recipe says of it, what is trained, and what the model's folder remembers."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from denoisight.annotations import Batch, Query
from denoisight.create.annotate import Annotating, annotate
from denoisight.data.open import open_data
from denoisight.errors import RecipeError, UsageError
from denoisight.models.folder import TaskEntry, read_config
from denoisight.predict.load import load
from denoisight.predict.model import task_of
from denoisight.recipes import objective as made_by
from denoisight.recipes.adapt import adapt
from denoisight.recipes.base import Recipe, override
from denoisight.recipes.launch import train
from denoisight.recipes.start import starting_parts
from denoisight.train.ema import averaged, trained
from denoisight.train.objectives import ReadoutObjective
from denoisight.train.optimizers import make_optimizer

QUICK = {
    "route": "readout",
    "model": "new",
    "steps": 2,
    "batch": 2,
    "res": 32,
    "validations": 1,
    "validation_images": 2,
    "workers": 0,
    "threads": 1,
    "network": {"widths": [16, 32], "text_width": 16, "text_layers": 1},
}
TASKS = ("depth", "normals", "semantic")


def quick(*tasks: str, **changes: object) -> Recipe:
    return override(adapt(tasks, "scenes:4"), {**QUICK, **changes})


def objective_of(recipe: Recipe) -> ReadoutObjective:
    torch.manual_seed(0)
    parts = starting_parts(recipe, open_data("scenes:4", "train", recipe.tasks, size=(32, 32)))
    objective = made_by.objective_of(recipe, parts, tuple(task_of(entry) for entry in parts.config.reads))
    assert isinstance(objective, ReadoutObjective)
    return objective.train()


@pytest.fixture(scope="module")
def batch() -> Batch:
    scenes = open_data("scenes:4", "train", TASKS, size=(32, 32))
    return Batch.of([scenes[i].only(TASKS) for i in range(3)])


@pytest.mark.parametrize("backbone", ["full", "frozen"])
@pytest.mark.parametrize("exchange", [False, True])
def test_gradients_reach_what_is_to_learn_and_nothing_else(backbone: str, exchange: bool, batch: Batch) -> None:
    """Of adapters `tests/oracles/test_lora.py` says the same."""
    objective = objective_of(quick(*TASKS, backbone=backbone, exchange=exchange))
    objective(batch, seed=0, step=0)["loss"].backward()
    learnt = {name for name, p in objective.named_parameters() if p.grad is not None}
    asked = {name for name, p in objective.named_parameters() if p.requires_grad}
    heads = {name for name, _ in objective.named_parameters() if ".heads." in name}
    if backbone == "frozen":
        assert learnt == asked == heads != set() and not objective.parts.backbone.training
    else:
        # No place lies behind the last layer.
        assert {name.split(".")[2] for name in asked - learnt} == {"conv_norm_out", "conv_out"}
        assert heads < learnt and objective.parts.backbone.training
    count = sum(len(group["params"]) for group in make_optimizer("adamw", objective, 1e-3, 0.9, 0.0).param_groups)
    assert count == len(asked) == len(trained(objective)) == len(averaged(objective, 0.9).shadow_params)


def test_a_frozen_network_ends_as_it_began(tmp_path: Path) -> None:
    train(quick("depth"), tmp_path / "first", quiet=True)
    recipe = quick("normals", backbone="frozen", model=str(tmp_path / "first"), network={}, optim={"lr": 0.1, "ema": 0})
    train(recipe, tmp_path / "second", quiet=True)
    begun, *ended = (
        load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
        for folder in (tmp_path / "first" / "model", tmp_path / "second" / "model")
    )
    assert all(torch.equal(weights, ended[0][name]) for name, weights in begun.items())
    optimizer = torch.load(tmp_path / "second/checkpoints/step-000002/optimizer.pt", weights_only=True)
    heads = load(tmp_path / "second", "cpu").parts.heads
    assert heads is not None and len(optimizer["state"]) == len(list(heads.parameters()))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_what_lies_under_the_heads_learns_at_its_own_rate(name: str, tmp_path: Path) -> None:
    still = quick("depth", optim={"name": name, "lr": 0.01, "backbone_lr": 1e-9, "weight_decay": 0, "warmup": 1})
    train(still, tmp_path / "slow", quiet=True)
    weights = load_file(tmp_path / "slow/checkpoints/step-000002/weights.safetensors")
    torch.manual_seed(0)
    begun = starting_parts(still, open_data("scenes:4", "train", ["depth"], size=(32, 32))).modules().state_dict()
    for key, weight in weights.items():
        moved = (weight - begun[key.removeprefix("modules_with_weights.")]).abs().max()
        assert moved > 1e-3 if ".heads.heads.depth.sharpen" in key else ".heads." in key or moved < 1e-6, key


def test_the_loss_is_the_weighted_mean(batch: Batch) -> None:
    objective = objective_of(quick(*TASKS, weights={"normals": 10, "semantic": 0.5}))
    losses = objective(batch, seed=0, step=0)
    expected = (losses["depth"] + 10 * losses["normals"] + 0.5 * losses["semantic"]) / 11.5
    torch.testing.assert_close(losses["loss"], expected)


def test_sampled_pixels_belong_to_item_and_step_and_are_of_tasks_that_can_tell(batch: Batch) -> None:
    objective = objective_of(quick(*TASKS, sample_pixels=0.4))
    first, again, later = (objective(batch, seed=0, step=step) for step in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert {name for name in TASKS if first[name] != later[name]} == {"normals", "semantic"}
    whole = objective_of(quick(*TASKS))(batch, seed=0, step=0)
    assert torch.equal(whole["depth"], first["depth"]) and first["semantic"] > whole["semantic"]


HOW = {
    "taps": "every",
    "read_level": 0.1,
    "read_prompt": "caption",
    "exchange": True,
    "losses": {"depth": "silog"},
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first")
    train(quick("depth", "normals", **HOW), out, quiet=True, overwrite=True)
    return out


def test_the_folder_remembers_how_it_is_read(first: Path) -> None:
    config = read_config(first / "model")
    assert (config.taps, config.read_level, config.read_prompt) == (("every",), 100, "caption")
    assert config.exchange and config.levels == 5
    assert {entry.name: entry.loss for entry in config.reads} == {"depth": "silog", "normals": "angular-vmf"}
    model = load(first, "cpu")
    image = open_data("scenes:1", "val", size=(32, 32))[0].image
    depth, normals = (model.predict(Query(image, "a box"), name) for name in ("depth", "normals"))
    assert depth.annotation.gauge == "metres" and depth.uncertainty is None
    assert normals.uncertainty is not None and 0 <= normals.uncertainty.min() <= normals.uncertainty.max() <= 1
    other = model.predict(Query(image, "a red ball"), "normals")
    assert not torch.equal(other.annotation.vectors, normals.annotation.vectors)


def test_attention_to_the_classes_is_read_and_remembered(tmp_path: Path) -> None:
    train(quick("depth", "semantic", attention_maps=True, backbone="frozen"), tmp_path, quiet=True)
    model = load(tmp_path, "cpu")
    taps, (_, semantic) = model.parts.taps, model.parts.config.reads
    assert taps is not None and taps.names == semantic.classes and taps.channels[-1] == len(semantic.classes)
    image = open_data("scenes:1", "val", size=(32, 32))[0].image
    assert model.predict(Query(image), "semantic").annotation.size == (32, 32)


def test_training_goes_on_as_the_model_is_read_unless_told(first: Path) -> None:
    how = {"model": str(first), "network": {}}
    reader = open_data("scenes:4", "train", ["normals"], size=(32, 32))
    kept, told = (
        starting_parts(quick("depth", "normals", **how, **more), reader)
        for more in ({}, {"taps": "mid,up.0", "read_level": 0, "read_prompt": "empty", "losses": {"depth": "ssi"}})
    )
    assert kept.config.reads == read_config(first / "model").reads and kept.config.taps == ("every",)
    assert (kept.config.read_level, kept.config.read_prompt, kept.config.exchange) == (100, "caption", True)
    assert told.taps is not None and told.taps.places == ("mid", "up.0")
    assert (told.config.read_level, told.config.read_prompt) == (0, "empty")
    assert told.config.reads[0].loss == "ssi" and told.config.reads[1].loss == "angular-vmf"


def test_models_saved_before_there_was_a_choice_are_as_they_were(first: Path, tmp_path: Path) -> None:
    """Their model.json says nothing of losses, places or levels."""
    plain = quick("normals", losses={"normals": "cosine"})
    train(plain, tmp_path / "run", quiet=True)
    folder = tmp_path / "run" / "model"
    told = json.loads((folder / "model.json").read_text())
    assert TaskEntry.model_validate({"name": "normals"}).loss is None
    assert task_of(TaskEntry(name="normals")).head.channels == 3
    for key in ("taps", "read_level", "read_prompt", "levels", "exchange"):
        del told[key]
    for entry in told["reads"]:
        del entry["loss"]
    (folder / "model.json").write_text(json.dumps(told))
    config = read_config(folder)
    assert (config.taps, config.read_level, config.read_prompt, config.levels, config.exchange) == (
        (), 0, "empty", 1, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"taps": "up.7"}, "No place named up.7.*Known: in, down.0"),
        ({"losses": {"normals": "l3"}}, "Unknown loss of normals 'l3'. Known: angular"),
        ({"losses": {"depht": "ssi"}}, "Unknown task in losses 'depht'"),
        ({"weights": {"normls": 2}}, "Unknown task in weights 'normls'. Did you mean 'normals'"),
        ({"route": "denoise", "taps": "every", "exchange": True}, "taps, exchange are of networks that are read out"),
        ({"route": "denoise", "optim": {"backbone_lr": 0.1}}, "optim.backbone_lr is of networks that are read out"),
        ({"backbone": "frozen", "lora": 4}, "Adapters of a frozen network"),
        ({"attention_maps": True}, "attention_maps are of the classes of a task"),
        ({"attention_maps": True, "read_prompt": "caption", "tasks": ("parts",)}, "the prompt is the classes"),
        ({"backbone": "lora", "model": "new"}, "LoRA adapts a network that knows something"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        train(quick("depth", "normals", **changes), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{"read_level": 1.0}, {"sample_pixels": 0}, {"weights": {"depth": 0}}])
def test_values_out_of_range_are_refused_at_birth(changes: dict) -> None:
    with pytest.raises(RecipeError, match=re.escape(next(iter(changes)))):
        quick("depth", **changes)


def test_a_network_that_stays_as_it_is_answers_by_both_routes(tmp_path: Path) -> None:
    """It denoises as before; which of its answers nobody asks for otherwise is what it learnt last."""
    scene = open_data("scenes:1", "val", size=(32, 32))[0]
    train(quick("normals", "semantic", route="denoise"), tmp_path / "first", quiet=True)
    first = load(tmp_path / "first", "cpu")
    heads = quick("normals", "depth", model=str(tmp_path / "first"), network={}, backbone="frozen")
    train(heads, tmp_path / "heads", quiet=True)
    model = load(tmp_path / "heads", "cpu")
    assert set(model.reads) == {"normals", "depth"} and set(model.denoises) == {"normals"}
    before, after = (each.predict(scene.query, "normals", route="denoise", seed=1) for each in (first, model))
    assert torch.equal(before.annotation.vectors, after.annotation.vectors)
    read, usual = (model.predict(scene.query, "normals", route=route) for route in ("readout", None))
    assert torch.equal(read.annotation.vectors, usual.annotation.vectors)
    (both,) = annotate(model, [scene.query], Annotating(route="both"))
    assert set(both) == {"normals"} and float(both["normals"].confidence.min()) >= 0

    train(override(heads, {"backbone": "full"}), tmp_path / "full", quiet=True)
    assert not load(tmp_path / "full", "cpu").denoises
