"""Annotations: what they keep when they are flipped, cropped, resized and batched."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from denoisight.annotations import (
    IGNORE,
    Batch,
    Boxes,
    Depth,
    Labels,
    Mask,
    Normals,
    Query,
    Sample,
    base_of,
    mirror_words,
    resize_image,
    stack,
)
from denoisight.errors import DataError

CLASSES = ("floor", "wall", "box")


def draw(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def depth(seed=0, height=6, width=9, gauge="metres"):
    valid = draw(seed + 1, height, width) > 0.3
    return Depth(torch.where(valid, draw(seed, height, width) + 0.5, 0.0), valid, gauge)


def normals(seed=0, height=6, width=9):
    vectors = draw(seed, 3, height, width) * 2 - 1
    return Normals.of(torch.where(draw(seed + 1, height, width) > 0.3, vectors, 0.0))


def labels(seed=0, height=6, width=9):
    ids = (draw(seed, height, width) * 3).long()
    return Labels(torch.where(draw(seed + 1, height, width) > 0.3, ids, IGNORE), CLASSES)


def mask(seed=0, height=6, width=9):
    return Mask(draw(seed, height, width).round(), draw(seed + 1, height, width) > 0.3)


def boxes(seed=0, height=6, width=9, num=4):
    """Whole pixels, none empty."""
    corners = draw(seed, num, 4)
    x0, y0 = (corners[:, 0] * (width - 1)).floor(), (corners[:, 1] * (height - 1)).floor()
    x1 = x0 + 1 + (corners[:, 2] * (width - x0 - 1)).floor()
    y1 = y0 + 1 + (corners[:, 3] * (height - y0 - 1)).floor()
    ids = torch.arange(num) % 3
    valid = torch.ones(num, dtype=torch.bool)
    return Boxes(torch.stack([x0, y0, x1, y1], -1), ids, draw(seed + 1, num), valid, (height, width), CLASSES)


KINDS = {"depth": depth, "normals": normals, "labels": labels, "mask": mask, "boxes": boxes}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
dense_kind = pytest.mark.parametrize("make", [depth, normals, labels, mask])


def assert_same(a, b, atol=1e-6):
    assert type(a) is type(b)
    assert a.size == b.size
    for name, tensor in a.tensors().items():
        torch.testing.assert_close(tensor, b.tensors()[name], rtol=0, atol=atol, msg=name)
    for name in ("gauge", "classes"):
        assert getattr(a, name, None) == getattr(b, name, None)


def only_valid(some):
    return replace(some, **{name: tensor[some.valid] for name, tensor in some.tensors().items()})


@st.composite
def windows(pick, height=6, width=9):
    top, left = pick(st.integers(0, height - 1)), pick(st.integers(0, width - 1))
    return top, left, pick(st.integers(1, height - top)), pick(st.integers(1, width - left))


@every_kind
def test_flipping_twice_changes_nothing_and_once_does(make):
    assert_same(make().flip().flip(), make())
    with pytest.raises(AssertionError):
        assert_same(make().flip(), make())


@every_kind
@given(window=windows())
def test_a_flipped_crop_is_the_mirrored_crop_of_the_flipped(make, window):
    top, left, height, width = window
    mirrored = (top, 9 - left - width, height, width)
    flipped, cropped = make().flip().crop(*mirrored), make().crop(*window).flip()
    if make is boxes:  # where a box that is gone lies does not matter
        flipped, cropped = only_valid(flipped), only_valid(cropped)
    assert_same(flipped, cropped)
    assert cropped.size == (height, width)


@every_kind
@pytest.mark.parametrize(
    "window", [(-1, 0, 3, 3), (0, -1, 3, 3), (4, 0, 3, 3), (0, 7, 3, 3), (0, 0, 0, 3), (0, 0, 3, 0)]
)
def test_a_window_must_lie_inside(make, window):
    with pytest.raises(DataError, match="9x6"):
        make().crop(*window)


@every_kind
def test_the_own_size_and_the_whole_window_are_no_change(make):
    assert_same(make().resize(6, 9), make())
    assert_same(make().crop(0, 0, 6, 9), make(), atol=0)


@every_kind
@pytest.mark.parametrize(
    "change",
    [lambda a: a.flip(), lambda a: a.crop(1, 2, 4, 5), lambda a: a.resize(11, 4), lambda a: a.to("cpu")],
    ids=["flip", "crop", "resize", "to"],
)
def test_a_batch_changes_as_its_items_do(make, change):
    items = [make(seed) for seed in (0, 10, 20)]
    batch = stack(items)
    assert batch.size == (6, 9)
    for i, item in enumerate(items):
        assert_same(batch[i], item, atol=0)
        assert_same(change(batch)[i], change(item))
    assert_same(batch[1:], stack(items[1:]), atol=0)


# ---- validity and resizing ----


@pytest.mark.parametrize("size", [(3, 4), (12, 18), (7, 5), (1, 1), (2, 40)])
@pytest.mark.parametrize("garbage", [1e9, float("nan"), float("inf")])
@pytest.mark.parametrize("make", [depth, normals])
def test_invalid_pixels_lend_nothing_to_their_neighbours(make, garbage, size):
    truth = make()
    name = "values" if make is depth else "vectors"
    spoilt = torch.where(truth.valid, getattr(truth, name), garbage)
    assert_same(replace(truth, **{name: spoilt}).resize(*size), truth.resize(*size), atol=0)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_a_wall_at_three_metres_stays_there_whatever_its_holes(height, width, seed):
    valid = draw(seed, 6, 9) > 0.4
    wall = Depth(torch.where(valid, 3.0, 0.0), valid, "scale").resize(height, width)
    assert wall.size == (height, width) and wall.gauge == "scale"
    torch.testing.assert_close(wall.values, torch.where(wall.valid, 3.0, 0.0))


def test_resizing_interpolates_depth_and_refuses_where_most_is_unknown():
    ramp = Depth.of(torch.arange(1.0, 9.0).expand(2, 8))
    torch.testing.assert_close(ramp.resize(2, 16).values[0, 4:-4].diff(), torch.full((7,), 0.5))
    half = Depth(torch.ones(4, 4), torch.tensor([[True, False, False, False]] * 4))
    assert not half.resize(1, 1).valid.any()
    assert Depth(torch.ones(4, 4), torch.ones(4, 4) > 0).resize(1, 1).valid.all()


@pytest.mark.parametrize("gauge", ["metres", "scale", "affine", "affine-disparity", "affine-log"])
def test_depth_keeps_its_gauge(gauge):
    truth = depth(gauge=gauge)
    for changed in (truth.flip(), truth.crop(0, 0, 2, 2), truth.resize(3, 3), truth.to("cpu"), truth[0:2]):
        assert changed.gauge == gauge


@pytest.mark.parametrize("known", ["metres", "scale"])
@pytest.mark.parametrize(("gauge", "space"), [("affine", lambda d: d), ("affine-disparity", lambda d: 1 / d),
                                              ("affine-log", torch.log)])  # fmt: skip
def test_depth_told_up_to_less_is_a_line_in_that_space(known, gauge, space):
    """What an observer of the weaker gauge may do to it, fits the depth exactly."""
    truth = depth(gauge=known)
    told = truth.up_to(gauge)
    assert told.gauge == gauge and torch.equal(told.valid, truth.valid)
    given, wanted = told.values[told.valid], space(truth.values[truth.valid])
    assert torch.allclose((given - given.mean()) / given.std(), (wanted - wanted.mean()) / wanted.std(), atol=1e-5)
    assert (told.values[~told.valid] == 0).all() and told.up_to(gauge) is told


@pytest.mark.parametrize(("known", "gauge"), [("scale", "metres"), ("affine", "scale"), ("affine", "affine-log")])
def test_depth_is_not_told_better_than_it_is_known(known, gauge):
    with pytest.raises(DataError, match=f"{known}.*{gauge}"):
        depth(gauge=known).up_to(gauge)


def test_depth_of_a_map_takes_what_was_measured():
    truth = Depth.of(torch.tensor([[1.5, 0.0, -2.0], [float("nan"), float("inf"), 7.0]]))
    assert truth.valid.tolist() == [[True, False, False], [False, False, True]]
    assert truth.values.tolist() == [[1.5, 0, 0], [0, 0, 7]]


def test_normals_of_vectors_are_unit_or_zero():
    truth = Normals.of(torch.tensor([[0.0, 0.0, float("nan")], [3.0, 0.0, 1.0], [4.0, 0.1, 1.0]])[:, None])
    assert truth.valid.tolist() == [[True, False, False]]
    torch.testing.assert_close(truth.vectors[:, 0, 0], torch.tensor([0.0, 0.6, 0.8]))
    assert not truth.vectors[:, 0, 1:].any()


@pytest.mark.parametrize("size", [(3, 4), (12, 18), (5, 31)])
def test_resized_normals_are_unit_where_valid_and_zero_elsewhere(size):
    facing = normals().vectors.abs()  # all to one side, so that no two cancel
    resized = Normals.of(facing).resize(*size)
    torch.testing.assert_close(resized.vectors.norm(dim=0), resized.valid.float(), rtol=0, atol=1e-5)


def test_normals_that_cancel_have_no_direction():
    opposite = Normals.of(torch.tensor([[1.0, -1.0], [0.0, 0.0], [0.0, 0.0]])[:, None])
    resized = opposite.resize(1, 1)
    assert not resized.valid.any()


def test_the_mirror_of_a_surface_has_the_mirrored_normals():
    def normals_of(surface):
        """By central differences of z(x, y); rows run downwards, y upwards."""
        over_x = (surface[1:-1, 2:] - surface[1:-1, :-2]) / 2
        over_y = (surface[:-2, 1:-1] - surface[2:, 1:-1]) / 2
        return Normals.of(torch.stack([-over_x, -over_y, torch.ones_like(over_x)]))

    surface = draw(3, 8, 11)
    assert_same(normals_of(surface).flip(), normals_of(surface.flip(1)))


@given(height=st.integers(1, 25), width=st.integers(1, 25))
def test_labels_resize_to_the_nearest_pixel(height, width):
    truth = labels()
    rows = ((torch.arange(height) + 0.5) * 6 / height).floor().long()
    columns = ((torch.arange(width) + 0.5) * 9 / width).floor().long()
    resized = truth.resize(height, width)
    assert torch.equal(resized.ids, truth.ids[rows][:, columns])
    assert torch.equal(resized.valid, resized.ids != IGNORE)


@given(height=st.integers(1, 25), width=st.integers(1, 25))
def test_masks_resize_by_shares(height, width):
    resized = mask().resize(height, width)
    assert (resized.probability >= 0).all() and (resized.probability <= 1 + 1e-6).all()
    everywhere = Mask.of(torch.ones(6, 9, dtype=torch.bool)).resize(height, width)
    torch.testing.assert_close(everywhere.probability, torch.ones(height, width))


@pytest.mark.parametrize("column", range(12, 20))
def test_a_line_in_a_smaller_picture_is_fainter_and_whole(column):
    """Wherever it lies; to the nearest pixel, three of four would be gone."""
    line = torch.zeros(32, 32, dtype=torch.bool)
    line[:, column] = True
    small = Mask.of(line).resize(8, 8)
    torch.testing.assert_close(small.probability.sum(1), torch.full((8,), 0.25), rtol=0, atol=0.03)
    unseen = replace(Mask.of(line), valid=torch.arange(32).expand(32, 32) != column).resize(8, 8)
    assert unseen.valid.all() and not unseen.probability.any()


@dense_kind
def test_ignored_pixels_stay_ignored(make):
    truth = make()
    for change in (lambda t: t.flip(-1), lambda t: t[..., 1:4, 2:7]):
        assert not torch.equal(change(truth.valid), torch.ones_like(change(truth.valid)))
    assert torch.equal(truth.flip().valid, truth.valid.flip(-1))
    assert torch.equal(truth.crop(1, 2, 3, 5).valid, truth.valid[1:4, 2:7])
    nothing = torch.zeros(6, 9, dtype=torch.bool)
    unknown = Labels(torch.full((6, 9), IGNORE), CLASSES) if make is labels else replace(truth, valid=nothing)
    assert not unknown.resize(3, 4).valid.any() and not unknown.resize(12, 20).valid.any()


def test_masks_cut_at_a_half():
    assert Mask(torch.tensor([[0.49, 0.5, 1.0]]), torch.ones(1, 3) > 0).inside.tolist() == [[False, True, True]]
    assert Mask.of(torch.tensor([[True, False]])).probability.tolist() == [[1.0, 0.0]]


# ---- boxes ----


def painted(some):
    """Which pixels each valid box covers, by the half-open rule."""
    height, width = some.size
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return [
        (columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1)
        for (x0, y0, x1, y1), valid in zip(some.xyxy.tolist(), some.valid.tolist(), strict=True)
        if valid
    ]


@given(st.integers(0, 999), windows())
def test_boxes_move_with_the_pixels_they_cover(seed, window):
    some = boxes(seed)
    top, left, height, width = window
    areas = painted(some)
    for area, flipped, doubled in zip(areas, painted(some.flip()), painted(some.resize(12, 18)), strict=True):
        assert torch.equal(flipped, area.flip(-1))
        assert torch.equal(doubled, area.repeat_interleave(2, 0).repeat_interleave(2, 1))
    inside = [a[top : top + height, left : left + width] for a in areas]
    cut = some.crop(*window)
    assert all(map(torch.equal, painted(cut), [area for area in inside if area.any()]))
    assert int(cut.valid.sum()) == sum(bool(area.any()) for area in inside)
    assert ((cut.xyxy >= 0) & (cut.xyxy <= torch.tensor([width, height, width, height]))).all()


def test_a_box_that_ends_where_the_window_begins_is_outside():
    one = Boxes(torch.tensor([[2.0, 1.0, 5.0, 4.0]]), torch.tensor([1]), torch.ones(1), torch.ones(1) > 0, (6, 9))
    assert not one.crop(0, 5, 6, 4).valid.any()
    assert one.crop(0, 4, 6, 5).xyxy.tolist() == [[0.0, 1.0, 1.0, 4.0]]
    assert one.crop(2, 0, 1, 9).xyxy.tolist() == [[2.0, 0.0, 5.0, 1.0]]


def test_boxes_are_padded_to_the_longest_list():
    batch = stack([boxes(num=4), boxes(num=1), boxes(num=0)])
    assert batch.xyxy.shape == (3, 4, 4)
    assert batch.valid.sum(1).tolist() == [4, 1, 0]
    assert (batch.ids[~batch.valid] == IGNORE).all()
    assert not batch.flip().valid[2].any() and not batch.crop(0, 0, 2, 2).valid[2].any()


# ---- batches ----


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([depth(), depth(gauge="affine")], "gauge='affine'.*gauge='metres'"),
        ([depth(), depth(height=5)], "9x5, 9x6"),
        ([normals(), normals(width=4)], "4x6, 9x6"),
        ([labels(), replace(labels(), classes=("sky",))], "sky"),
        ([boxes(), boxes(height=8)], "image_size"),
        ([depth(), mask()], "Mask"),
        ([mask(), boxes()], "Boxes"),
    ],
    ids=["gauges", "heights", "widths", "classes", "image sizes", "kinds", "kinds again"],
)
def test_what_does_not_go_together_is_not_batched(items, says):
    with pytest.raises(DataError, match=says) as caught:
        stack(items)
    assert caught.value.exit_code == 3
    assert "Cannot batch" in str(caught.value)


def sample(seed=0, key="a", size=(6, 9), **truths):
    made = truths or {"depth": depth(seed, *size), "semantic": labels(seed, *size)}
    return Sample(Query(draw(seed, 3, *size), "the left box", key), made)


def test_a_batch_stacks_images_and_truths():
    batch = Batch.of([sample(0, "a"), sample(9, "b")])
    assert len(batch) == 2 and batch.keys == ("a", "b") and batch.texts == ("the left box",) * 2
    assert torch.equal(batch.images[1], sample(9).image)
    assert_same(batch.truths["depth"][1], sample(9).truths["depth"], atol=0)
    assert batch.to("cpu").truths["semantic"].classes == CLASSES


def test_batches_refuse_mixed_sizes_and_missing_truths():
    with pytest.raises(DataError, match="5x4, 9x6"):
        Batch.of([sample(), sample(size=(4, 5))])
    with pytest.raises(DataError, match="'late' has no truth named semantic"):
        Batch.of([sample(), sample(key="late", depth=depth())])


def test_a_sample_moves_image_truths_and_words_together():
    one = sample()
    flipped, cropped, resized = one.flip(), one.crop(1, 2, 3, 4), one.resize(12, 18)
    assert torch.equal(flipped.image, one.image.flip(-1))
    assert flipped.query.text == "the right box" and cropped.query.text == "the left box"
    assert torch.equal(cropped.image, one.image[:, 1:4, 2:6])
    for changed in (flipped, cropped, resized):
        assert {truth.size for truth in changed.truths.values()} == {changed.size}
        assert changed.key == "a"
    assert_same(flipped.truths["depth"], one.truths["depth"].flip(), atol=0)
    assert_same(resized.truths["semantic"], one.truths["semantic"].resize(12, 18), atol=0)


def test_a_truth_may_answer_to_its_own_words():
    one = replace(sample(mask=mask(0)), phrases={"mask": "the leftmost box"})
    assert one.asked("mask").text == "the leftmost box" and one.asked("depth").text == "the left box"
    assert one.flip().asked("mask").text == "the rightmost box"
    assert one.crop(1, 2, 3, 4).resize(8, 8).asked("mask").text == "the leftmost box"
    batch = Batch.of([one, replace(one, query=replace(one.query, key="b")).flip()])
    assert batch.words("mask") == ("the leftmost box", "the rightmost box")
    assert batch.words("depth") == ("the left box", "the right box") == batch.to("cpu").texts
    assert batch.to("cpu").words("mask") == batch.words("mask")


# ---- words and images ----


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("the box left of the ball", "the box right of the ball"),
        ("left, right and leftmost", "right, left and rightmost"),
        ("what is left-hand", "what is right-hand"),
        ("bright leftovers", "bright leftovers"),
        ("", ""),
    ],
)
def test_left_and_right_change_places_as_whole_words(text, mirrored):
    assert mirror_words(text) == mirrored
    assert mirror_words(mirrored) == text


def test_capital_letters_hide_no_left():
    assert mirror_words("Left of the ball").lower() == "right of the ball"


def test_images_resize_without_leaving_their_range():
    image = draw(0, 3, 6, 9)
    assert resize_image(image, 6, 9) is image
    for size in [(3, 4), (13, 40), (1, 1)]:
        resized = resize_image(image, *size)
        assert resized.shape == (3, *size)
        assert resized.min() >= image.min() - 1e-6 and resized.max() <= image.max() + 1e-6
    torch.testing.assert_close(resize_image(image, 1, 1)[:, 0, 0], image.mean((1, 2)), atol=0.06, rtol=0)
    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * torch.ones(1, 64, 64)
    assert (resize_image(checks, 16, 16) - 0.5).abs().max() < 0.05  # anti-aliased


@pytest.mark.parametrize(
    ("key", "base"),
    [
        ("a", "a"),
        ("clip/a#2", "clip/a"),
        ("a#2#make-it-snow", "a"),
        ("a#the red box", "a"),
        ("car #1", "car #1"),
        ("car #1#2", "car #1"),
        ("#1", "#1"),
    ],
)
def test_a_key_names_the_picture_that_its_own_was_made_from(key, base):
    assert base_of(key) == base
