import pytest
import torch

from denoisight.diffusion.schedule import SCHEDULES, flow, scaled_linear
from denoisight.diffusion.timesteps import LAWS, contributions, draw, law
from denoisight.errors import UsageError


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("rho", [0.0, 0.1, 1.0])
def test_laws_are_probabilities_that_neglect_no_level(name, schedule, rho):
    probabilities = law(name, SCHEDULES[schedule](), rho)
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
        law("ct2", scaled_linear(), rho)


def test_an_unknown_law_lists_the_known_ones():
    with pytest.raises(UsageError, match="ct, ct2, uniform"):
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
