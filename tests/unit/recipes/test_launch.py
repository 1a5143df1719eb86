"""What a run starts from and what it is told of its tasks."""

import multiprocessing
from pathlib import Path

import pytest

from denoisight.annotations import Depth
from denoisight.data.open import open_data
from denoisight.data.scenes import CLASSES, PARTS
from denoisight.errors import DenoisightError, UsageError
from denoisight.predict.model import Model, load
from denoisight.recipes.adapt import adapt
from denoisight.recipes.base import Recipe, override
from denoisight.recipes.launch import train

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
