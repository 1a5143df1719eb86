"""Schedules and samplers against diffusers, from the same noise and with the same nonlinear network.

Settings under which diffusers' schedulers walk our grid and end at our clean point: `set_alpha_to_one=True`,
`steps_offset=0`, `clip_sample=False` for DDIM; `final_sigmas_type="zero"` for Euler and DPM-Solver++. DDIM there
steps T // S timesteps down, which stays on its own grid for trailing and leading spacing where S divides T; elsewhere
`compat="diffusers"` repeats it. Trailing grids are the same except for two sorts of S, left out here: some
multiples of 16, where 1000 i / S falls on halves that diffusers computes inexactly, and those for which it
returns S + 1 timesteps. DPM-Solver++ and DDPM are given our timesteps, so that only the steps are compared; the
noise that DDPM and Euler-ancestral draw is that of a generator, drawn for ours in the same order.
"""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from denoisight.diffusion.noise import gaussian
from denoisight.diffusion.prediction import denoiser
from denoisight.diffusion.samplers import SAMPLERS, ddim, dpmpp_2m, euler
from denoisight.diffusion.schedule import SCHEDULES, SPACINGS, timesteps

BETAS = {
    "scaled-linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "linear": {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
}
SETTINGS = {
    **BETAS,
    **{f"{name}-zero-terminal": {**betas, "rescale_betas_zero_snr": True} for name, betas in BETAS.items()},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
DDIM_TYPES = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
EULER_TYPES = {"eps": "epsilon", "v": "v_prediction", "x0": "original_sample"}
DEFINED = [
    # The cosine schedule ends so near pure noise that an eps network's estimates there are rounding errors.
    (name, kind)
    for name in SETTINGS
    for kind in DDIM_TYPES
    if kind != "eps" or name in BETAS
]
SIGMA_SPACE = [
    (name, kind, spacing)
    for name, kind in DEFINED
    for spacing in ("trailing", "leading")
    # x / alpha near pure noise: in the place of alpha = 0 diffusers puts 2^-12, where ours starts from 0.
    if name in BETAS or spacing != "trailing"
]
X = gaussian((3, 4, 4), [0, 1])


def output(x, t):
    return torch.tanh(1.3 * x + 0.2) * (0.4 + t / 1500)


def network(x, level, cond):
    return output(x, level.t.reshape(-1, 1, 1, 1))


def stepping(spacing):
    """A spacing in the words of diffusers."""
    return {"timestep_spacing": spacing.removesuffix("-offset"), "steps_offset": int(spacing.endswith("-offset"))}


def ddim_scheduler(name, kind, spacing, steps):
    scheduler = DDIMScheduler(
        **SETTINGS[name], prediction_type=DDIM_TYPES[kind], **stepping(spacing), clip_sample=False
    )
    scheduler.set_timesteps(steps)
    return scheduler


def assert_same_walk(ours, theirs, tolerance=2e-5):
    assert len(ours) == len(theirs)
    for step, (x, clean) in zip(ours, theirs, strict=True):
        # an eps network at T-1 has clean estimates of about 1 / alpha = 15
        scale = max(1.0, x.abs().max().item(), clean.abs().max().item())
        torch.testing.assert_close(step.x, x, rtol=0, atol=tolerance * scale)
        torch.testing.assert_close(step.clean, clean, rtol=0, atol=tolerance * scale)


def walk_ddim(scheduler, eta=0.0, noise=None):
    x, walk = X, []
    for index, t in enumerate(scheduler.timesteps):
        fresh = noise(index) if eta else None
        step = scheduler.step(output(x, t), int(t), x, eta=eta, variance_noise=fresh)
        x = step.prev_sample
        walk.append((x, step.pred_original_sample))
    return walk


def walk_scaled(scheduler, schedule, **more):
    """A scheduler that walks in x / alpha over sigma / alpha, back in our coordinates."""
    alphas = [*schedule.alphas[scheduler.timesteps.long()].tolist(), 1.0]
    scaled, walk = X / alphas[0], []
    for t, alpha_after in zip(scheduler.timesteps, alphas[1:], strict=True):
        step = scheduler.step(output(scheduler.scale_model_input(scaled, t), t), t, scaled, **more)
        scaled = step.prev_sample
        walk.append((alpha_after * scaled, step.pred_original_sample))
    return walk


def generator():
    return torch.Generator().manual_seed(3)


def drawn(steps):
    """What a scheduler draws at each step out of `generator()`."""
    source = generator()
    return [torch.randn(X.shape, generator=source) for _ in range(steps)].__getitem__


@pytest.mark.parametrize("name", SETTINGS)
def test_schedules_are_those_of_diffusers(name):
    theirs = DDIMScheduler(**SETTINGS[name]).alphas_cumprod.double().sqrt()
    torch.testing.assert_close(SCHEDULES[name]().alphas, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_spacings_are_those_of_diffusers(spacing):
    scheduler, schedule = DDIMScheduler(**stepping(spacing)), SCHEDULES["linear"]()
    compared = 0
    for steps in range(1, 1001):
        scheduler.set_timesteps(steps)
        theirs = scheduler.timesteps.tolist()
        if spacing == "trailing" and (len(theirs) != steps or steps % 16 == 0):
            continue
        if theirs[0] > 999:  # the offset leads beyond the last level, where diffusers has no noise level either
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


@pytest.mark.parametrize(("name", "kind", "spacing"), SIGMA_SPACE)
@pytest.mark.parametrize("steps", [2, 7, 10])
def test_euler_is_k_diffusion_in_scaled_coordinates(name, kind, spacing, steps):
    scheduler = EulerDiscreteScheduler(**SETTINGS[name], prediction_type=EULER_TYPES[kind], timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    ours = euler(denoiser(network, kind), X, None, SCHEDULES[name](), steps, spacing=spacing)
    assert_same_walk(list(ours), walk_scaled(scheduler, SCHEDULES[name]()))


# Their Euler-ancestral knows no x0-prediction.
@pytest.mark.parametrize(("name", "kind", "spacing"), [row for row in SIGMA_SPACE if row[1] != "x0"])
@pytest.mark.parametrize("steps", [2, 7, 10])
def test_euler_ancestral(name, kind, spacing, steps):
    scheduler = EulerAncestralDiscreteScheduler(
        **SETTINGS[name], prediction_type=DDIM_TYPES[kind], timestep_spacing=spacing
    )
    scheduler.set_timesteps(steps)
    ancestral = SAMPLERS["euler-ancestral"]
    ours = ancestral(denoiser(network, kind), X, None, SCHEDULES[name](), steps, spacing=spacing, noise=drawn(steps))
    assert_same_walk(list(ours), walk_scaled(scheduler, SCHEDULES[name](), generator=generator()))


@pytest.mark.parametrize(("name", "kind"), DEFINED)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 7, 30])
def test_ddpm(name, kind, spacing, steps):
    scheduler = DDPMScheduler(**SETTINGS[name], prediction_type=DDIM_TYPES[kind], clip_sample=False)
    schedule, x, theirs, source = SCHEDULES[name](), X, [], generator()
    scheduler.set_timesteps(timesteps=timesteps(schedule, steps, spacing))
    for t in scheduler.timesteps:
        step = scheduler.step(output(x, t), int(t), x, generator=source)
        x = step.prev_sample
        theirs.append((x, step.pred_original_sample))
    ours = SAMPLERS["ddpm"](denoiser(network, kind), X, None, schedule, steps, spacing=spacing, noise=drawn(steps))
    assert_same_walk(list(ours), theirs)


@pytest.mark.parametrize(("name", "kind", "spacing"), SIGMA_SPACE)
@pytest.mark.parametrize("steps", [2, 3, 10, 30])
def test_dpm_solver_multistep(name, kind, spacing, steps):
    scheduler = DPMSolverMultistepScheduler(
        **SETTINGS[name], prediction_type=DDIM_TYPES[kind], final_sigmas_type="zero", lambda_min_clipped=-float("inf")
    )
    schedule, x, theirs = SCHEDULES[name](), X, []
    scheduler.set_timesteps(timesteps=timesteps(schedule, steps, spacing))
    for t in scheduler.timesteps:
        x = scheduler.step(output(x, t), t, x).prev_sample
        theirs.append((x, scheduler.model_outputs[-1]))
    ours = dpmpp_2m(denoiser(network, kind), X, None, schedule, steps, spacing=spacing)
    # They take log(alpha / sigma) of single precision, of which little is left at t = 0.
    assert_same_walk(list(ours), theirs, 1e-4)


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
