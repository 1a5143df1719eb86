"""The shipped model is there, small, and sees better than the trivial baselines do."""

from dataclasses import replace

import pytest

from denoisight.annotations import Query
from denoisight.create.synthesize import create_images
from denoisight.data.open import open_data
from denoisight.data.scenes import CLASSES, PARTS, VERSION, Scenes
from denoisight.models.embedded import SHIPPED, embedded_folder
from denoisight.models.folder import read_config
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.predict.options import Options
from denoisight.train.validate import validate


@pytest.fixture(scope="module")
def model() -> Model:
    return load("embedded", "cpu")


@pytest.mark.parametrize("name", SHIPPED)
def test_it_fits_into_the_package(name: str) -> None:
    assert sum(path.stat().st_size for path in embedded_folder(name).rglob("*") if path.is_file()) < 25e6
    assert sum(p.numel() for p in load(name, "cpu").parts.modules().parameters()) < 12e6


@pytest.mark.parametrize("name", SHIPPED)
def test_it_tells_where_it_comes_from(name: str) -> None:
    provenance = read_config(embedded_folder(name)).provenance
    assert provenance["scenes"] == VERSION
    assert {"command", "seed", "total_steps", "hours", "hardware", "torch"} <= set(provenance)


def test_it_tells_classes_and_parts_apart(model: Model) -> None:
    assert model.denoises["semantic"].classes == CLASSES and model.denoises["parts"].classes == PARTS


def test_it_beats_the_trivial_baselines(model: Model) -> None:
    """Those of scenes/test are in docs/results.md: AbsRel 0.255, 35.7 degrees, mIoU 0.091, largest object 0.246."""
    held_out = open_data("scenes:48", "val", size=(64, 64))
    tasks = ("depth", "normals", "semantic", "referring", "instances")
    scores = validate(model, tasks, "denoise", held_out, 1)
    assert scores["depth/abs_rel"] < 0.12
    assert scores["normals/mean"] < 19
    assert scores["semantic/miou"] > 0.27
    assert scores["referring/miou"] > 0.28
    assert scores["instances/pq"] > 0.4


def test_it_hears_what_is_asked(model: Model) -> None:
    """Another picture's phrase finds the thing less often than the true one."""
    scenes = [s for s in (Scenes("val")[i] for i in range(40)) if s.truths["mask"].valid.any()]
    asked = [scene.asked("mask") for scene in scenes]
    swapped = [replace(query, text=other.text) for query, other in zip(asked, asked[1:] + asked[:1], strict=True)]

    def overlap(queries: list[Query]) -> float:
        found = [p.annotation.inside for p in model.stream(queries, "referring", Options(batch=20))]
        true = [scene.truths["mask"].inside for scene in scenes]
        return sum(float((f & t).sum() / (f | t).sum().clamp(min=1)) for f, t in zip(found, true, strict=True))

    assert overlap(asked) > 1.5 * overlap(swapped)


def test_it_creates_and_follows_instructions(model: Model) -> None:
    assert model.follows_instructions
    for name in SHIPPED:
        (made,) = create_images(load(name, "cpu"), ["a red box on a wooden floor in a room"], steps=8)
        assert made.image.shape == (3, 64, 64) and made.image.std() > 0.05
