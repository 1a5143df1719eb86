"""The measured law: gains, the line through them, its bounds, and the file that it is kept in."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from denoisight.diffusion.schedule import SPACINGS, scaled_linear, timesteps
from denoisight.errors import RecipeError
from denoisight.metrics import Metric
from denoisight.train.contribution import CAP, gains, measure, read_law, shares

ERROR, SCORE = Metric("ratio", "lower"), Metric("fraction", "higher")
GRID = timesteps(scaled_linear(), 10)


def law(scores, trivial=1.0, meaning=ERROR, grid=GRID, **about):
    told = {"task": "depth", "model": "tiny", "schedule": "scaled-linear", "num_timesteps": 1000} | about
    return measure(np.atleast_2d(np.array(scores, float)), trivial, grid, "abs_rel", meaning, **told)


def curve(gained, trivial=1.0):
    return trivial - np.cumsum(gained)


def test_a_step_gains_what_it_adds_and_a_loss_is_no_gain():
    scores = np.array([0.5, 0.4, 0.45, 0.3])
    assert np.allclose(gains(scores, 0.9, ERROR), [0.4, 0.1, 0, 0.15])
    assert np.allclose(gains(scores, 0.2, SCORE), [0.3, 0, 0.05, 0])


def test_a_ramp_comes_back():
    ramp = np.array(GRID) / 1e5
    made = law(curve(ramp))
    assert np.allclose(made.gains, ramp)
    assert np.allclose(made.shares, ramp / ramp.sum())


def test_a_line_stands_for_noisy_gains_and_never_falls_below_the_floor():
    first = shares(np.array([0.03, 0.02, 0.01, 0, 0, 0, 0, 0, 0, 0]), np.array(GRID))
    assert (np.diff(first) <= 0).all() and first[-1] == pytest.approx(first[4])
    assert 0 < first[-1] < 0.02 and first[0] == pytest.approx(CAP) == pytest.approx(first[1])


def test_one_large_step_is_capped_and_the_rest_shared():
    made = law(curve([0.8, *[0] * 9])).shares
    assert made[0] == pytest.approx(CAP)
    assert np.allclose(made[1:], (1 - CAP) / 9)


def test_without_a_gain_all_steps_are_equal():
    assert np.allclose(law(curve(-np.ones(10) / 100)).shares, 0.1)


@given(
    st.lists(st.floats(-0.2, 1.0), min_size=2, max_size=20),
    st.sampled_from(sorted(SPACINGS)),
    st.integers(50, 1000),
)
def test_any_curve_gives_a_law(gained, spacing, num_timesteps):
    grid = timesteps(scaled_linear(num_timesteps), len(gained), spacing)
    made = law(curve(gained), grid=grid, num_timesteps=num_timesteps)
    assert max(made.shares) <= max(CAP, 1 / len(gained)) + 1e-9
    drawn = made.probabilities
    assert drawn.shape == (num_timesteps,) and bool((drawn > 0).all())
    assert float(drawn.sum()) == pytest.approx(1)


def test_each_share_is_spread_over_its_interval():
    made = law(curve([0.3, 0.2]), grid=[999, 249])
    drawn = made.probabilities
    assert float(drawn[250:].sum()) == pytest.approx(made.shares[0])
    assert torch.allclose(drawn[:250], drawn[:1]) and torch.allclose(drawn[250:], drawn[250:251])


def test_seeds_are_averaged_and_their_spread_told():
    made = law([[0.6, 0.2], [0.4, 0.2]], grid=[999, 499])
    assert made.scores == pytest.approx([0.5, 0.2]) and made.seeds == 2
    assert made.spread == pytest.approx([np.std([0.6, 0.4], ddof=1), 0])
    assert law([0.6, 0.2], grid=[999, 499]).spread == (0, 0)


@pytest.mark.parametrize(("scores", "trivial"), [([0.5], 1.0), ([0.5, np.nan], 1.0), ([0.5, 0.4], np.nan)])
def test_what_gives_no_law_is_refused(scores, trivial):
    with pytest.raises(RecipeError, match="two or more steps"):
        law(scores, trivial, grid=GRID[: len(scores)])


def test_a_law_comes_back_from_its_file(tmp_path):
    made = law(curve(np.linspace(0.1, 0.01, 10)))
    made.write(tmp_path / "law.json")
    told = json.loads((tmp_path / "law.json").read_text())
    assert (told["format"], told["num_timesteps"], told["steps"], told["task"]) == (1, 1000, 10, "depth")
    assert torch.equal(read_law(tmp_path / "law.json", 1000), made.probabilities)


def test_a_law_for_another_network_is_refused(tmp_path):
    law(curve(np.ones(10) / 20)).write(tmp_path / "law.json")
    with pytest.raises(RecipeError, match="over 1000 timesteps, but this model has 500"):
        read_law(tmp_path / "law.json", 500)


@pytest.mark.parametrize(
    "changes",
    [{"shares": [0.5] * 10}, {"shares": [1.0]}, {"timesteps": [*reversed(GRID)]}, {"format": 2}, {"more": 1}],
)
def test_a_damaged_law_is_refused_in_a_sentence(tmp_path, changes):
    path = tmp_path / "law.json"
    law(curve(np.ones(10) / 20)).write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(RecipeError, match="law of format 1"):
        read_law(path, 1000)
    path.write_text(path.read_text()[:40])
    with pytest.raises(RecipeError, match="law of format 1"):
        read_law(path, 1000)
    with pytest.raises(RecipeError, match="Cannot read the law"):
        read_law(tmp_path / "none.json", 1000)
