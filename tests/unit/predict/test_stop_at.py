"""A walk that is left early: fewer evaluations of the network, and its last clean estimate as the answer."""

import pytest
import torch
from pydantic import ValidationError

from denoisight.annotations import Query
from denoisight.diffusion.schedule import SPACINGS, scaled_linear, timesteps
from denoisight.errors import UsageError
from denoisight.models.folder import TaskEntry
from denoisight.predict.denoise import steps_taken
from denoisight.predict.model import Model
from denoisight.predict.options import Options

QUERY = Query(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)), key="one")


@pytest.fixture
def calls(monkeypatch, tiny_model):
    """Counts the evaluations of the network."""
    made = []
    network = tiny_model.parts.backbone.unet.forward
    monkeypatch.setattr(tiny_model.parts.backbone.unet, "forward", lambda *a, **k: made.append(1) or network(*a, **k))
    return made


@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_step_can_be_the_last(spacing):
    grid = timesteps(scaled_linear(), 8, spacing)
    for taken in range(1, 8):
        between = (grid[taken - 1] + grid[taken]) / 2000
        assert steps_taken(grid, between, 1000) == taken
        assert steps_taken(grid, grid[taken] / 1000, 1000) == taken + 1
    assert steps_taken(grid, 0.0, 1000) == 8


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp-2m", "ddpm"])
def test_the_answer_is_the_clean_estimate_of_the_last_step_taken(tiny_model, calls, sampler):
    full = tiny_model.predict(QUERY, "depth", steps=5, trajectory=True, sampler=sampler)
    assert len(calls) == 5 and "stop_at" not in full.settings
    for taken, stop_at in ((1, 0.95), (3, 0.5), (5, 0.0), (5, None)):
        calls.clear()
        left = tiny_model.predict(QUERY, "depth", steps=5, trajectory=True, sampler=sampler, stop_at=stop_at)
        assert len(calls) == taken == len(left.trajectory)
        assert torch.equal(left.annotation.values, full.trajectory[taken - 1].values)
        assert left.settings.get("stop_at") == (stop_at or None)


def test_a_model_may_have_a_stopping_point_of_its_own(tiny_parts, calls):
    entries = tuple(
        entry.model_copy(update={"stop_at": 0.5}) if entry.name == "depth" else entry
        for entry in tiny_parts.config.denoises
    )
    model = Model(tiny_parts.with_config(denoises=entries))
    assert (model.stop_at("depth"), model.stop_at("normals")) == (0.5, 0.0)
    assert model.predict(QUERY, "depth", steps=4).settings["stop_at"] == 0.5
    assert len(calls) == 2
    model.predict(QUERY, "depth", steps=4, stop_at=0)
    model.predict(QUERY, "normals", steps=4)
    assert len(calls) == 10


@pytest.mark.parametrize("bad", [-0.1, 1.0, float("nan")])
def test_a_stopping_point_lies_in_its_range(bad):
    with pytest.raises(UsageError, match="stop_at"):
        Options(stop_at=bad)
    with pytest.raises(ValidationError):
        TaskEntry(name="depth", stop_at=bad)
