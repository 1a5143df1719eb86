"""Known pixels of every kind of picture."""

import numpy as np
import pytest
import torch

from denoisight import render
from denoisight.annotations import IGNORE, Boxes, Depth, Labels, Mask, Normals
from denoisight.errors import DataError
from denoisight.render import INVALID, colour, contact_sheet, error_legend, error_map, label_colours, legend

NEAR, FAR = (158, 1, 66), (94, 79, 162)
"""The ends of the Spectral colour map."""


def depth(rows, gauge="metres"):
    return Depth.of(torch.tensor(rows, dtype=torch.float32), gauge)


def labels(rows):
    return Labels(torch.tensor(rows), ("road", "sky", "car"))


def boxes(*corners, size=(20, 30), ids=None):
    xyxy = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
    count = len(xyxy)
    index = torch.zeros(count, dtype=torch.int64) if ids is None else torch.tensor(ids)
    return Boxes(xyxy, index, torch.ones(count), torch.ones(count, dtype=torch.bool), size, ("road", "sky"))


def pixel(picture, row, column):
    return tuple(picture[row, column].tolist())


def test_an_image_is_rounded_to_eight_bits():
    picture = render.to_rgb(torch.tensor([0.0, 0.5, 1.2])[:, None, None].expand(3, 2, 5))
    assert picture.dtype == np.uint8 and picture.shape == (2, 5, 3)
    assert pixel(picture, 1, 4) == (0, 128, 255)


def test_depth_is_red_near_blue_far_and_grey_where_unknown():
    picture = colour(depth([[1.0, 8.0, 0.0]]), limits=(1.0, 8.0))
    assert [pixel(picture, 0, i) for i in range(3)] == [NEAR, FAR, INVALID]


def test_disparity_is_red_where_it_is_large():
    picture = colour(depth([[0.1, 1.0]], "affine-disparity"), limits=(0.1, 1.0))
    assert [pixel(picture, 0, i) for i in range(2)] == [FAR, NEAR]


def test_metres_are_drawn_in_equal_ratios_and_affine_depth_in_equal_steps():
    middle = pixel(colour(depth([[0.5]], "affine"), limits=(0.0, 1.0)), 0, 0)
    assert pixel(colour(depth([[4.0]]), limits=(1.0, 16.0)), 0, 0) == middle
    assert pixel(colour(depth([[4.0]], "affine"), limits=(1.0, 16.0)), 0, 0) != middle


def test_limits_carry_one_scale_to_another_depth():
    truth, prediction = depth([[1.0, 2.0, 4.0]]), depth([[2.0, 2.0, 2.0]])
    limits = render.depth_limits(truth)
    shared = colour(prediction, limits)
    assert pixel(shared, 0, 0) == pixel(colour(truth, limits), 0, 1)
    assert pixel(shared, 0, 0) != pixel(colour(prediction), 0, 0)


def test_a_wild_pixel_does_not_move_the_scale():
    values = torch.linspace(1, 2, 1000).reshape(20, 50)
    values[3, 4] = 1e4
    low, high = render.depth_limits(Depth.of(values))
    assert 1.0 < low < 1.1 and 1.9 < high < 2.0


def test_depth_without_a_valid_pixel_is_all_grey():
    assert (colour(depth([[0.0, 0.0]])) == INVALID).all()


def test_normals_are_their_components_and_black_where_unknown():
    vectors = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]).T[:, None, :]
    picture = colour(Normals.of(vectors))
    assert [pixel(picture, 0, i) for i in range(3)] == [(255, 128, 128), (128, 128, 0), (0, 0, 0)]


def test_labels_have_their_own_colours_and_ignored_pixels_grey():
    picture = colour(labels([[0, 2], [IGNORE, 2]]))
    assert pixel(picture, 0, 0) == tuple(label_colours(3)[0])
    assert pixel(picture, 0, 1) == pixel(picture, 1, 1) == tuple(label_colours(3)[2])
    assert pixel(picture, 1, 0) == INVALID


def test_label_colours_are_distinct_and_do_not_depend_on_the_count():
    many = label_colours(IGNORE).astype(int)
    assert np.array_equal(many[:7], label_colours(7))
    first = many[:12]
    gaps = np.abs(first[:, None] - first[None]).sum(-1) + 1000 * np.eye(12, dtype=int)
    assert gaps.min() > 60
    assert len(np.unique(many, axis=0)) == IGNORE
    assert np.abs(many - INVALID).sum(-1).min() > 40


def test_masks_are_grey_by_their_probability():
    mask = Mask(torch.tensor([[0.0, 0.5, 1.0, 1.0]]), torch.tensor([[True, True, True, False]]))
    picture = colour(mask)
    assert [pixel(picture, 0, i) for i in range(4)] == [(0,) * 3, (128,) * 3, (255,) * 3, INVALID]


def test_a_box_is_outlined_inside_its_half_open_corners():
    picture = colour(boxes([4, 5, 12, 15]))
    painted = (picture == label_colours(1)[0]).all(-1)
    rows, columns = np.nonzero(painted)
    assert picture.shape == (20, 30, 3)
    assert (rows.min(), columns.min(), rows.max(), columns.max()) == (5, 4, 14, 11)
    assert not painted[6:14, 5:11].any()


def test_padding_boxes_are_not_drawn():
    padded = boxes([4, 5, 12, 15])
    hidden = Boxes(padded.xyxy, padded.ids, padded.scores, torch.tensor([False]), padded.image_size)
    assert not colour(hidden).any()


def test_names_of_boxes_are_written_where_there_is_room():
    plain = colour(boxes([40, 50, 120, 150], size=(200, 200), ids=[5]))
    assert np.count_nonzero(colour(boxes([40, 50, 120, 150], size=(200, 200)))) > np.count_nonzero(plain)


def test_an_overlay_leaves_invalid_and_outside_pixels_alone():
    image = torch.full((3, 1, 3), 0.4)
    over = render.overlay(image, labels([[1, IGNORE, IGNORE]]), opacity=0.5)
    assert pixel(over, 0, 1) == (102, 102, 102)
    blend = (0.5 * 102 + 0.5 * label_colours(2)[1]).round()
    assert pixel(over, 0, 0) == tuple(blend.astype(int))
    masked = render.overlay(image, Mask.of(torch.tensor([[True, False, False]])))
    assert pixel(masked, 0, 2) == (102, 102, 102) != pixel(masked, 0, 0)
    boxed = render.overlay(torch.full((3, 20, 30), 0.4), boxes([4, 5, 12, 15]))
    assert pixel(boxed, 0, 0) == (102, 102, 102) and pixel(boxed, 5, 4) == tuple(label_colours(1)[0])


def test_depth_errors_are_relative_and_saturate():
    truth = depth([[2.0, 2.0, 2.0, 0.0]])
    prediction = depth([[2.0, 2.25, 4.0, 1.0]])
    picture = error_map(prediction, truth)
    half = pixel(error_map(depth([[1.125]]), depth([[1.0]])), 0, 0)
    assert pixel(picture, 0, 0) == error_legend(truth)[0][1] and sum(pixel(picture, 0, 0)) < 10
    assert pixel(picture, 0, 1) == half and sum(half) > 100
    assert pixel(picture, 0, 2) == error_legend(truth)[1][1] and sum(pixel(picture, 0, 2)) > 600
    assert pixel(picture, 0, 3) == INVALID


def test_normal_errors_are_angles():
    up, right = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])
    truth = Normals.of(torch.stack([up, up, 0 * up], dim=1)[:, None])
    prediction = Normals.of(torch.stack([up, right, up], dim=1)[:, None])
    picture = error_map(prediction, truth)
    exact, worst = (colour for _, colour in error_legend(truth))
    assert [pixel(picture, 0, i) for i in range(3)] == [exact, worst, INVALID]
    assert "60°" in error_legend(truth)[1][0]


def test_label_errors_are_right_or_wrong():
    picture = error_map(labels([[0, 1, 1]]), labels([[0, 2, IGNORE]]))
    meaning = dict(error_legend(labels([[0]])))
    assert [pixel(picture, 0, i) for i in range(3)] == [meaning["right"], meaning["wrong"], INVALID]


def test_mask_errors_tell_extra_from_missed():
    truth, prediction = torch.tensor([[1, 1, 0, 0]]), torch.tensor([[1, 0, 1, 0]])
    picture = error_map(Mask.of(prediction), Mask.of(truth))
    meaning = dict(error_legend(Mask.of(truth)))
    expected = [meaning["hit"], meaning["missed"], meaning["extra"], (0, 0, 0)]
    assert [pixel(picture, 0, i) for i in range(4)] == expected


def test_box_errors_show_truth_and_prediction():
    picture = error_map(boxes([2, 2, 6, 6]), boxes([10, 10, 16, 16]))
    meaning = dict(error_legend(boxes([0, 0, 1, 1])))
    assert pixel(picture, 10, 10) == meaning["truth"] and pixel(picture, 2, 2) == meaning["prediction"]


@pytest.mark.parametrize(
    ("prediction", "truth", "said"),
    [
        (depth([[1.0]], "affine"), depth([[1.0]]), "align"),
        (depth([[1.0]]), labels([[1]]), "Depth with a Labels"),
        (depth([[1.0, 1.0]]), depth([[1.0]]), "2x1 and 1x1"),
    ],
)
def test_what_cannot_be_compared_is_refused(prediction, truth, said):
    with pytest.raises(DataError, match=said):
        error_map(prediction, truth)


def test_batches_are_refused():
    with pytest.raises(DataError, match="batch"):
        colour(Depth.of(torch.ones(2, 4, 4)))
    with pytest.raises(DataError, match="Sizes differ"):
        render.overlay(torch.zeros(3, 4, 4), depth([[1.0]]))


def test_legends_name_the_colours_that_are_drawn():
    truth = labels([[0, 2], [IGNORE, 2]])
    assert [name for name, _ in legend(truth)] == ["road", "car"]
    assert legend(truth)[1][1] == pixel(colour(truth), 0, 1)
    assert dict(legend(depth([[1.0]])))["near"] == NEAR
    assert dict(legend(boxes([0, 0, 5, 5], ids=[1]))) == {"sky": tuple(label_colours(2)[1])}


def test_a_contact_sheet_keeps_pixels_hard_and_order():
    red = np.zeros((2, 4, 3), np.uint8)
    red[0, 0] = (255, 0, 0)
    blue = np.full((300, 100, 3), (0, 0, 255), np.uint8)
    sheet = contact_sheet([[red, blue], [blue]], ["one", "two"], ["first", "second"], cell_px=100)
    assert sheet.shape[1] == 8 + 2 * 108
    reds = (sheet == (255, 0, 0)).all(-1)
    assert reds.sum() == 25 * 25
    blues = np.nonzero((sheet == (0, 0, 255)).all(-1))[1]
    assert blues.min() == 8 and 116 + 30 <= blues.max() < 116 + 40
    bare = contact_sheet([[red, blue], [blue]], cell_px=100)
    assert sheet.shape[0] == bare.shape[0] + 3 * 20


def test_long_titles_are_cut_to_their_column():
    white = np.full((10, 10, 3), 255, np.uint8)
    sheet = contact_sheet([[white, white]], ["much too long a title for this", ""], cell_px=60)
    assert (sheet[:20, :68] < 128).any() and (sheet[:, 70:] == 255).all()
