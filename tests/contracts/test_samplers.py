"""What every sampler promises on every schedule, spacing and parametrisation."""

import pytest
import torch

from denoisight.diffusion.noise import add_noise, gaussian
from denoisight.diffusion.prediction import KINDS, denoiser, output_from
from denoisight.diffusion.samplers import SAMPLERS
from denoisight.diffusion.schedule import SCHEDULES, SPACINGS, timesteps

BUILT = {name: build() for name, build in SCHEDULES.items()}
EVERY = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
ON_EVERY = pytest.mark.parametrize("schedule", BUILT.values(), ids=BUILT)
WITH_EVERY = pytest.mark.parametrize("spacing", SPACINGS)
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
    knows = denoiser(lambda x, level, cond: output_from(kind, cond, x, level), kind)
    for step in sampler(knows, gaussian((2, 4, 4), [1, 2]), CLEAN, schedule, steps, spacing=spacing):
        torch.testing.assert_close(step.clean, CLEAN, rtol=0, atol=2e-5)
    torch.testing.assert_close(step.x, CLEAN, rtol=0, atol=2e-5)


@EVERY
@ON_EVERY
@WITH_EVERY
def test_one_evaluation_per_step_on_the_grid_and_the_last_x_is_clean(sampler, schedule, spacing):
    asked = []

    def recorded(x, level, cond):
        asked.append((level.t.tolist(), x))
        return nonlinear(x, level, cond)

    steps = list(sampler(denoiser(recorded, "v"), CLEAN, 0.2, schedule, 7, spacing=spacing))
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
    walk = sampler(counted, CLEAN, None, schedule, 5)
    assert len(calls) == 0
    next(walk)
    assert len(calls) == 1


@EVERY
@ON_EVERY
def test_items_do_not_depend_on_their_batch(sampler, schedule):
    def last(x):
        return list(sampler(denoiser(nonlinear, "v"), x, 0.2, schedule, 5))[-1].x

    torch.testing.assert_close(last(CLEAN)[1:], last(CLEAN[1:]), rtol=0, atol=1e-6)


@EVERY
@ON_EVERY
@WITH_EVERY
def test_a_partial_walk_begins_at_its_level(sampler, schedule, spacing):
    first = schedule.at(torch.tensor([400, 400]))
    noise = gaussian((2, 4, 4), [1, 2])
    knows = denoiser(lambda x, level, cond: cond, "flow")
    walk = sampler(knows, add_noise(CLEAN, noise, first), noise - CLEAN, schedule, 4, spacing=spacing, start=0.4)
    steps = list(walk)
    assert steps[0].level.t.tolist() == [400.0, 400.0]
    torch.testing.assert_close(steps[-1].clean, CLEAN, rtol=0, atol=2e-5)


@DEFINED
@WITH_EVERY
def test_without_fresh_noise_all_samplers_walk_alike(schedule, spacing, kind):
    x = gaussian((2, 4, 4), [1, 2]).double()
    ends = [
        list(sampler(denoiser(nonlinear, kind), x, 0.2, schedule, 6, spacing=spacing))[-1].x
        for sampler in SAMPLERS.values()
    ]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-9, atol=1e-9)
