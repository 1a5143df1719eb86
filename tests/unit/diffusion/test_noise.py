import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denoisight.diffusion.noise import NOISES, gaussian, multi_resolution


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@settings(max_examples=50, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5, unique=True), data=st.data())
def test_noise_belongs_to_the_seed_not_to_the_batch(noise, seeds, data):
    item = data.draw(st.integers(0, len(seeds) - 1))
    batch = noise((3, 4, 4), seeds)
    assert batch.shape == (len(seeds), 3, 4, 4)
    torch.testing.assert_close(batch[item], noise((3, 4, 4), [seeds[item]])[0], rtol=0, atol=1e-6)
    assert len({tuple(values.flatten().tolist()) for values in batch}) == len(seeds)


@pytest.mark.parametrize("size", [(16, 16), (12, 20), (1, 9), (7, 5)])
@pytest.mark.parametrize("discount", [0.5, 0.9])
def test_coarse_noise_is_standard_normal_at_every_place(size, discount):
    drawn = multi_resolution((4000, *size), [3], discount)[0].double()
    assert drawn.mean(0).abs().max() < 5 / 4000**0.5
    assert (drawn.var(0) - 1).abs().max() < 5 * (2 / 4000) ** 0.5


def test_coarse_noise_makes_neighbours_alike_as_its_weights_say():
    """A picture of 2x1 is its fine noise and 0.9 of one value for both: they correlate by 0.81 / 1.81."""
    first, second = multi_resolution((200_000, 2, 1), [0], 0.9)[0, :, :, 0].T
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].item() == pytest.approx(0.81 / 1.81, abs=0.01)


def test_without_coarse_levels_it_is_plain_noise():
    assert torch.equal(multi_resolution((2, 8, 8), [1, 2], 0.0), gaussian((2, 8, 8), [1, 2]))
