import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denoisight.diffusion.noise import add_noise
from denoisight.diffusion.prediction import (
    KINDS,
    clean_from,
    denoiser,
    noise_from,
    output_from,
    require_defined,
    target,
    velocity_weight,
)
from denoisight.diffusion.schedule import SCHEDULES, Level, flow, scaled_linear
from denoisight.errors import RecipeError, UsageError

HALF = Level(torch.tensor([0.6]), torch.tensor([0.8]), torch.tensor([500.0]))


def draws(count, *shape):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(count)]


@pytest.mark.parametrize(("kind", "expected"), [("eps", 3.0), ("v", 0.2), ("x0", 2.0), ("flow", 1.0)])
def test_targets_by_hand(kind, expected):
    clean, noise = torch.full((1, 1), 2.0), torch.full((1, 1), 3.0)
    torch.testing.assert_close(target(kind, clean, noise, HALF), torch.full((1, 1), expected))


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    name=st.sampled_from(sorted(SCHEDULES)),
    t=st.lists(st.integers(0, 998), min_size=2, max_size=2),
)
def test_the_clean_image_comes_back_from_every_target(kind, name, t):
    clean, noise = draws(2, 2, 3, 4, 4)
    level = SCHEDULES[name]().at(torch.tensor(t), torch.float64)
    x = add_noise(clean, noise, level)
    torch.testing.assert_close(clean_from(kind, target(kind, clean, noise, level), x, level), clean)
    torch.testing.assert_close(noise_from(clean, x, level), noise)


@pytest.mark.parametrize("kind", ["v", "x0", "flow"])
@pytest.mark.parametrize("name", ["flow", "scaled-linear-zero-terminal"])
def test_pure_noise_still_tells_the_clean_image(kind, name):
    clean, noise = draws(2, 2, 3, 4, 4)
    level = SCHEDULES[name]().at(torch.tensor([999, 999]), torch.float64)
    x = add_noise(clean, noise, level)
    torch.testing.assert_close(x, noise)
    torch.testing.assert_close(clean_from(kind, target(kind, clean, noise, level), x, level), clean)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_aim_at_the_truth_although_x_was_made_from_a_corrupted_one(kind):
    clean, corruption, noise = draws(3, 2, 3, 4, 4)
    corrupted = clean + 0.3 * corruption
    level = scaled_linear().at(torch.tensor([100, 700]), torch.float64)
    alpha, sigma = (part.reshape(2, 1, 1, 1) for part in (level.alpha, level.sigma))
    x = add_noise(corrupted, noise, level)
    revised = {
        "eps": noise + alpha / sigma * (corrupted - clean),
        "v": alpha * noise - sigma * corrupted + (corrupted - clean) / sigma,
        "x0": clean,
        "flow": noise - corrupted + (alpha + sigma) / sigma * (corrupted - clean),
    }
    output = output_from(kind, clean, x, level)
    torch.testing.assert_close(output, revised[kind])
    torch.testing.assert_close(clean_from(kind, output, x, level), clean)


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_clean_point_x_is_the_estimate(kind):
    clean = draws(1, 2, 3, 4, 4)[0]
    level = scaled_linear().at(torch.tensor([-1, -1]), torch.float64)
    assert torch.equal(noise_from(clean + 1, clean, level), torch.zeros_like(clean))
    torch.testing.assert_close(clean_from(kind, target(kind, clean, clean, level), clean, level), clean)


def test_levels_belong_to_items():
    clean, noise = draws(2, 2, 3, 4, 4)
    level = flow(4).at(torch.tensor([0, 3]), torch.float64)
    x = add_noise(clean, noise, level)
    torch.testing.assert_close(x, torch.stack([0.75 * clean[0] + 0.25 * noise[0], noise[1]]))


def test_the_wrapper_hands_everything_to_the_network():
    seen = []

    def network(x, level, cond):
        seen.append((x, level, cond))
        return torch.zeros_like(x)

    x = torch.ones(1, 3, 4, 4)
    clean = denoiser(network, "eps")(x, HALF, "a caption")
    torch.testing.assert_close(clean, x / 0.6)
    assert seen == [(x, HALF, "a caption")]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", KINDS)
def test_only_eps_at_pure_noise_is_refused(kind, name):
    schedule = SCHEDULES[name]()
    if kind == "eps" and schedule.alphas[-1] == 0:
        with pytest.raises(RecipeError, match=f"{name!r} begins in pure noise, where 'eps'"):
            require_defined(kind, schedule)
    else:
        require_defined(kind, schedule)


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(UsageError, match="eps, flow, v, x0"):
        denoiser(lambda x, level, cond: x, "epsilon")


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_errors_of_every_kind_are_those_of_the_velocity(kind):
    """The same wrong clean estimate costs the same, whichever kind of output it comes from."""
    level = SCHEDULES["scaled-linear"]().at(torch.tensor([50, 500, 950]))
    clean, noise, wrong = (torch.randn(3, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
    x = add_noise(clean, noise, level)

    def error(name):
        off = output_from(name, wrong, x, level) - target(name, clean, noise, level)
        return (off**2).mean(1) * velocity_weight(name, level)

    torch.testing.assert_close(error(kind), error("v"), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(velocity_weight("v", level), torch.ones(3))
