"""Samplers against closed forms on their own grids, in double precision."""

import pytest
import torch

from denoisight.diffusion.noise import add_noise, fresh_noise, gaussian
from denoisight.diffusion.prediction import denoiser, output_from
from denoisight.diffusion.samplers import ancestral, ddim, dpmpp_2m, euler
from denoisight.diffusion.schedule import SCHEDULES, scaled_linear, timesteps
from denoisight.errors import UsageError

ODD_STEPS = (1, 3, 7, 12, 30)


def network(x, level, cond):
    """Smooth, bounded, nonlinear in x, and different at every level."""
    return torch.tanh(1.3 * x + 0.2) * (0.4 + level.t / 1500).reshape(-1, 1, 1, 1)


def start_noise(items=2):
    return gaussian((3, 4, 4), range(items)).double()


def tables(schedule, steps, spacing="trailing"):
    """(alpha, sigma, level) at each point of the walk, the clean one last."""
    levels = [schedule.at(torch.tensor([t]), torch.float64) for t in [*timesteps(schedule, steps, spacing), -1]]
    return [(level.alpha, level.sigma, level) for level in levels]


@pytest.mark.parametrize("sampler", [ddim, euler])
@pytest.mark.parametrize("steps", ODD_STEPS)
def test_eps_walks_as_euler_over_the_noise_to_signal_ratio(sampler, steps):
    schedule, x = scaled_linear(), start_noise()
    points = tables(schedule, steps)
    scaled = x / points[0][0]
    for (alpha, sigma, level), (alpha_after, sigma_after, _) in zip(points, points[1:], strict=False):
        scaled = scaled + (sigma_after / alpha_after - sigma / alpha) * network(alpha * scaled, level, None)
    last = list(sampler(denoiser(network, "eps"), x, None, schedule, steps))[-1]
    torch.testing.assert_close(last.x, scaled, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sampler", [ddim, euler])
@pytest.mark.parametrize("steps", ODD_STEPS)
def test_v_walks_as_a_rotation_from_pure_noise(sampler, steps):
    schedule, x = SCHEDULES["scaled-linear-zero-terminal"](), start_noise()
    points, rotated = tables(schedule, steps), x
    for (alpha, sigma, level), (alpha_after, sigma_after, _) in zip(points, points[1:], strict=False):
        angle = torch.atan2(sigma, alpha) - torch.atan2(sigma_after, alpha_after)
        rotated = angle.cos() * rotated - angle.sin() * network(rotated, level, None)
    last = list(sampler(denoiser(network, "v"), x, None, schedule, steps))[-1]
    torch.testing.assert_close(last.x, rotated, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sampler", [ddim, euler])
@pytest.mark.parametrize("steps", ODD_STEPS)
def test_flow_walks_straight(sampler, steps):
    schedule, x = SCHEDULES["flow"](), start_noise()
    points, moved = tables(schedule, steps), x
    for (_, sigma, level), (_, sigma_after, _) in zip(points, points[1:], strict=False):
        moved = moved + (sigma_after - sigma) * network(moved, level, None)
    last = list(sampler(denoiser(network, "flow"), x, None, schedule, steps))[-1]
    torch.testing.assert_close(last.x, moved, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_the_result_is_the_weighted_sum_of_the_predicted_noises(spacing):
    schedule, x, outputs = scaled_linear(), start_noise(), []

    def recorded(x, level, cond):
        outputs.append(network(x, level, cond))
        return outputs[-1]

    last = list(ddim(denoiser(recorded, "eps"), x, None, schedule, 50, spacing=spacing))[-1]
    grid = timesteps(schedule, 50, spacing)
    lambdas = schedule.lambdas[grid]
    shares = lambdas - torch.cat([lambdas[1:], torch.zeros(1)])
    total = sum(share * output for share, output in zip(shares, outputs, strict=True))
    torch.testing.assert_close(last.clean, x / schedule.alphas[grid[0]] - total, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("eta", [0.5])  # 0 and 1 are samplers of the table, see its contracts
def test_every_eta_keeps_the_noise_of_every_level(name, eta):
    schedule = SCHEDULES[name]()
    clean = torch.full((1, 50_000), 0.7)
    knows = denoiser(lambda x, level, cond: output_from("v", clean, x, level), "v")

    def fresh(index):
        return gaussian((50_000,), [100 + index])

    x = gaussian((50_000,), [0])
    start = schedule.at(torch.tensor([999]))
    walk = list(ddim(knows, add_noise(clean, x, start), None, schedule, 5, eta=eta, noise=fresh))
    for step, after in zip(walk, [s.level for s in walk[1:]], strict=False):
        assert step.x.mean().item() == pytest.approx(0.7 * after.alpha.item(), abs=0.02)
        assert step.x.std().item() == pytest.approx(after.sigma.item(), rel=0.02)


def test_full_eta_forgets_the_noise_it_started_from():
    schedule, clean = SCHEDULES["flow"](), torch.zeros(1, 50_000)
    knows = denoiser(lambda x, level, cond: clean, "x0")
    x = gaussian((50_000,), [0])

    def correlation(eta):
        step = next(ddim(knows, x, None, schedule, 5, eta=eta, noise=lambda index: gaussian((50_000,), [1])))
        return torch.corrcoef(torch.cat([x, step.x]))[0, 1].item()

    assert correlation(0.0) == pytest.approx(1.0)
    assert abs(correlation(1.0)) < 0.02  # nothing of pure noise survives a wholly stochastic step


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 7, 30])
def test_ancestral_sampling_is_ddim_with_all_its_noise_fresh(name, steps):
    schedule, noise = SCHEDULES[name](), fresh_noise((3, 4, 4), [0, 1])
    drawn, walked = (
        list(sampler(denoiser(network, "v"), start_noise(), None, schedule, steps, noise=noise, **more))
        for sampler, more in ((ancestral, {}), (ddim, {"eta": 1.0}))
    )
    for one, other in zip(drawn, walked, strict=True):
        torch.testing.assert_close(one.x, other.x, rtol=1e-9, atol=1e-9)


def test_ancestral_sampling_needs_noise():
    with pytest.raises(UsageError, match="noise"):
        next(ancestral(denoiser(network, "v"), start_noise(), None, scaled_linear(), 4))


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_second_order_is_of_second_order(name):
    """On the flow of a normal distribution, which is known, half the step leaves a quarter of the error."""
    schedule, x, mean, spread = SCHEDULES[name](), start_noise(), 0.3, 0.5

    def ideal(x, level, cond):
        alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in level[:2])
        return mean + alpha * spread**2 / (alpha**2 * spread**2 + sigma**2) * (x - alpha * mean)

    def solution(at):
        first = schedule.at(torch.tensor(999), torch.float64)
        start, end = (level.alpha**2 * spread**2 + level.sigma**2 for level in (first, at))
        return at.alpha * mean + (end / start).sqrt() * (x - first.alpha * mean)

    def error(sampler, steps):
        step = list(sampler(ideal, x, None, schedule, steps))[steps // 2 - 1]
        return (step.x - solution(schedule.at(torch.tensor(499), torch.float64))).abs().max().item()

    assert 3 < error(dpmpp_2m, 50) / error(dpmpp_2m, 100) < 6
    assert error(dpmpp_2m, 100) < error(ddim, 100) / 5


def test_the_second_order_begins_and_ends_as_euler():
    """Pure noise has no log(alpha / sigma) to extend from, nor the clean point one to extend to."""
    for steps, alike in ((3, [True, True, True]), (5, [True, True, False, False])):
        walks = [
            list(sampler(denoiser(network, "v"), start_noise(), None, SCHEDULES["flow"](), steps))
            for sampler in (dpmpp_2m, euler)
        ]
        for expected, ours, first_order in zip(alike, *walks, strict=False):
            assert torch.equal(ours.x, first_order.x) == expected
        assert torch.equal(walks[0][-1].x, walks[0][-1].clean)


def test_fresh_noise_differs_between_steps_and_from_the_start():
    noise, start = fresh_noise((50_000,), [5]), gaussian((50_000,), [5])
    table = torch.corrcoef(torch.cat([start, noise(0), noise(1)]))
    assert (table - torch.eye(3)).abs().max() < 0.02
    assert torch.equal(noise(1), noise(1))


def test_fresh_noise_belongs_to_the_item_not_to_the_batch():
    seeds = [11, 12, 13]

    def walk(items):
        def fresh(index):
            return gaussian((3, 4, 4), [100 * seeds[i] + index for i in items])

        x = gaussian((3, 4, 4), [seeds[i] for i in items])
        return list(ddim(denoiser(network, "v"), x, None, scaled_linear(), 6, eta=1.0, noise=fresh))[-1].x

    torch.testing.assert_close(walk([0, 1, 2])[1:2], walk([1]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("eta", "noise"), [(0.5, None), (-0.1, torch.randn), (1.1, torch.randn)])
def test_eta_without_noise_or_out_of_range_is_refused(eta, noise):
    with pytest.raises(UsageError, match=f"eta = {eta}"):
        next(ddim(denoiser(network, "v"), start_noise(), None, scaled_linear(), 4, eta=eta, noise=noise))


@pytest.mark.parametrize("sampler", [ddim, euler])
def test_a_partial_walk_starts_at_exactly_the_level_it_was_noised_to(sampler):
    schedule, clean, noise = scaled_linear(), start_noise(), start_noise().flip(0)
    x = add_noise(clean, noise, schedule.at(torch.tensor([600, 600]), torch.float64))
    asked = []

    def true_noise(x, level, cond):
        asked.append(level.t.tolist())
        return noise

    steps = list(sampler(denoiser(true_noise, "eps"), x, None, schedule, 5, start=0.6))
    assert asked[0] == [600.0, 600.0]
    for step in steps:
        torch.testing.assert_close(step.clean, clean)


def test_the_step_of_diffusers_is_ours_where_steps_divide_the_timesteps():
    def last(steps, spacing, compat):
        walk = ddim(
            denoiser(network, "v"),
            start_noise(),
            None,
            scaled_linear(),
            steps,
            spacing=spacing,
            compat=compat,
        )
        return list(walk)[-1].x

    for spacing in ("trailing", "leading"):
        assert torch.equal(last(50, spacing, "diffusers"), last(50, spacing, None))
    assert not torch.allclose(last(7, "trailing", "diffusers"), last(7, "trailing", None), atol=1e-4)


@pytest.mark.parametrize(("compat", "start"), [("k-diffusion", None), ("diffusers", 0.5)])
def test_other_compatibilities_are_refused(compat, start):
    walk = ddim(denoiser(network, "v"), start_noise(), None, scaled_linear(), 4, compat=compat, start=start)
    with pytest.raises(UsageError, match=f"compat='{compat}'"):
        next(walk)


def test_half_precision_is_walked_in_single():
    x = start_noise().bfloat16()
    last = list(ddim(denoiser(network, "v"), x, None, scaled_linear(), 5))[-1].x
    assert last.dtype == torch.float32
    exact = list(ddim(denoiser(network, "v"), x.double(), None, scaled_linear(), 5))[-1].x
    torch.testing.assert_close(last.double(), exact, rtol=0, atol=1e-2)
