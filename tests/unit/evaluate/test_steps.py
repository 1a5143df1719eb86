"""Scores after every step: the trajectory's own, and what is recommended from them."""

import numpy as np
import pytest
import torch

from denoisight.errors import DataError
from denoisight.evaluate.causes import separate
from denoisight.evaluate.recommend import Stop, difference, recommend, stops
from denoisight.evaluate.results import Score
from denoisight.evaluate.run import count
from denoisight.evaluate.steps import StepScores, grid_of, score_steps
from denoisight.metrics.tally import Tally
from denoisight.predict.options import Options

FEW = Options(batch=3)


@pytest.mark.parametrize(("task", "metric"), [("depth", "abs_rel"), ("normals", "mean"), ("referring", "miou")])
def test_every_step_is_scored_as_if_it_were_the_prediction(tiny_model, reader, protocols, task, metric):
    made = score_steps(tiny_model, protocols[task], reader, steps=3, seeds=(0, 5), options=FEW)
    assert made.timesteps == tuple(grid_of(tiny_model, 3)) == (999, 666, 332)
    for row, seed in enumerate((0, 5)):
        for step in range(3):

            def stage(queries, run_seed, seed=seed, step=step):
                asked = tiny_model.predict(queries, task, steps=3, trajectory=True, seed=seed)
                return [prediction.trajectory[step] for prediction in asked]

            alone = count(stage, protocols[task], reader, range(len(reader)))
            scores = alone.scores(protocols[task].pooling)
            assert made.means(metric)[row, step] == pytest.approx(scores[metric], rel=1e-5)
            per_image = alone.per_image()[metric].numpy()
            assert np.allclose(made.per_image(metric)[row, :, step], per_image, rtol=1e-4, equal_nan=True)


def test_a_stopping_point_and_an_ensemble_have_no_place_in_a_curve(tiny_model, reader, protocols):
    plain = score_steps(tiny_model, protocols["depth"], reader, steps=3, options=FEW)
    asked = Options(batch=3, stop_at=0.9, ensemble=2, steps=1)
    assert np.array_equal(
        plain.means("abs_rel"),
        score_steps(tiny_model, protocols["depth"], reader, steps=3, options=asked).means("abs_rel"),
    )


def table(protocol, keys, wrong):
    """Scores whose error counts are `wrong` [seeds, images, steps] of 100 pixels each."""

    def score(counts):
        return {"abs_rel": counts["abs_rel"] / counts["pixels"]}

    tallies = []
    for seed in wrong:
        row = [Tally(keys, score) for _ in range(wrong.shape[2])]
        for step, tally in enumerate(row):
            errors = torch.tensor(seed[:, step], dtype=torch.float64)
            tally.add(keys, {"abs_rel": errors, "pixels": torch.full_like(errors, 100)})
        tallies.append(tuple(row))
    grid = tuple(1000 * (wrong.shape[2] - i) // wrong.shape[2] - 1 for i in range(wrong.shape[2]))
    return StepScores(protocol, grid, tuple(tallies))


@pytest.fixture
def curve(protocols, reader):
    """Makes scores that follow a curve over steps, on images that differ by much more than the steps do."""

    def make(values, spread=0.0, seeds=3):
        draw = np.random.default_rng(0)
        hard = draw.uniform(10, 60, (1, len(reader), 1))
        noise = spread * draw.standard_normal((seeds, len(reader), len(values)))
        return table(protocols["depth"], list(reader.keys), hard + 100 * np.array(values) + noise)

    return make


def test_differences_between_steps_are_paired(curve):
    scores = curve([0.2, 0.1])
    one, other = (scores.replicates("abs_rel", step) for step in (0, 1))
    lost = difference(0.1, one, 0.0, other)
    assert lost.low == pytest.approx(0.1) == pytest.approx(lost.high)
    whole = scores.score("abs_rel", 0)
    assert whole.high - whole.low > 0.05


def test_the_fewest_evaluations_that_are_not_worse_are_recommended(curve):
    walks = [curve([0.5]), curve([0.5, 0.3]), curve([0.5, 0.1, 0.1, 0.12])]
    chosen = recommend(stops(walks, "abs_rel", 1.0, 1000))
    assert (chosen.steps, chosen.taken, chosen.stop_at) == (4, 2, 0.624)
    assert chosen.behind.value == 0
    noisy = [curve([0.101], 1.0), curve([0.101, 0.1], 1.0)]
    assert (recommend(stops(noisy, "abs_rel", 1.0, 1000)).taken) == 1
    ends = [curve([0.5]), curve([0.5, 0.1])]
    assert recommend(stops(ends, "abs_rel", 1.0, 1000)).stop_at == 0.0


def test_a_loss_that_few_images_cannot_tell_from_none_is_still_too_large():
    unsure = Stop(2, 1, 0.749, 0.105, Score(value=0.005, low=-0.01, high=0.02))
    little = Stop(4, 2, 0.624, 0.1015, Score(value=0.0015, low=-0.01, high=0.01))
    best = Stop(4, 4, 0.0, 0.1, Score(value=0.0, low=0.0, high=0.0))
    assert recommend([unsure, little, best]) is little
    assert recommend([unsure, best]) is best


def test_equal_first_steps_are_told_as_the_shortest_walk(curve):
    walks = [curve([0.1, 0.2, 0.3, 0.4]), curve([0.1, 0.2]), curve([0.1])]
    chosen = recommend(stops(walks, "abs_rel", 1.0, 1000))
    assert (chosen.steps, chosen.taken, chosen.stop_at) == (1, 1, 0.0)


def test_without_a_score_there_is_nothing_to_recommend(curve):
    with pytest.raises(DataError, match="abs_rel"):
        stops([curve([np.nan, np.nan])], "abs_rel", 1.0, 1000)


def test_the_walks_own_curve_is_the_same_beside_the_truths(tiny_model, reader, protocols):
    plain = score_steps(tiny_model, protocols["depth"], reader, steps=3, seeds=(0, 1), options=FEW)
    both = separate(tiny_model, protocols["depth"], reader, steps=3, seeds=(0, 1), options=FEW)
    assert np.allclose(both.own.means("abs_rel"), plain.means("abs_rel"), rtol=1e-5)
    assert np.isfinite(both.fed.means("abs_rel")).all() and np.isfinite(both.detail).all()
    assert (both.detail > 0).all() and (both.varying > 0).all() and (both.varying < both.error).all()


def test_one_seed_has_no_variance_and_the_same_seed_twice_none_either(tiny_model, reader, protocols):
    twice = separate(tiny_model, protocols["normals"], reader, steps=2, seeds=(3, 3), options=FEW)
    assert np.allclose(twice.varying, 0, atol=1e-6 * twice.error.max())
    assert np.isnan(separate(tiny_model, protocols["normals"], reader, steps=2, options=FEW).varying).all()


def test_a_network_that_keeps_what_it_is_fed_tells_noise_and_drift(make_parts, reader, protocols, monkeypatch):
    """It answers its x without the noise level: fed with the truth, the last steps are nearly the truth."""
    from denoisight.diffusion.noise import over
    from denoisight.predict.model import Model

    model = Model(make_parts())
    keeps = lambda x, level, cond: x / over(level.alpha, x)  # noqa: E731
    monkeypatch.setattr(model.parts.backbone, "denoise", keeps)
    found = separate(model, protocols["depth"], reader, steps=10, options=FEW)
    fed = found.fed.means("abs_rel")[0]
    assert fed[-1] < 0.3 * fed[0]
    assert (np.diff(found.fed_detail[0]) < 0).all() and found.fed_detail[0, -1] > 1
