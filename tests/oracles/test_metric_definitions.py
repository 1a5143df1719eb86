"""The metrics against the published definitions, written out with numpy one image at a time."""

import numpy as np
import pytest
import torch

from denoisight.annotations import IGNORE, Depth, Labels, Normals
from denoisight.metrics.depth import depth_counts, depth_scores
from denoisight.metrics.labels import labels_counts, labels_scores
from denoisight.metrics.normals import BIN_DEG, THRESHOLDS_DEG, normals_counts, normals_scores

RANGE_M = (0.5, 8.0)


@pytest.fixture
def depths():
    """Truths with holes and values out of range, and predictions that are noisy affine maps of them."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 9.0, (3, 12, 17)).astype(np.float32)
    valid = rng.random(truth.shape) > 0.1
    predicted = (0.08 * truth + 0.1 + 0.15 * rng.standard_normal(truth.shape)).astype(np.float32)
    return predicted, truth, valid


def marigold(predicted, truth, valid, disparity=False):
    """One image: lstsq on [prediction, 1], clip to the range, clip to 1e-6, then the metrics."""
    near, far = RANGE_M
    mask = valid & (truth > near) & (truth < far)
    p, g = predicted.astype(np.float64), truth.astype(np.float64)
    fitted = mask & (p > 0) if disparity else mask
    wanted = 1 / g[fitted] if disparity else g[fitted]
    design = np.stack([p[fitted], np.ones(fitted.sum())], axis=1)
    scale, shift = np.linalg.lstsq(design, wanted, rcond=None)[0]
    aligned = scale * p + shift
    if disparity:
        aligned = 1 / np.clip(aligned, 1e-3, None)
    return scores(np.clip(np.clip(aligned, near, far), 1e-6, None)[mask], g[mask])


def scores(p, g):
    difference = np.log(p) - np.log(g)
    ratio = np.maximum(p / g, g / p)
    return {
        "abs_rel": np.mean(np.abs(p - g) / g),
        "rmse": np.sqrt(np.mean((p - g) ** 2)),
        "log10": np.mean(np.abs(np.log10(p) - np.log10(g))),
        "silog": 100 * np.sqrt(np.mean(difference**2) - np.mean(difference) ** 2),
        "delta1": np.mean(ratio < 1.25),
        "delta2": np.mean(ratio < 1.25**2),
        "delta3": np.mean(ratio < 1.25**3),
    }


@pytest.mark.parametrize("alignment", ["depth", "disparity"])
def test_aligned_depth_is_marigolds(depths, alignment):
    predicted, truth, valid = depths
    gauge = {"depth": "affine", "disparity": "affine-disparity"}[alignment]
    if alignment == "disparity":
        predicted = 0.6 / truth - 0.1 + 0.05 * (predicted - 0.5)
        assert (predicted < 0).any(), "some predictions must be left out of the fit, or the quirk goes untested"
    everywhere = torch.ones(truth.shape, dtype=torch.bool)
    counts = depth_counts(
        Depth(torch.from_numpy(predicted), everywhere, gauge),
        Depth(torch.from_numpy(truth), torch.from_numpy(valid)),
        alignment=alignment,
        range_m=RANGE_M,
    )
    ours = depth_scores(counts)
    for image in range(len(truth)):
        theirs = marigold(predicted[image], truth[image], valid[image], alignment == "disparity")
        assert {name: value[image].item() for name, value in ours.items()} == pytest.approx(theirs, rel=1e-6)


def test_pooled_depth_scores_all_pixels_at_once(depths):
    _, truth, valid = depths
    predicted = truth * np.linspace(0.7, 1.4, 17, dtype=np.float32)
    valid[0, 3:] = False
    counts = depth_counts(
        Depth.of(torch.from_numpy(predicted)),
        Depth(torch.from_numpy(truth), torch.from_numpy(valid)),
        alignment="none",
        range_m=RANGE_M,
    )
    mask = valid & (truth > RANGE_M[0]) & (truth < RANGE_M[1])
    theirs = scores(np.clip(predicted.astype(np.float64), *RANGE_M)[mask], truth.astype(np.float64)[mask])
    ours = depth_scores({name: value.sum() for name, value in counts.items()})
    assert {name: value.item() for name, value in ours.items()} == pytest.approx(theirs, rel=1e-6)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_normals_are_dsines_pooled_and_marigolds_per_image():
    rng = np.random.default_rng(1)
    spread = np.array([0.1, 0.3, 0.6, 2.0])[:, None, None, None]
    truth = unit(rng.standard_normal((4, 3, 40, 30)))
    predicted = unit(truth + spread * rng.standard_normal(truth.shape))
    valid = rng.random((4, 40, 30)) > 0.2
    degrees = np.degrees(np.arccos(np.clip((truth * predicted).sum(1), -1, 1)))

    def theirs(angles):
        return {
            "mean": angles.mean(),
            "median": np.median(angles),
            "rmse": np.sqrt((angles**2).mean()),
            **{f"within_{t:g}": 100 * (angles < t).mean() for t in THRESHOLDS_DEG},
        }

    everywhere = torch.ones(valid.shape, dtype=torch.bool)
    counts = normals_counts(
        Normals(torch.from_numpy(predicted), everywhere),
        Normals(torch.from_numpy(truth), torch.from_numpy(valid)),
    )
    pooled = normals_scores({name: value.sum(0) for name, value in counts.items()})
    per_image = normals_scores(counts)
    cases = [(pooled, theirs(degrees[valid]))]
    cases += [({n: v[i] for n, v in per_image.items()}, theirs(degrees[i][valid[i]])) for i in range(4)]
    for ours, expected in cases:
        assert ours.pop("median").item() == pytest.approx(expected.pop("median"), abs=BIN_DEG)
        assert {name: value.item() for name, value in ours.items()} == pytest.approx(expected, rel=1e-6)


def test_labels_are_the_textbook_confusion_matrix():
    rng = np.random.default_rng(2)
    classes = ("a", "b", "c", "never")
    truth = rng.integers(0, 3, (2, 9, 8))
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 3, truth.shape))
    truth[rng.random(truth.shape) < 0.1] = IGNORE
    counts = labels_counts(Labels(torch.from_numpy(predicted), classes), Labels(torch.from_numpy(truth), classes))
    confusion = np.zeros((2, 4, 5))
    for image, t, p in zip(np.indices(truth.shape)[0].flat, truth.flat, predicted.flat, strict=True):
        if t != IGNORE:
            confusion[image, t, p] += 1
    assert np.array_equal(counts["confusion"].numpy(), confusion)

    ours = labels_scores({name: value.sum(0) for name, value in counts.items()}, classes)
    both = truth != IGNORE
    iou = [((truth == c) & (predicted == c)).sum() / (((truth == c) | (predicted == c)) & both).sum() for c in range(3)]
    assert ours["miou"].item() == pytest.approx(np.mean(iou))
    assert ours["pixel_accuracy"].item() == pytest.approx((truth == predicted)[both].mean())
    assert [ours[f"iou/{name}"].item() for name in "abc"] == pytest.approx(iou)
    assert ours["iou/never"].isnan()
