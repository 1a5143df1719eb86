"""Latent spaces: patches are exact; an autoencoder is used as its own configuration says."""

import pytest
import torch
from diffusers import AutoencoderKL
from hypothesis import given
from hypothesis import strategies as st

from denoisight.models.backbone import LatentSpace
from denoisight.models.latent import AutoencoderLatents, PixelPatches


@pytest.fixture(scope="module")
def vae():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoencoderKL(
            block_out_channels=(8, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
            scaling_factor=0.3,
        )


def test_both_are_latent_spaces(vae):
    assert isinstance(PixelPatches(), LatentSpace)
    assert isinstance(AutoencoderLatents(vae), LatentSpace)


@given(patch=st.integers(1, 8), height=st.integers(1, 4), width=st.integers(1, 4), seed=st.integers(0, 99))
def test_patches_come_back_bit_for_bit(patch, height, width, seed):
    space = PixelPatches(patch)
    pixels = torch.randn(2, 3, height * patch, width * patch, generator=torch.Generator().manual_seed(seed))
    latents = space.encode(pixels)
    assert latents.shape == (2, space.channels, height, width)
    assert space.stride == patch
    assert torch.equal(space.decode(latents), pixels)
    assert torch.equal(latents[:, :, 0, 0].sort().values, pixels[:, :, :patch, :patch].flatten(1).sort().values)


def test_each_number_of_a_patch_is_judged_where_its_pixel_is():
    space = PixelPatches(4)
    valid = torch.rand(2, 8, 12) > 0.5
    judged = space.valid(valid)
    assert judged.dtype == torch.bool and judged.shape == (2, 48, 2, 3)
    # A picture that is 1 where valid becomes latents that are 1 exactly where they may be judged.
    picture = valid[:, None].expand(-1, 3, -1, -1).float()
    assert torch.equal(space.encode(picture) == 1, judged)


def test_an_autoencoder_gives_its_scaled_mean(vae):
    space = AutoencoderLatents(vae)
    pixels = torch.rand(2, 3, 16, 24) * 2 - 1
    latents = space.encode(pixels)
    assert (space.channels, space.stride) == (4, 4)
    assert latents.shape == (2, 4, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(latents, vae.encode(pixels).latent_dist.mean * 0.3)
        torch.testing.assert_close(space.decode(latents), vae.decode(vae.encode(pixels).latent_dist.mean).sample)
    assert torch.equal(latents, space.encode(pixels))  # the mean: nothing is drawn


def test_an_autoencoder_is_frozen_but_lets_gradients_through(vae):
    space = AutoencoderLatents(vae)
    latents = space.encode(torch.rand(1, 3, 16, 16)).requires_grad_()
    space.decode(latents).sum().backward()
    assert latents.grad.abs().sum() > 0
    assert all(not weights.requires_grad and weights.grad is None for weights in space.parameters())


def test_a_latent_counts_only_where_all_its_pixels_do(vae):
    space = AutoencoderLatents(vae)
    valid = torch.ones(2, 16, 24, dtype=torch.bool)
    valid[0, 5, 11] = False
    judged = space.valid(valid)
    assert judged.dtype == torch.bool and judged.shape == (2, 4, 4, 6)
    assert judged[1].all()
    missing = (~judged[0]).nonzero()[:, 1:].unique(dim=0)
    assert missing.tolist() == [[1, 2]]
