import pytest
import torch

from denoisight.diffusion.prediction import clean_from, denoiser
from denoisight.diffusion.samplers import ddim
from denoisight.diffusion.schedule import SCHEDULES, cosine, flow, scaled_linear, timesteps
from denoisight.diffusion.timesteps import LAWS, MOST, capped, contributions, draw, law, native
from denoisight.errors import UsageError


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(("predicts", "rho"), [("eps", 0.0), ("v", 0.1), ("x0", 0.0), ("flow", 1.0)])
def test_laws_are_probabilities_that_neglect_no_level(name, schedule, predicts, rho):
    probabilities = law(name, SCHEDULES[schedule](), predicts, rho)
    assert probabilities.shape == (1000,)
    assert probabilities.isfinite().all()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    assert (probabilities >= rho / 1000 * (1 - 1e-6)).all()


def test_contributions_by_hand_with_the_last_one_capped():
    # sigma / alpha of flow(4) is 1/3, 1, 3, infinite
    torch.testing.assert_close(contributions(flow(4)), torch.tensor([1 / 3, 2 / 3, 2, 2]).double())


def test_ct2_is_the_square_of_ct():
    schedule = scaled_linear()
    ct, ct2 = law("ct", schedule, rho=0.0), law("ct2", schedule, rho=0.0)
    torch.testing.assert_close(ct2, ct**2 / (ct**2).sum())


def test_early_steps_hold_nearly_all_of_ct2_on_the_schedule_of_stable_diffusion():
    shares = law("ct2", scaled_linear(), rho=0.0).view(10, 100).sum(1)
    torch.testing.assert_close(shares[5:], torch.tensor([0.0078, 0.0193, 0.0556, 0.1855, 0.7207]), rtol=0, atol=1e-4)


def test_rho_mixes_with_the_uniform_law():
    schedule = scaled_linear()
    mixed = 0.7 * law("ct2", schedule, rho=0.0) + 0.3 * law("uniform", schedule)
    torch.testing.assert_close(law("ct2", schedule, rho=0.3), mixed)


@pytest.mark.parametrize("rho", [-0.1, 1.5])
def test_a_share_outside_the_unit_interval_is_refused(rho):
    with pytest.raises(UsageError, match=f"rho = {rho}"):
        law("ct2", scaled_linear(), rho=rho)


def test_an_unknown_law_lists_the_known_ones():
    with pytest.raises(UsageError, match="converted, ct, ct-ddpm, ct2"):
        law("cosine", scaled_linear())


@pytest.mark.parametrize("name", LAWS)
def test_a_batch_covers_its_law_evenly(name):
    probabilities = law(name, scaled_linear())
    drawn = draw(probabilities, 400, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=1000).view(10, 100).sum(1)
    expected = 400 * probabilities.view(10, 100).sum(1)
    assert (counts - expected).abs().max() < 2  # an independent draw would stray by about ten


def test_each_place_of_a_batch_follows_the_law_alone():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3])
    drawn = torch.stack([draw(probabilities, 3, generator) for _ in range(1000)])
    for place in range(3):
        shares = torch.bincount(drawn[:, place], minlength=4) / 1000
        torch.testing.assert_close(shares, probabilities, rtol=0, atol=0.05)


def test_levels_of_no_probability_are_never_drawn():
    probabilities = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0])
    assert set(draw(probabilities, 1000, torch.Generator().manual_seed(0)).tolist()) == {1, 3}


def test_the_generator_decides():
    probabilities = law("ct", scaled_linear())
    first, again = (draw(probabilities, 16, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, draw(probabilities, 16, torch.Generator().manual_seed(8)))


@pytest.mark.parametrize("predicts", ["eps", "v", "x0", "flow"])
@pytest.mark.parametrize("schedule", [scaled_linear(40), cosine(40), flow(40), scaled_linear(40, zero_terminal=True)])
def test_the_result_of_ddim_is_the_sum_of_the_outputs_by_their_native_coefficients(predicts, schedule):
    """With outputs that do not hang on x, the unrolled sum and the sampler agree to float precision."""
    if predicts == "eps" and schedule.alphas[-1] == 0:
        pytest.skip("noise prediction says nothing where alpha = 0")
    steps = schedule.num_timesteps
    outputs = torch.randn(steps, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def network(x, level, cond):
        return outputs[level.t.long()]

    walk = lambda x: list(ddim(denoiser(network, predicts), x, None, schedule, steps))[-1].x  # noqa: E731
    start = torch.randn(1, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    reached = walk(start) - walk(torch.zeros_like(start))  # what is left of the start itself
    torch.testing.assert_close(walk(start) - reached, walk(torch.zeros_like(start)))
    summed = walk(torch.zeros_like(start))[0]
    weights = native(schedule, predicts).sqrt()
    signs = torch.stack([walk_of_one(schedule, predicts, t, steps) for t in range(steps)])
    torch.testing.assert_close(signs.abs(), weights, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close((signs[:, None] * outputs).sum(0), summed, rtol=1e-9, atol=1e-9)


def walk_of_one(schedule, predicts, t, steps):
    """The result of a walk from zero in which only the output at timestep t is one, all others zero."""

    def network(x, level, cond):
        return (level.t == t).double()[:, None].expand_as(x)

    return list(ddim(denoiser(network, predicts), torch.zeros(1, 1).double(), None, schedule, steps))[-1].x[0, 0]


def test_the_unrolled_sum_of_noise_predictions_on_any_grid():
    """x0 = x_T / alpha_T - sum_i (lambda_i - lambda_(i-1)) eps_i, here with ten steps."""
    schedule = scaled_linear()
    x = torch.randn(1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    eps = torch.randn(1000, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grid = timesteps(schedule, 10)
    result = list(ddim(denoiser(lambda x, level, cond: eps[level.t.long()], "eps"), x, None, schedule, 10))[-1].x
    lambdas = torch.cat([schedule.lambdas[grid], torch.zeros(1, dtype=torch.float64)])
    coefficients = lambdas[:-1] - lambdas[1:]
    expected = x / schedule.alphas[-1] - (coefficients[:, None] * eps[grid]).sum(0)
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)


def test_both_forms_of_the_contributions_agree_above_the_first_hundred():
    """(methods: the same distribution above t = 100.)"""
    schedule = scaled_linear()
    ddim_form, ddpm_form = (law(name, schedule, rho=0.0)[100:] for name in ("ct2", "ct2-ddpm"))
    torch.testing.assert_close(ddim_form / ddim_form.sum(), ddpm_form / ddpm_form.sum(), rtol=0.02, atol=0)


def test_converted_to_velocity_the_law_is_a_mild_ramp():
    shares = law("converted", scaled_linear(), "v", rho=0.0).view(10, 100).sum(1)
    expected = torch.tensor([0.15, 0.03, 0.03, 0.04, 0.05, 0.07, 0.09, 0.13, 0.17, 0.23])
    torch.testing.assert_close(shares, expected, rtol=0, atol=0.01)


def test_converted_to_the_clean_image_the_law_is_of_the_cleanest_levels():
    assert law("converted", scaled_linear(), "x0", rho=0.0)[:100].sum() > 0.96


def test_native_laws():
    schedule = scaled_linear()
    torch.testing.assert_close(law("native", schedule, "eps", 0.0), law("ct2", schedule, rho=0.0))
    torch.testing.assert_close(law("native", flow(), "flow", 0.0), law("uniform", flow()))
    assert law("native", schedule, "x0", 0.0)[0] == 1
    shares = law("native", schedule, "v", 0.0)
    angles = torch.atan2(schedule.sigmas, schedule.alphas)
    steps = angles.diff(prepend=angles.new_zeros(1))
    by_hand = steps.sin() * torch.cat([steps.new_ones(1), steps.cos()[:-1]]).cumprod(0)
    torch.testing.assert_close(shares, (by_hand**2 / (by_hand**2).sum()).float())


@pytest.mark.parametrize("predicts", ["eps", "v", "x0", "flow"])
@pytest.mark.parametrize("name", ["min-snr", "p2", "converted"])
def test_weights_of_one_error_are_the_same_in_every_kind(name, predicts):
    """A fixed error of the clean estimate costs as much whichever kind the network predicts."""
    schedule = scaled_linear()
    level = schedule.at(torch.arange(0, 1000, 111), torch.float64)
    x, clean = (torch.randn(len(level.t), 1, generator=torch.Generator().manual_seed(n)).double() for n in (0, 1))
    error = {}
    for kind in ("eps", predicts):
        slope = clean_from(kind, clean + 1, x, level) - clean_from(kind, clean, x, level)
        error[kind] = (
            LAWS[name](schedule, kind)[level.t.long()] * slope[:, 0] ** -2
        )  # per unit error of the clean image
    torch.testing.assert_close(error[predicts], error["eps"])


def test_min_snr_and_p2_by_hand():
    schedule = scaled_linear()
    snr = schedule.lambdas**-2
    torch.testing.assert_close(LAWS["min-snr"](schedule, "x0"), snr.clamp(max=5))
    torch.testing.assert_close(LAWS["min-snr"](schedule, "eps"), snr.clamp(max=5) / snr)
    torch.testing.assert_close(LAWS["min-snr"](schedule, "v"), snr.clamp(max=5) / (snr + 1))
    torch.testing.assert_close(LAWS["p2"](schedule, "eps"), 1 / (1 + snr))


def test_laws_of_flow_matching_have_their_modes_where_they_should():
    schedule = flow()
    middle, shifted = (law(name, schedule, "flow", 0.0) for name in ("mode", "mode-shifted"))
    normal = law("logit-normal", schedule, "flow", 0.0)
    assert abs(int(normal.argmax()) - 500) < 2
    torch.testing.assert_close(middle, middle.flip(0), rtol=0.05, atol=1e-6)
    share = torch.arange(1000) / 1000
    assert (shifted * share).sum() > (middle * share).sum() + 0.15


def test_shares_are_capped_and_the_rest_goes_to_the_others_in_their_proportions():
    given = torch.tensor([8.0, 4, 2, 2], dtype=torch.float64)
    torch.testing.assert_close(capped(given, 0.3), torch.tensor([0.3, 0.3, 0.2, 0.2], dtype=torch.float64))
    torch.testing.assert_close(capped(given, 1.0), given / 16)
    # Two cannot share 1 in parts of at most 0.3.
    torch.testing.assert_close(capped(torch.tensor([3.0, 0, 1, 0]), 0.3), torch.tensor([0.5, 0, 0.5, 0]))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["ct", "ct2", "ct-ddpm", "ct2-ddpm"])
def test_no_timestep_takes_most_of_a_contribution_law(name, schedule):
    assert law(name, SCHEDULES[schedule](), rho=0.0).max() <= MOST / 1000 * (1 + 1e-5)


def test_bounding_changes_nothing_on_the_schedule_of_stable_diffusion():
    schedule = scaled_linear()
    for name, plain in (("ct", contributions(schedule)), ("ct2", contributions(schedule) ** 2)):
        torch.testing.assert_close(law(name, schedule, rho=0.0), (plain / plain.sum()).float())
