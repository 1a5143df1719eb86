"""What a run starts from and what it is told of its tasks."""

import json
import multiprocessing
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from denoisight.annotations import Depth
from denoisight.data.images import write_image, write_png
from denoisight.data.open import open_data, subset
from denoisight.data.render import render_scenes
from denoisight.data.scenes import CLASSES, PARTS
from denoisight.errors import DenoisightError, RecipeError, UsageError
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.recipes.adapt import adapt
from denoisight.recipes.base import Recipe, override
from denoisight.recipes.launch import _creating, _creation_loss, _readers, train
from denoisight.train.objectives import DenoiseObjective, Teaching

QUICK = {
    "steps": 1,
    "batch": 2,
    "res": 32,
    "validations": 1,
    "validation_images": 2,
    "workers": 0,
    "threads": 1,
    "network": {"widths": [16, 32], "text_width": 16, "text_layers": 1},
}


def quick(*tasks: str, **changes: object) -> Recipe:
    return override(adapt(tasks, "scenes:4"), {**QUICK, **changes})


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first")
    train(quick("depth", "parts", "detection", model="new", codecs={"depth": "ratio"}), out, quiet=True, overwrite=True)
    return out


def test_a_task_is_drawn_as_the_recipe_says(first: Path) -> None:
    model = load(first, "cpu")
    scene = open_data("scenes:1", "val", size=(32, 32))[0]
    depth = model.predict(scene.query, "depth").annotation
    assert isinstance(depth, Depth) and depth.gauge == "scale"
    assert model.denoises["parts"].classes == PARTS != CLASSES


@pytest.mark.parametrize(("asked", "gauge"), [({}, "scale"), ({"depth": "affine"}, "affine")])
def test_a_task_that_the_model_knew_keeps_its_codec_unless_told(
    first: Path, tmp_path: Path, asked: dict[str, str], gauge: str
) -> None:
    train(quick("depth", model=str(first), codecs=asked, network={}), tmp_path, quiet=True)
    model: Model = load(tmp_path, "cpu")
    scene = open_data("scenes:1", "val", size=(32, 32))[0]
    assert model.predict(scene.query, "depth").annotation.gauge == gauge


def test_codecs_of_tasks_without_a_choice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no choice of codecs for parts"):
        train(quick("parts", model="new", codecs={"parts": "paint"}), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_leaves_no_reading_process(tmp_path: Path) -> None:
    """They heed no SIGTERM, so that a process which wanted to end would wait for them for ever."""
    with pytest.raises(DenoisightError, match="loss became") as caught:
        train(quick("depth", model="new", workers=1, steps=50, optim={"lr": 1e30, "clip": 1e30}), tmp_path, quiet=True)
    assert caught.tb is not None and multiprocessing.active_children() == []


def test_a_measured_law_is_trained_by_and_one_of_another_length_is_refused(tmp_path: Path) -> None:
    law = {
        **{"format": 1, "num_timesteps": 1000, "schedule": "scaled-linear", "task": "depth", "model": "m"},
        **{"metric": "abs_rel", "better": "lower", "steps": 2, "seeds": 1, "timesteps": [999, 499], "trivial": 0.3},
        **{"scores": [0.2, 0.1], "spread": [0.0, 0.0], "gains": [0.1, 0.1], "shares": [0.7, 0.3]},
    }
    path = tmp_path / "law.json"
    path.write_text(json.dumps(law))
    recipe = quick("depth", model="new", noise={"timesteps": str(path), "rho": 0.0})
    train(recipe, tmp_path / "run", quiet=True)
    path.write_text(json.dumps({**law, "num_timesteps": 500, "timesteps": [499, 249]}))
    with pytest.raises(RecipeError, match="law over 500 timesteps, but this model has 1000"):
        train(recipe, tmp_path / "other", quiet=True)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"noise": {"timesteps": "ctt"}}, "Unknown timestep law 'ctt'. Did you mean 'ct'?"),
        ({"noise": {"timesteps": "law.json"}}, "Cannot read the law law.json"),
        ({"gt_augment": {"kinds": "blurr"}}, "Unknown gt-augment kind 'blurr'"),
        ({"gt_augment": {"kinds": ["swap"]}}, "'swap' is for Labels"),
    ],
)
def test_laws_and_kinds_that_are_not_there_are_refused(tmp_path: Path, changes: dict, error: str) -> None:
    with pytest.raises(UsageError, match=re.escape(error)):
        train(quick("depth", model="new", **changes), tmp_path / "run", quiet=True)


@pytest.mark.parametrize("changes", [{"noise": {"rho": 1.5}}, {"gt_augment": {"strength": 0}}])
def test_shares_out_of_range_are_refused_at_birth(changes: dict) -> None:
    with pytest.raises(RecipeError, match="less than or equal to 1|greater than 0"):
        quick("depth", **changes)


def test_masks_are_confused_with_what_the_folder_knows_of_instances(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for split, count in (("train", 4), ("val", 2)):
        render_scenes(folder, split, count, (32, 32), 0)
    recipe = override(quick("referring", model="new", gt_augment={"kinds": "confuse"}), {"data": str(folder)})
    reader, held_out = _readers(recipe)
    assert reader.truths == ("mask", "instances") and held_out.truths == ("mask",)
    train(recipe, tmp_path / "run", quiet=True)


def test_the_teacher_of_a_run_is_its_average(tmp_path: Path) -> None:
    """Trained alike but for the corruption: on-policy passes change what is learnt, and a resumed run is the same."""
    how = {"model": "new", "steps": 4, "checkpoint_every": 2, "noise": {"timesteps": "uniform"}}
    plain, told = (quick("depth", **how, gt_augment={"kinds": kinds}) for kinds in ("", "on-policy-exact"))
    hashes = []
    for name, recipe in (("plain", plain), ("told", told), ("again", told)):
        train(recipe, tmp_path / name, quiet=True)
        if name == "again":
            shutil.rmtree(tmp_path / name / "checkpoints" / "step-000004")
            train(recipe, tmp_path / name, resume="latest", quiet=True)
        weights = sorted((tmp_path / name / "checkpoints").glob("step-*"))[-1] / "weights.safetensors"
        hashes.append(weights.read_bytes())
    assert hashes[1] == hashes[2] != hashes[0]


@pytest.mark.parametrize(
    "changes",
    [{"noise": {"timesteps": "ctt"}}, {"gt_augment": {"kinds": "onpolicy"}}, {"noise": {"timesteps": "no.json"}}],
)
def test_a_recipe_that_is_refused_leaves_no_folder_behind(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(DenoisightError):
        train(quick("depth", model="new", **changes), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_photographs_of_any_size_are_learnt_to_be_created_without_truths(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for i, size in enumerate(((40, 56), (56, 40), (50, 50), (200, 300)) * 3):
        write_image(photos / f"{i:02d}.png", torch.rand(3, *size, generator=torch.Generator().manual_seed(i)))
    creating = override(Recipe(data=str(photos)), {**QUICK, "model": "new", "teaching": {"create": 1.0}})
    done = train(creating, tmp_path / "run", quiet=True)
    assert done.best["create/loss"] > 0


def test_the_loss_of_creation_hangs_on_no_batch(tmp_path: Path) -> None:
    """Pictures are as they are learnt from: cut to one shape, at the network's size."""
    train(quick(model="new", teaching={"create": 1.0}, tasks=()), tmp_path / "run", quiet=True)
    parts = load(tmp_path / "run", "cpu").parts
    creating = DenoiseObjective(parts.backbone, (), torch.ones(1000) / 1000, Teaching(create=1.0))
    pictures = subset(open_data("scenes:8", "val", size=(64, 48)), 5)
    losses = [_creation_loss(creating, pictures, 32, batch) for batch in (1, 2, 5)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4) and losses[2] == pytest.approx(losses[0], rel=1e-4)


def test_creation_is_judged_where_the_network_is(first: Path) -> None:
    """Weights that are nowhere stand for a device that this machine lacks."""
    backbone = load(first, "cpu").parts.backbone
    creating = _creating(backbone.to("meta"), torch.ones(backbone.schedule.num_timesteps))
    assert {tensor.device.type for tensor in (*creating.buffers(), *creating.parameters())} == {"meta"}


def test_a_task_without_a_score_lets_the_others_decide(tmp_path: Path) -> None:
    """Of no held-out picture depth is known: the folder opens, and what is best by the rest is kept."""
    render_scenes(tmp_path / "data", "train", 4, (32, 32), 0)
    render_scenes(tmp_path / "data", "val", 3, (32, 32), 0)
    for path in (tmp_path / "data" / "val").rglob("depth/*"):
        path.unlink() if path.suffix != ".png" else write_png(path, np.zeros((32, 32), np.uint16))
    own = {"data": str(tmp_path / "data"), "model": "new", "steps": 6, "optim": {"lr": 3e-3, "warmup": 0, "ema": 0.5}}
    done = train(quick("depth", "normals", **own), tmp_path / "run", quiet=True)
    model = load(tmp_path / "run", "cpu")
    assert set(model.tasks) == {"depth", "normals"} and done.best["step"] == 6
    assert "depth/abs_rel" not in json.loads((tmp_path / "run" / "model" / "model.json").read_text())["provenance"]


def test_nothing_that_is_needed_or_none_of_ours_is_overwritten(first: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    render_scenes(data, "train", 3, (32, 32), 0)
    inside = tmp_path / "run" / "photographs"
    render_scenes(inside, "train", 3, (32, 32), 0)
    shutil.copytree(first, tmp_path / "begun")
    before = sorted(path for path in tmp_path.rglob("*"))
    for own, out, says in (
        ({"data": str(data)}, data, "holds other things"),
        ({}, tmp_path / "run", "holds other things"),
        ({"model": str(tmp_path / "begun")}, tmp_path / "begun", "would be removed"),
    ):
        with pytest.raises(UsageError, match=says):
            train(quick("depth", **{"network": {}, **own}), out, overwrite=True, quiet=True)
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_confidence_that_no_answer_has_is_refused_and_of_some_is_told(
    first: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {"self_teaching": {"pictures": "scenes:4", "confidence": 0.9}, "model": "embedded-create", "network": {}}
    warm = {**QUICK, **asked, "route": "readout", "backbone": "frozen"}
    with pytest.raises(RecipeError, match=r"Nothing tells how sure answers about depth are, which --self-teaching"):
        train(override(adapt(("depth",), "scenes:4"), warm), tmp_path / "one", quiet=True)
    assert not (tmp_path / "one").exists()
    train(override(adapt(("depth", "semantic"), "scenes:4"), warm), tmp_path / "two", quiet=True)
    assert "Nothing tells how sure answers about depth are" in caplog.text
