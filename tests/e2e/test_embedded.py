"""The shipped model is there, small, and sees better than the trivial baselines do."""

import pytest

from denoisight.data.open import open_data
from denoisight.data.scenes import CLASSES, VERSION
from denoisight.models.embedded import embedded_folder
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.train.validate import validate


@pytest.fixture(scope="module")
def model() -> Model:
    return load("embedded", "cpu")


def test_it_fits_into_the_package(model: Model) -> None:
    assert sum(path.stat().st_size for path in embedded_folder().rglob("*") if path.is_file()) < 25e6
    assert sum(p.numel() for p in model.parts.modules().parameters()) < 12e6


def test_it_tells_where_it_comes_from(model: Model) -> None:
    provenance = model.parts.config.provenance
    assert provenance["scenes"] == VERSION
    assert {"command", "seed", "total_steps", "hours", "hardware", "torch"} <= set(provenance)
    assert model.denoises["semantic"].classes == CLASSES


def test_it_beats_the_trivial_baselines(model: Model) -> None:
    """On scenes/test these reach AbsRel 0.255, 35.7 degrees and mIoU 0.091 (`studies/main_job/scenes-test`)."""
    held_out = open_data("scenes:48", "val", size=(64, 64))
    scores = validate(model, ("depth", "normals", "semantic"), "denoise", held_out, model.parts.config.steps)
    assert scores["depth/abs_rel"] < 0.21
    assert scores["normals/mean"] < 25
    assert scores["semantic/miou"] > 0.2
