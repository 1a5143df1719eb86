import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denoisight.diffusion.noise import gaussian


@settings(max_examples=50, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5, unique=True), data=st.data())
def test_noise_belongs_to_the_seed_not_to_the_batch(seeds, data):
    item = data.draw(st.integers(0, len(seeds) - 1))
    batch = gaussian((3, 4, 4), seeds)
    assert batch.shape == (len(seeds), 3, 4, 4)
    assert torch.equal(batch[item], gaussian((3, 4, 4), [seeds[item]])[0])
    assert len({tuple(noise.flatten().tolist()) for noise in batch}) == len(seeds)


def test_noise_is_standard_normal():
    noise = gaussian((100_000,), [3])
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    gaussian((3, 4, 4), [1, 2])
    assert torch.equal(torch.rand(3), expected)
