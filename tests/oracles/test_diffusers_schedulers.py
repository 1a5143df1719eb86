"""Schedules and samplers against diffusers, from the same noise and with the same nonlinear network.

Settings under which diffusers' schedulers walk our grid and end at our clean point: `set_alpha_to_one=True`,
`steps_offset=0`, `clip_sample=False` for DDIM; `final_sigmas_type="zero"` for Euler. DDIM there steps T // S
timesteps down, which stays on its own grid for trailing and leading spacing where S divides T; elsewhere
`compat="diffusers"` repeats it. Trailing grids are the same except for two sorts of S, left out here: some
multiples of 16, where 1000 i / S falls on halves that diffusers computes inexactly, and those for which it
returns S + 1 timesteps.
"""

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

from denoisight.diffusion.noise import gaussian
from denoisight.diffusion.prediction import denoiser
from denoisight.diffusion.samplers import ddim, euler
from denoisight.diffusion.schedule import SCHEDULES, SPACINGS, timesteps

BETAS = {
    "scaled-linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "linear": {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
}
SETTINGS = {
    **BETAS,
    **{f"{name}-zero-terminal": {**betas, "rescale_betas_zero_snr": True} for name, betas in BETAS.items()},
}
DDIM_TYPES = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
EULER_TYPES = {"eps": "epsilon", "v": "v_prediction", "x0": "original_sample"}
DEFINED = [
    (name, kind) for name in SETTINGS for kind in DDIM_TYPES if not (kind == "eps" and name.endswith("zero-terminal"))
]
X = gaussian((3, 4, 4), [0, 1])


def output(x, t):
    return torch.tanh(1.3 * x + 0.2) * (0.4 + t / 1500)


def network(x, level, cond):
    return output(x, level.t.reshape(-1, 1, 1, 1))


def ddim_scheduler(name, kind, spacing, steps):
    scheduler = DDIMScheduler(
        **SETTINGS[name], prediction_type=DDIM_TYPES[kind], timestep_spacing=spacing, clip_sample=False
    )
    scheduler.set_timesteps(steps)
    return scheduler


def assert_same_walk(ours, theirs):
    assert len(ours) == len(theirs)
    for step, (x, clean) in zip(ours, theirs, strict=True):
        # an eps network at T-1 has clean estimates of about 1 / alpha = 15
        scale = max(1.0, x.abs().max().item(), clean.abs().max().item())
        torch.testing.assert_close(step.x, x, rtol=0, atol=1e-5 * scale)
        torch.testing.assert_close(step.clean, clean, rtol=0, atol=1e-5 * scale)


def walk_ddim(scheduler, eta=0.0, noise=None):
    x, walk = X, []
    for index, t in enumerate(scheduler.timesteps):
        fresh = noise(index) if eta else None
        step = scheduler.step(output(x, t), int(t), x, eta=eta, variance_noise=fresh)
        x = step.prev_sample
        walk.append((x, step.pred_original_sample))
    return walk


@pytest.mark.parametrize("name", SETTINGS)
def test_schedules_are_those_of_diffusers(name):
    theirs = DDIMScheduler(**SETTINGS[name]).alphas_cumprod.double().sqrt()
    torch.testing.assert_close(SCHEDULES[name]().alphas, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_spacings_are_those_of_diffusers(spacing):
    scheduler, schedule = DDIMScheduler(timestep_spacing=spacing), SCHEDULES["linear"]()
    compared = 0
    for steps in range(1, 1001):
        scheduler.set_timesteps(steps)
        theirs = scheduler.timesteps.tolist()
        if spacing == "trailing" and (len(theirs) != steps or steps % 16 == 0):
            continue
        assert timesteps(schedule, steps, spacing) == theirs
        compared += 1
    assert compared > 850


@pytest.mark.parametrize(("name", "kind"), DEFINED)
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize("steps", [1, 2, 4, 10, 50])
def test_ddim_where_steps_divide_the_timesteps(name, kind, spacing, steps):
    theirs = walk_ddim(ddim_scheduler(name, kind, spacing, steps))
    ours = ddim(denoiser(network, kind), X, None, SCHEDULES[name](), steps, spacing=spacing)
    assert_same_walk(list(ours), theirs)


@pytest.mark.parametrize(("name", "kind"), DEFINED)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [7, 30])
def test_ddim_in_compatibility_where_they_do_not(name, kind, spacing, steps):
    theirs = walk_ddim(ddim_scheduler(name, kind, spacing, steps))
    ours = ddim(denoiser(network, kind), X, None, SCHEDULES[name](), steps, spacing=spacing, compat="diffusers")
    assert_same_walk(list(ours), theirs)


@pytest.mark.parametrize(("name", "kind"), DEFINED)
@pytest.mark.parametrize("eta", [0.5, 0.99])  # at 1 and zero SNR diffusers takes the root of a negative rounding
def test_ddim_with_fresh_noise(name, kind, eta):
    def noise(index):
        return gaussian((3, 4, 4), [10 + index, 20 + index])

    theirs = walk_ddim(ddim_scheduler(name, kind, "trailing", 10), eta, noise)
    ours = ddim(denoiser(network, kind), X, None, SCHEDULES[name](), 10, eta=eta, noise=noise)
    assert_same_walk(list(ours), theirs)


@pytest.mark.parametrize(
    ("name", "kind", "spacing"),
    [
        (name, kind, spacing)
        for name, kind in DEFINED
        for spacing in ("trailing", "leading")
        # diffusers puts 2^-12 in the place of alpha = 0, where ours starts from pure noise
        if not (name.endswith("zero-terminal") and spacing == "trailing")
    ],
)
@pytest.mark.parametrize("steps", [2, 7, 10])
def test_euler_is_k_diffusion_in_scaled_coordinates(name, kind, spacing, steps):
    scheduler = EulerDiscreteScheduler(**SETTINGS[name], prediction_type=EULER_TYPES[kind], timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    schedule = SCHEDULES[name]()
    alphas = [*schedule.alphas[scheduler.timesteps.long()].tolist(), 1.0]
    scaled, theirs = X / alphas[0], []
    for t, alpha_after in zip(scheduler.timesteps, alphas[1:], strict=True):
        step = scheduler.step(output(scheduler.scale_model_input(scaled, t), t), t, scaled)
        scaled = step.prev_sample
        theirs.append((alpha_after * scaled, step.pred_original_sample))
    ours = euler(denoiser(network, kind), X, None, schedule, steps, spacing=spacing)
    assert_same_walk(list(ours), theirs)


@pytest.mark.parametrize("steps", [1, 2, 4, 10, 50])
def test_euler_on_rectified_flow(steps):
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    x, theirs = X, []
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        velocity = output(x, t - 1)  # their timesteps count from 1, ours from 0
        clean = x - sigma * velocity
        x = scheduler.step(velocity, t, x).prev_sample
        theirs.append((x, clean))
    ours = euler(denoiser(network, "flow"), X, None, SCHEDULES["flow"](), steps)
    assert_same_walk(list(ours), theirs)
