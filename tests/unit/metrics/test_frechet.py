"""The Fréchet distance against closed forms, scipy's matrix root and torchmetrics."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn

from denoisight.errors import UsageError
from denoisight.metrics.images import fid


def features(seed, count, width=6, scale=1.0, mean=0.0):
    return mean + scale * torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whitened(seed, count, width=6):
    """Exactly mean zero and covariance one."""
    x = features(seed, count, width)
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (count - 1))).T


def by_definition(first, second):
    a, b = first.double().numpy(), second.double().numpy()
    root = sqrtm(np.cov(a.T) @ np.cov(b.T))
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root.real)


def test_two_normal_distributions():
    """Of N(m, diag(s^2)): the squared distance of means and of standard deviations."""
    shift, scales = torch.tensor([0.0, 1, 2, 0, 0, 0.5]), torch.tensor([1.0, 2, 0.5, 3, 1, 1])
    first, second = whitened(0, 400), whitened(1, 300) * scales + shift
    assert fid(first, second) == pytest.approx(float((shift**2).sum() + ((scales - 1) ** 2).sum()), rel=1e-9)


def test_equal_sets_are_at_no_distance():
    same = features(0, 50)
    assert fid(same, same) == pytest.approx(0, abs=1e-9)
    assert fid(same, same.flip(0)) == pytest.approx(0, abs=1e-9)


def test_it_grows_with_the_shift():
    real = features(0, 200)
    distances = [fid(features(1, 200, mean=shift), real) for shift in (0.0, 0.3, 1.0, 3.0)]
    assert distances == sorted(distances) and distances[-1] > 10 * distances[0]


@pytest.mark.parametrize("counts", [(80, 60), (9, 60), (5, 4)], ids=["many", "one is few", "fewer than features"])
def test_it_is_the_formula_with_the_matrix_root(counts):
    first, second = features(0, counts[0], 12), features(1, counts[1], 12, scale=2.0, mean=0.3)
    # The root of a singular product is scipy's weak spot, not ours.
    assert fid(first, second) == pytest.approx(by_definition(first, second), rel=1e-5 if min(counts) < 13 else 1e-9)


def test_it_is_what_torchmetrics_finds():
    library = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics is for this oracle alone")

    class Corners(nn.Module):
        num_features = 12

        def forward(self, images):
            return images[:, :, :2, :2].flatten(1).float()

    draw = torch.Generator().manual_seed(3)
    sets = [torch.rand(40, 3, 8, 8, generator=draw) ** power for power in (1.0, 0.6)]
    oracle = library.FrechetInceptionDistance(feature=Corners(), normalize=True, input_img_size=(3, 8, 8))
    oracle.set_dtype(torch.float64)
    for images, real in zip(sets, (True, False), strict=True):
        oracle.update(images, real=real)
    ours = fid(*(Corners()(images) for images in sets))
    assert ours == pytest.approx(float(oracle.compute()), rel=1e-4)
    assert math.isfinite(ours) and ours > 0


def test_what_cannot_be_compared():
    with pytest.raises(UsageError, match="1 and 9 images"):
        fid(features(0, 1), features(1, 9))
    with pytest.raises(UsageError, match="of 6 and of 7 numbers"):
        fid(features(0, 9), features(1, 9, width=7))
