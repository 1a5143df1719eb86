"""Which images are shown, and that truth and prediction can be compared by eye."""

import base64
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from denoisight.annotations import Boxes, Depth, Labels, Mask, Normals
from denoisight.errors import DataError
from denoisight.render import colour
from denoisight.report.panels import LARGEST_PX, choose, data_uri, panel_legends, panel_row, strip_row

SCORES = {f"image {i}": float(i) for i in range(12)}
IMAGE = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))


def metres():
    return Depth.of(1 + torch.rand(8, 12, generator=torch.Generator().manual_seed(1)))


def test_best_and_worst_follow_the_direction_of_the_metric():
    lower, higher = choose(SCORES, "lower", 2), choose(SCORES, "higher", 2)
    assert lower.best == higher.worst == ("image 0", "image 1")
    assert lower.worst == higher.best == ("image 11", "image 10")


def test_no_image_is_shown_twice_and_order_changes_nothing():
    chosen = choose(SCORES, "lower", 4)
    assert sorted(chosen.best + chosen.worst + chosen.random) == sorted(SCORES)
    assert choose(dict(reversed(SCORES.items())), "lower", 4) == chosen


def test_random_images_hang_on_the_seed():
    draws = {choose(SCORES, "lower", 2, seed).random for seed in range(8)}
    assert len(draws) > 1
    assert choose(SCORES, "lower", 2, 3) == choose(SCORES, "lower", 2, 3)


def test_images_without_a_score_are_not_shown():
    chosen = choose({"a": 1.0, "b": float("nan"), "c": 2.0}, "lower")
    assert chosen.best + chosen.worst + chosen.random == ("a", "c")
    assert choose({}, "lower").best == ()


def test_equal_scores_are_ordered_by_key():
    assert choose(dict.fromkeys("cab", 1.0), "lower", 1).best == ("a",)


def test_every_estimate_of_a_strip_is_drawn_as_a_prediction():
    truth = metres()
    stages = {f"step {i}": Depth((truth.values - 1) / i, torch.ones(8, 12, dtype=torch.bool), "affine") for i in (1, 2)}
    strip = dict(strip_row("a", IMAGE, truth, stages).cells)
    assert list(strip) == ["image", "truth", "step 1", "step 2"]
    for name, stage in stages.items():
        alone = dict(panel_row("a", IMAGE, stage, truth).cells)
        assert np.array_equal(strip[name], alone["prediction"]) and np.array_equal(strip["truth"], alone["truth"])


def test_affine_depth_is_fitted_and_drawn_on_the_scale_of_the_truth():
    truth = metres()
    prediction = Depth((truth.values - 1) / 3, torch.ones(8, 12, dtype=torch.bool), "affine")
    cells = dict(panel_row("a", IMAGE, prediction, truth).cells)
    assert list(cells) == ["image", "truth", "prediction", "error"]
    assert np.array_equal(cells["truth"], colour(truth))
    assert np.abs(cells["prediction"].astype(int) - cells["truth"]).max() <= 8
    assert cells["error"].max() < 10


def test_metric_depth_that_is_too_far_looks_farther():
    truth = metres()
    double = Depth.of(2 * truth.values)
    metric = dict(panel_row("a", IMAGE, double, truth).cells)
    aligned = dict(panel_row("a", IMAGE, double, truth, alignment="depth").cells)
    assert metric["error"].min(axis=(0, 1))[0] > 200 and aligned["error"].max() < 10


def test_predictions_of_another_size_are_brought_to_the_truth():
    truth = metres()
    cells = dict(panel_row("a", IMAGE, truth.resize(16, 24), truth).cells)
    assert cells["prediction"].shape == cells["error"].shape == (8, 12, 3)


@pytest.mark.parametrize(
    "truth",
    [
        Normals.of(torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(2))),
        Labels(torch.arange(96).reshape(8, 12) % 3, ("a", "b", "c")),
        Mask.of(torch.arange(96).reshape(8, 12) > 40),
        Boxes(
            torch.tensor([[1.0, 1, 5, 5]]),
            torch.tensor([0]),
            torch.ones(1),
            torch.tensor([True]),
            (8, 12),
            ("a",),
        ),
    ],
)
def test_every_kind_has_four_pictures_of_one_size(truth):
    cells = panel_row("a", IMAGE, truth, truth).cells
    assert [picture.shape for _, picture in cells] == [(8, 12, 3)] * 4
    assert np.array_equal(cells[1][1], cells[2][1])
    legends = panel_legends([truth])
    assert legends["truth, prediction"] and legends["error"]


def test_without_a_truth_there_is_only_the_prediction():
    assert [name for name, _ in panel_row("a", IMAGE, metres()).cells] == ["image", "prediction"]


def test_kinds_that_differ_are_refused():
    with pytest.raises(DataError):
        panel_row("a", IMAGE, metres(), Mask.of(torch.ones(8, 12)))


def test_instances_are_compared_by_overlap_not_by_number():
    ids = torch.zeros(8, 12, dtype=torch.int64)
    ids[:4, :6], ids[5:, 6:] = 1, 2
    renamed = torch.tensor([0, 9, 4])[ids]
    cells = dict(panel_row("a", IMAGE, Labels(renamed, ()), Labels(ids, ())).cells)
    assert np.array_equal(cells["prediction"], cells["truth"])
    assert len(np.unique(cells["error"].reshape(-1, 3), axis=0)) == 1
    assert panel_legends([Labels(ids, ())])["truth, prediction"] == ()


def test_a_meaning_is_said_once():
    truths = [Labels(torch.tensor([[0, 1]]), ("road", "sky")), Labels(torch.tensor([[1]]), ("road", "sky"))]
    assert [name for name, _ in panel_legends(truths)["truth, prediction"]] == ["road", "sky"]


def test_pictures_are_embedded_whole_and_large_ones_shrunk():
    def embedded(picture):
        head, data = data_uri(picture).split(",")
        assert head == "data:image/png;base64"
        return np.asarray(Image.open(BytesIO(base64.b64decode(data))))

    small = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
    assert np.array_equal(embedded(small), small)
    assert embedded(np.zeros((500, 1000, 3), np.uint8)).shape == (LARGEST_PX // 2, LARGEST_PX, 3)
