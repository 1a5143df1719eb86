"""What every sampler promises on every schedule, spacing and parametrisation."""

import pytest
import torch

from denoisight.diffusion.noise import add_noise, fresh_noise, gaussian
from denoisight.diffusion.prediction import KINDS, denoiser, output_from
from denoisight.diffusion.samplers import SAMPLERS
from denoisight.diffusion.schedule import SCHEDULES, SPACINGS, timesteps

BUILT = {name: build() for name, build in SCHEDULES.items()}
EVERY = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
ON_EVERY = pytest.mark.parametrize("schedule", BUILT.values(), ids=BUILT)
WITH_EVERY = pytest.mark.parametrize("spacing", SPACINGS)
FIRST_ORDER = ("ddim", "euler")
SEEDS = [1, 2]
X, FRESH = gaussian((2, 4, 4), SEEDS), fresh_noise((2, 4, 4), SEEDS)
CLEAN = gaussian((2, 4, 4), [7, 8])


DEFINED = pytest.mark.parametrize(
    ("schedule", "kind"),
    [
        pytest.param(schedule, kind, id=f"{name}-{kind}")
        for name, schedule in BUILT.items()
        for kind in KINDS
        if kind != "eps" or schedule.alphas[-1] > 0
    ],
)


def nonlinear(x, level, cond):
    return torch.tanh(1.3 * x + cond) * (0.4 + level.t / 1500).reshape(-1, 1, 1, 1)


@EVERY
@DEFINED
@WITH_EVERY
@pytest.mark.parametrize("steps", [1, 4])
def test_a_network_that_knows_the_clean_image_leads_to_it(sampler, schedule, spacing, kind, steps):
    # In double precision: an eps network near pure noise has clean estimates of 1 / alpha times its rounding.
    knows, clean = denoiser(lambda x, level, cond: output_from(kind, cond, x, level), kind), CLEAN.double()
    for step in sampler(knows, X.double(), clean, schedule, steps, spacing=spacing, noise=FRESH):
        torch.testing.assert_close(step.clean, clean, rtol=0, atol=1e-9)
    torch.testing.assert_close(step.x, clean, rtol=0, atol=1e-9)


@EVERY
@ON_EVERY
@WITH_EVERY
def test_one_evaluation_per_step_on_the_grid_and_the_last_x_is_clean(sampler, schedule, spacing):
    asked = []

    def recorded(x, level, cond):
        asked.append((level.t.tolist(), x))
        return nonlinear(x, level, cond)

    steps = list(sampler(denoiser(recorded, "v"), X, 0.2, schedule, 7, spacing=spacing, noise=FRESH))
    assert [t for t, _ in asked] == [[float(t)] * 2 for t in timesteps(schedule, 7, spacing)]
    assert [step.index for step in steps] == list(range(7))
    assert [step.level.t.tolist() for step in steps] == [t for t, _ in asked]
    for step, (_, following) in zip(steps, asked[1:], strict=False):
        assert torch.equal(step.x, following)
    assert torch.equal(steps[-1].x, steps[-1].clean)


@EVERY
@ON_EVERY
def test_nothing_runs_before_it_is_asked_for(sampler, schedule):
    calls = []
    counted = denoiser(lambda x, level, cond: calls.append(1) or x, "x0")
    walk = sampler(counted, X, None, schedule, 5, noise=FRESH)
    assert len(calls) == 0
    next(walk)
    assert len(calls) == 1


@EVERY
@ON_EVERY
def test_items_do_not_depend_on_their_batch(sampler, schedule):
    def last(x, seeds):
        noise = fresh_noise((2, 4, 4), seeds)
        return list(sampler(denoiser(nonlinear, "v"), x, 0.2, schedule, 5, noise=noise))[-1].x

    torch.testing.assert_close(last(X, SEEDS)[1:], last(X[1:], SEEDS[1:]), rtol=0, atol=1e-6)


@EVERY
@ON_EVERY
@WITH_EVERY
def test_a_partial_walk_begins_at_its_level(sampler, schedule, spacing):
    first = schedule.at(torch.tensor([400, 400]))
    knows = denoiser(lambda x, level, cond: output_from("flow", cond, x, level), "flow")
    x = add_noise(CLEAN, X, first)
    steps = list(sampler(knows, x, CLEAN, schedule, 4, spacing=spacing, start=0.4, noise=FRESH))
    assert steps[0].level.t.tolist() == [400.0, 400.0]
    torch.testing.assert_close(steps[-1].clean, CLEAN, rtol=0, atol=2e-5)


@EVERY
@ON_EVERY
def test_every_level_keeps_its_share_of_noise(sampler, schedule):
    """With the clean image known, x is alpha clean + sigma noise all the way: nothing is lost or added."""
    clean, noise = torch.full((1, 50_000), 0.7), fresh_noise((50_000,), [100])
    knows = denoiser(lambda x, level, cond: clean, "x0")
    x = add_noise(clean, gaussian((50_000,), [0]), schedule.at(torch.tensor([999])))
    walk = list(sampler(knows, x, None, schedule, 5, noise=noise))
    for step, after in zip(walk, [s.level for s in walk[1:]], strict=False):
        assert step.x.mean().item() == pytest.approx(0.7 * after.alpha.item(), abs=0.02)
        assert step.x.std().item() == pytest.approx(after.sigma.item(), rel=0.02)


@EVERY
@ON_EVERY
def test_the_spread_of_the_data_comes_out(sampler, schedule):
    """The ideal denoiser of a normal distribution leads normal noise to that distribution."""
    mean, variance = 0.3, 0.25

    def ideal(x, level, cond):
        alpha, sigma = (part.reshape(-1, 1) for part in level[:2])
        return mean + alpha * variance / (alpha**2 * variance + sigma**2) * (x - alpha * mean)

    drawn = list(sampler(ideal, gaussian((20_000,), [0]), None, schedule, 100, noise=fresh_noise((20_000,), [0])))
    assert drawn[-1].x.mean().item() == pytest.approx(mean, abs=0.03)
    assert drawn[-1].x.std().item() == pytest.approx(variance**0.5, rel=0.08)


@DEFINED
@WITH_EVERY
def test_without_fresh_noise_first_order_samplers_walk_alike(schedule, spacing, kind):
    ddim, euler = (
        list(SAMPLERS[name](denoiser(nonlinear, kind), X.double(), 0.2, schedule, 6, spacing=spacing))[-1].x
        for name in FIRST_ORDER
    )
    torch.testing.assert_close(ddim, euler, rtol=1e-9, atol=1e-9)
