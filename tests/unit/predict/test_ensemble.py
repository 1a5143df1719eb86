"""Ensembles: members of one opinion are merged to it, and where they differ the merged answer is unsure."""

import pytest
import torch
import torch.nn.functional as F
from diffusers import MarigoldDepthPipeline, MarigoldNormalsPipeline

from denoisight.annotations import Boxes, Depth, Labels, Mask, Normals
from denoisight.errors import UsageError
from denoisight.predict.ensemble import METHODS, agree


def generator(seed):
    return torch.Generator().manual_seed(seed)


def smooth(seed, height=24, width=32):
    """A map in [0, 1] that touches both ends."""
    coarse = torch.rand(1, 1, 4, 5, generator=generator(seed))
    fine = F.interpolate(coarse, (height, width), mode="bilinear")[0, 0]
    return (fine - fine.min()) / (fine.max() - fine.min())


def affine_images(seed, count, noise=0.0):
    """`count` scalings and shifts of one map that stay in [0, 1], with noise relative to each one's contrast."""
    draw = generator(seed)
    scale = 0.3 + 0.7 * torch.rand(count, 1, 1, generator=draw)
    shift = (1 - scale) * torch.rand(count, 1, 1, generator=draw)
    image = smooth(seed)
    noisy = image + noise * torch.randn(count, *image.shape, generator=draw)
    return image, (scale * noisy + shift).clamp(0, 1)


def depth(values, gauge="affine"):
    return Depth(values, torch.ones_like(values, dtype=torch.bool), gauge)


@pytest.mark.parametrize("gauge", ["affine", "affine-disparity", "affine-log"])
@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_affine_images_of_one_map_are_merged_to_it(count, seed, gauge):
    image, members = affine_images(seed, count)
    assert (members.amax((1, 2)) - members.amin((1, 2))).std() > 0.01  # they do differ
    merged, uncertainty = agree(depth(members, gauge))
    assert merged.gauge == gauge and merged.valid.all()
    torch.testing.assert_close(merged.values, image, rtol=0, atol=1e-4)
    assert uncertainty.max() < 1e-4


@pytest.mark.parametrize("count", [5, 9])
def test_noise_is_averaged_out_and_told(count):
    image, members = affine_images(3, count, noise=0.02)
    merged, uncertainty = agree(depth(members))
    one, _ = agree(depth(members[:1]))
    assert (merged.values - image).abs().mean() < (one.values - image).abs().mean()
    assert 0.005 < uncertainty.mean() < 0.03  # about the noise's standard deviation


def test_one_member_that_is_wrong_is_outvoted_where_it_differs():
    image, members = affine_images(4, 5)
    members[2] = torch.rand(members[2].shape, generator=generator(9))
    merged, _ = agree(depth(members))
    torch.testing.assert_close(merged.values, image, rtol=0, atol=0.05)


def test_members_may_disagree_in_one_place():
    image, members = affine_images(5, 5)
    patch = torch.zeros_like(image, dtype=torch.bool)
    patch[4:10, 6:14] = True
    members = torch.where(patch, torch.rand(members.shape, generator=generator(1)), members)
    _, uncertainty = agree(depth(members))
    assert uncertainty[patch].mean() > 10 * uncertainty[~patch].mean()


@pytest.mark.parametrize("count", [3, 5, 8])
def test_members_of_nothing_in_common_are_unsure(count):
    _, uncertainty = agree(depth(torch.rand(count, 24, 32, generator=generator(0))))
    assert uncertainty.mean() > 0.1
    assert uncertainty.min() >= 0 and uncertainty.max() <= 1


@pytest.mark.parametrize("gauge", ["affine", "metres"])
def test_two_members_can_disagree(gauge):
    _, uncertainty = agree(depth(torch.rand(2, 24, 32, generator=generator(0)), gauge))
    assert uncertainty.mean() > 0.05


@pytest.mark.parametrize(
    "values", [torch.full((3, 4, 4), 0.4), torch.tensor([0.1, 0.5, 0.9])[:, None, None].expand(3, 4, 4)]
)
def test_flat_members_do_not_divide_by_zero(values):
    merged, uncertainty = agree(depth(values))
    assert torch.isfinite(merged.values).all() and torch.isfinite(uncertainty).all()


def test_metric_depth_is_not_rescaled():
    values = torch.tensor([2.0, 4.0, 5.0])[:, None, None] * torch.ones(3, 2, 2)
    merged, uncertainty = agree(depth(values, "metres"))
    assert merged.gauge == "metres" and (merged.values == 4).all()
    torch.testing.assert_close(uncertainty, torch.full((2, 2), 1.4826 * 1 / 4))


def test_normals_meet_in_the_middle():
    left, right = torch.tensor([-1.0, 0, 1]), torch.tensor([1.0, 0, 1])
    members = Normals.of(torch.stack([left, right, left])[..., None, None].expand(3, 3, 2, 2))
    merged, uncertainty = agree(members[:2])
    torch.testing.assert_close(merged.vectors, torch.tensor([0.0, 0, 1])[:, None, None].expand(3, 2, 2))
    torch.testing.assert_close(uncertainty, torch.full((2, 2), 1 - 0.5**0.5))
    alike, sure = agree(members[::2])
    torch.testing.assert_close(alike.vectors, members.vectors[0])
    assert sure.max() < 1e-6


def test_labels_vote():
    ids = torch.tensor([[[0, 2]], [[1, 2]], [[1, 2]], [[1, 0]]])
    merged, uncertainty = agree(Labels(ids, ("a", "b", "c")))
    assert merged.ids.tolist() == [[1, 2]] and merged.classes == ("a", "b", "c")
    assert uncertainty.tolist() == [[0.25, 0.25]]


def test_of_as_many_votes_those_of_the_first_count():
    """Whatever the numbers of the classes are."""
    ids = torch.tensor([[[2, 0]], [[0, 2]], [[1, 1]], [[1, 2]]])
    merged, uncertainty = agree(Labels(ids[:2], ("a", "b", "c")))
    assert merged.ids.tolist() == [[2, 0]] and uncertainty.tolist() == [[0.5, 0.5]]
    merged, uncertainty = agree(Labels(ids, ("a", "b", "c")))
    assert merged.ids.tolist() == [[1, 2]] and uncertainty.tolist() == [[0.5, 0.5]]


def test_masks_are_averaged():
    members = Mask(torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]]), torch.ones(2, 1, 2, dtype=torch.bool))
    merged, uncertainty = agree(members)
    assert merged.probability.tolist() == [[0.5, 1.0]]
    assert uncertainty.tolist() == [[0.5, 0.0]]


def test_boxes_cannot_be_merged():
    none = Boxes(torch.zeros(2, 0, 4), torch.zeros(2, 0).long(), torch.zeros(2, 0), torch.zeros(2, 0) > 0, (4, 4))
    with pytest.raises(UsageError, match="Boxes.*--ensemble 1"):
        agree(none)


def vectors(seed, count):
    return F.normalize(
        torch.randn(count, 3, 6, 8, generator=generator(seed)) + torch.tensor([0.0, 0, 2])[:, None, None], dim=1
    )


@pytest.mark.parametrize(("gauge", "shift"), [("affine", True), ("affine-disparity", True), ("scale", False)])
@pytest.mark.parametrize("count", [2, 5])
def test_marigold_merges_depth_as_the_stock_pipeline(count, gauge, shift):
    members = affine_images(2, count, noise=0.05)[1]
    merged, uncertainty = agree(depth(members, gauge), "marigold")
    theirs, spread = MarigoldDepthPipeline.ensemble_depth(
        members[:, None], scale_invariant=True, shift_invariant=shift, output_uncertainty=True
    )
    assert merged.gauge == gauge and torch.equal(merged.values, theirs[0, 0])
    assert torch.equal(uncertainty, spread[0, 0].clamp(0, 1))
    assert (agree(depth(members, gauge)).annotation.values - merged.values).abs().max() > 1e-3  # another method


@pytest.mark.parametrize("count", [2, 5])
def test_marigold_merges_normals_as_the_stock_pipeline(count):
    members = Normals.of(vectors(0, count))
    merged, uncertainty = agree(members, "marigold")
    theirs, spread = MarigoldNormalsPipeline.ensemble_normals(
        members.vectors, output_uncertainty=True, reduction="closest"
    )
    assert torch.equal(merged.vectors, theirs[0]) and torch.equal(uncertainty, spread[0, 0])
    assert (merged.vectors == members.vectors).all(1).any(0).all()  # at each pixel one of the members


def test_marigold_and_the_closed_form_agree_where_members_do():
    image, members = affine_images(1, 4)
    for method in METHODS:
        torch.testing.assert_close(agree(depth(members), method).annotation.values, image, rtol=0, atol=2e-2)


@pytest.mark.parametrize(
    "members",
    [depth(torch.rand(2, 4, 4), "metres"), Labels(torch.zeros(2, 4, 4).long(), ("a",))],
    ids=["metres", "labels"],
)
def test_marigold_refuses_what_it_cannot_merge(members):
    with pytest.raises(UsageError, match="closed-form"):
        agree(members, "marigold")


def test_an_unknown_method_is_refused():
    with pytest.raises(UsageError, match="closed-form, marigold"):
        agree(depth(torch.rand(2, 4, 4)), "bfgs")
