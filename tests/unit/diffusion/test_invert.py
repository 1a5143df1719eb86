"""The way back from a clean image to the noise that a walk would have made it from."""

import pytest
import torch

from denoisight.diffusion.noise import gaussian
from denoisight.diffusion.samplers import ddim, invert
from denoisight.diffusion.schedule import SCHEDULES
from denoisight.errors import UsageError

BUILT = {name: build() for name, build in SCHEDULES.items()}
ON_EVERY = pytest.mark.parametrize("schedule", BUILT.values(), ids=BUILT)
CLEAN = gaussian((2, 4, 4), [7, 8]).double()
MEAN, SPREAD = 0.3, 0.5


def ideal(x, level, cond):
    """The best denoiser of a normal distribution."""
    alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in level[:2])
    return MEAN + alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2) * (x - alpha * MEAN)


@ON_EVERY
@pytest.mark.parametrize("start", [0.3, 0.8])
def test_of_a_normal_distribution_the_way_back_is_known(schedule, start):
    """Its flow stretches x about the mean: by sqrt(alpha^2 s^2 + sigma^2) / s from the clean point to a level."""
    level = schedule.at(torch.tensor(schedule.timestep(start)), torch.float64)
    stretch = (level.alpha**2 * SPREAD**2 + level.sigma**2).sqrt() / SPREAD
    end = schedule.at(torch.tensor(-1), torch.float64)
    stretch = stretch / ((end.alpha**2 * SPREAD**2 + end.sigma**2).sqrt() / SPREAD)
    known = level.alpha * MEAN + stretch * (CLEAN - end.alpha * MEAN)
    errors = [
        (invert(ideal, CLEAN, None, schedule, steps, start=start) - known).abs().max().item() for steps in (50, 250)
    ]
    assert errors[1] < 0.04
    assert errors[1] < errors[0] / 3  # of first order


def two_peaks(x, level, cond):
    """The best denoiser where values are 1 or -1, give or take: a mean of the two, weighed by how likely each is."""
    alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in level[:2])
    total = alpha**2 * SPREAD**2 + sigma**2
    first, second = (peak + alpha * SPREAD**2 / total * (x - alpha * peak) for peak in (1, -1))
    share = torch.sigmoid(2 * alpha * x / total)
    return share * first + (1 - share) * second


@ON_EVERY
@pytest.mark.parametrize("start", [0.3, 0.6])
def test_there_and_back_is_nearly_the_image(schedule, start):
    def returned(steps):
        x = invert(two_peaks, CLEAN, None, schedule, steps, start=start)
        *_, last = ddim(two_peaks, x, None, schedule, steps, start=start)
        return (last.x - CLEAN).abs().max().item()

    assert returned(250) < 0.03
    assert returned(250) < returned(25) / 3


def test_a_level_out_of_range_is_refused():
    with pytest.raises(UsageError, match=r"noise level of 1\.5"):
        invert(ideal, CLEAN, None, BUILT["linear"], 5, start=1.5)
