"""What every codec promises: what is encoded comes back, alone, flipped, batched and through a lossy canvas."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from denoisight.annotations import IGNORE, Annotation, Boxes, Depth, Labels, Mask, Normals, box_iou, resize_image, stack
from denoisight.codecs import Codec
from denoisight.codecs.affine import Affine
from denoisight.codecs.binary import Binary
from denoisight.codecs.boxes import CentreBoxes
from denoisight.codecs.frames import PAINTS, Frames
from denoisight.codecs.paint import Paint
from denoisight.codecs.palette import Palette
from denoisight.codecs.ratio import Ratio
from denoisight.codecs.unit_vector import UnitVector
from denoisight.errors import DataError, UsageError

NEAR_M, FAR_M = 0.5, 20.0


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def patches(values: torch.Tensor, side: int = 16) -> torch.Tensor:
    return values.repeat_interleave(side, -2).repeat_interleave(side, -1)


def holes(seed: int) -> torch.Tensor:
    return patches(draw(seed, 8, 8) > 0.2, 8)


def depth(seed: int = 0) -> Depth:
    """Patches between 1 and 9 m with a slope over them."""
    values = patches(1 + 7 * draw(seed, 4, 4)) + torch.linspace(0, 1, 64)
    return Depth(torch.where(holes(seed), values, 0.0), holes(seed))


def normals(seed: int = 0) -> Normals:
    vectors = patches(noise(seed, 3, 4, 4))
    return Normals.of(torch.where(holes(seed), vectors, 0.0))


def labels(count: int) -> Callable[[int], Labels]:
    def make(seed: int = 0) -> Labels:
        ids = patches((draw(seed, 4, 4) * count).long())
        return Labels(torch.where(holes(seed), ids, IGNORE), classes(count))

    return make


def classes(count: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(count))


def mask(seed: int = 0) -> Mask:
    return Mask(patches(draw(seed, 4, 4).round()), holes(seed))


def affine_error(decoded: Depth, truth: Depth, space: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Distance to the truth in its space between the 2 % and 98 % quantiles, in shares of that range."""
    assert decoded.values.min() >= 0 and decoded.values.max() <= 1
    values = space(truth.values[truth.valid])
    low, high = values.quantile(0.02), values.quantile(0.98)
    return (decoded.values[truth.valid] - ((values - low) / (high - low)).clamp(0, 1)).abs()


def metric_error(decoded: Depth, truth: Depth) -> torch.Tensor:
    assert decoded.gauge == "metres"
    return ((decoded.values - truth.values).abs() / truth.values.clamp(min=NEAR_M))[truth.valid]


def angle_deg(decoded: Normals, truth: Normals) -> torch.Tensor:
    torch.testing.assert_close(decoded.vectors.norm(dim=-3), torch.ones(decoded.size))
    return torch.linalg.vector_norm(decoded.vectors - truth.vectors, dim=-3)[truth.valid].rad2deg()


def misread(decoded: Labels, truth: Labels) -> torch.Tensor:
    assert decoded.classes == truth.classes
    return (decoded.ids != truth.ids)[truth.valid].float()


def outside_mask(decoded: Mask, truth: Mask) -> torch.Tensor:
    return (decoded.probability - truth.probability).abs()[truth.valid]


def ratio_error(decoded: Depth, truth: Depth) -> torch.Tensor:
    """Relative to the truth in units of its median."""
    true = truth.values / truth.values[truth.valid].median()
    return ((decoded.values - true).abs() / true.clamp(min=0.1))[truth.valid]


@dataclass(frozen=True)
class Case:
    """A codec with truths to draw, and how far (per valid pixel) a decoded one lies from its truth.

    `exact` bounds the worst pixel of a round trip, `lossy` the mean over pixels through a lossy canvas.
    """

    codec: Codec
    make: Callable[[int], Any]
    error: Callable[[Any, Any], torch.Tensor]
    kind: type[Annotation]
    gauge: str = ""
    exact: float = 1e-5
    lossy: float = 0.02


def reciprocal(depth: torch.Tensor) -> torch.Tensor:
    return 1 / depth


def case_of_affine(space: Any, through: Callable[[torch.Tensor], torch.Tensor], gauge: str) -> Case:
    return Case(Affine(space), depth, lambda d, t: affine_error(d, t, through), Depth, gauge)


def case_of_metres(space: Any, lossy: float) -> Case:
    return Case(Affine(space, range_m=(NEAR_M, FAR_M)), depth, metric_error, Depth, "metres", 1e-4, lossy)


CASES = {
    "affine": case_of_affine("depth", lambda d: d, "affine"),
    "affine disparity": case_of_affine("disparity", reciprocal, "affine-disparity"),
    "affine log": case_of_affine("log", torch.log, "affine-log"),
    "metres": case_of_metres("depth", 0.05),
    "metres by disparity": case_of_metres("disparity", 0.08),
    "metres by log": case_of_metres("log", 0.04),
    "unit vector": Case(UnitVector(), normals, angle_deg, Normals, exact=0.05, lossy=3.0),
    "ratio": Case(Ratio(), depth, ratio_error, Depth, "scale", 1e-4, 0.1),
    "paint": Case(Paint(), mask, outside_mask, Mask, exact=0.6, lossy=0.3),
    "one thing": Case(Binary(one_thing=True), mask, outside_mask, Mask, lossy=0.05),
    "binary": Case(Binary(), mask, outside_mask, Mask),
    **{f"palette {k}": Case(Palette(classes(k)), labels(k), misread, Labels, lossy=0.002) for k in (2, 11, 19, 27, 40)},
}
every_codec = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
IMAGE = draw(99, 3, 64, 64)


def round_trip(case: Case, truth: Any, image: torch.Tensor = IMAGE) -> Any:
    return case.codec.decode(case.codec.encode(truth, image).pixels, image)


@every_codec
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_encoded_comes_back(case, seed):
    truth = case.make(seed)
    decoded = round_trip(case, truth)
    assert isinstance(decoded, case.kind)
    assert getattr(decoded, "gauge", "") == case.gauge
    assert decoded.valid.all()  # a canvas says something of every pixel
    assert case.error(decoded, truth).max() <= case.exact


@every_codec
def test_a_flipped_truth_comes_back_flipped(case):
    truth = case.make(3)
    flipped = round_trip(case, truth.flip(), IMAGE.flip(-1))
    assert case.error(flipped, truth.flip()).max() <= case.exact
    straight = round_trip(case, truth).flip()
    for name, tensor in straight.tensors().items():
        seen = truth.flip().valid.expand(tensor.shape)
        torch.testing.assert_close(flipped.tensors()[name][seen], tensor[seen], rtol=0, atol=1e-5)


@every_codec
@pytest.mark.parametrize("seed", [4, 5])
def test_a_lossy_canvas_still_tells_the_truth(case, seed):
    """Noise, then half the size and back, as an autoencoder and an imperfect network would do."""
    truth = case.make(seed)
    pixels = case.codec.encode(truth, IMAGE).pixels
    shrunk = resize_image(pixels + 0.1 * noise(seed, 3, 64, 64), 32, 32)
    decoded = case.codec.decode(resize_image(shrunk, 64, 64), IMAGE)
    # Where two patches meet their colours mix, and no codec can know of what.
    at = torch.arange(64) % 8
    middle = (at >= 3) & (at < 5)
    assert case.error(decoded, only(truth, middle[:, None] & middle)).mean() <= case.lossy


def only(annotation: Any, pixels: torch.Tensor) -> Any:
    if isinstance(annotation, Labels):
        return replace(annotation, ids=torch.where(pixels, annotation.ids, IGNORE))
    return replace(annotation, valid=annotation.valid & pixels)


@every_codec
def test_a_canvas_lies_in_its_range_and_is_zero_where_nothing_is_known(case):
    truth = case.make(6)
    pixels, valid = case.codec.encode(truth, IMAGE)
    assert pixels.shape == (3, 64, 64) and pixels.dtype == torch.float32
    assert pixels.min() >= -1 and pixels.max() <= 1
    assert torch.equal(valid, truth.valid)
    assert not pixels[:, ~valid].any()
    assert pixels[:, valid].std() > 0.05


@every_codec
def test_a_batch_is_coded_as_its_items_are(case):
    truths = [case.make(seed) for seed in (7, 8, 9, 10)]
    images = draw(1, 4, 3, 64, 64)
    batch = case.codec.encode(stack(truths), images)
    nested = case.codec.encode(stack([stack(truths[:2]), stack(truths[2:])]), images.unflatten(0, (2, 2)))
    torch.testing.assert_close(nested.pixels.flatten(0, 1), batch.pixels, rtol=0, atol=0)
    decoded = case.codec.decode(batch.pixels, images)
    for i, truth in enumerate(truths):
        alone = case.codec.encode(truth, images[i])
        torch.testing.assert_close(batch.pixels[i], alone.pixels, rtol=0, atol=1e-6)
        assert torch.equal(batch.valid[i], alone.valid)
        for name, tensor in case.codec.decode(alone.pixels, images[i]).tensors().items():
            torch.testing.assert_close(decoded[i].tensors()[name], tensor, rtol=0, atol=1e-5)


@every_codec
def test_nothing_known_is_an_empty_canvas(case):
    known = case.make(11)
    unknown = only(known, torch.zeros(64, 64, dtype=torch.bool))
    pixels, valid = case.codec.encode(unknown, IMAGE)
    assert torch.isfinite(pixels).all() and not valid.any()
    mixed = case.codec.encode(stack([unknown, known]), IMAGE.expand(2, -1, -1, -1))
    assert torch.equal(mixed.pixels[1], case.codec.encode(known, IMAGE).pixels)


@every_codec
@given(scale=st.sampled_from([0.0, 1e-9, 0.5, 3.0, 1e4]), seed=st.integers(0, 99))
def test_every_canvas_decodes_to_something(case, scale, seed):
    decoded = case.codec.decode(scale * noise(seed, 3, 8, 8), IMAGE[:, :8, :8])
    for tensor in decoded.tensors().values():
        assert torch.isfinite(tensor.float()).all()
    if isinstance(decoded, Depth) and decoded.gauge == "metres":
        assert decoded.values.min() >= NEAR_M * 0.999 and decoded.values.max() <= FAR_M * 1.001
    elif isinstance(decoded, Depth) and decoded.gauge == "scale":
        assert decoded.values.min() >= 1 / 8.01 and decoded.values.max() <= 8.01
    elif isinstance(decoded, Depth | Mask):
        values = decoded.values if isinstance(decoded, Depth) else decoded.probability
        assert values.min() >= 0 and values.max() <= 1
    elif isinstance(decoded, Normals):
        torch.testing.assert_close(decoded.vectors.norm(dim=0), torch.ones(8, 8))
    else:
        assert decoded.ids.min() >= 0 and decoded.ids.max() < len(decoded.classes)


@every_codec
def test_half_precision_canvases_are_read(case):
    truth = case.make(12)
    pixels = case.codec.encode(truth, IMAGE).pixels
    decoded = case.codec.decode(pixels.bfloat16(), IMAGE.bfloat16())
    assert case.error(decoded, truth).mean() <= case.lossy


# ---- affine ----


@pytest.mark.parametrize("space", ["depth", "disparity", "log"])
@pytest.mark.parametrize("range_m", [None, (NEAR_M, FAR_M)])
@given(metres=st.floats(0.05, 80))
def test_a_flat_wall_does_not_divide_by_zero(space, range_m, metres):
    codec = Affine(space, range_m=range_m)
    wall = Depth(torch.full((4, 4), metres), torch.ones(4, 4, dtype=torch.bool))
    pixels = codec.encode(wall, IMAGE[:, :4, :4]).pixels
    assert torch.isfinite(pixels).all() and pixels.abs().max() <= 1
    decoded = codec.decode(pixels, IMAGE[:, :4, :4]).values
    if range_m:
        expected = torch.full((4, 4), min(max(metres, NEAR_M), FAR_M))
        torch.testing.assert_close(decoded, expected, rtol=1e-3, atol=0)
    else:
        assert decoded.std() < 1e-6


@pytest.mark.parametrize("space", ["depth", "disparity", "log"])
def test_a_picture_does_not_depend_on_what_depth_is_not_known_up_to(space):
    """A factor changes no picture at all; a shift none of depth itself."""
    codec, truth = Affine(space), depth()
    plain = codec.encode(truth, IMAGE).pixels
    doubled = codec.encode(replace(truth, values=2.5 * truth.values, gauge="scale"), IMAGE).pixels
    torch.testing.assert_close(doubled, plain, rtol=0, atol=1e-5)
    moved = codec.encode(replace(truth, values=truth.values + truth.valid * 4.0), IMAGE).pixels
    assert torch.allclose(moved, plain, atol=1e-5) == (space == "depth")


def test_outliers_do_not_squeeze_the_picture():
    ramp = torch.linspace(0, 1, 4096).reshape(64, 64)
    valid = torch.ones(64, 64, dtype=torch.bool)
    drawn = Affine().encode(Depth(ramp + 1, valid), IMAGE).pixels[0]
    torch.testing.assert_close(drawn, ((ramp - 0.02) / 0.96).clamp(0, 1) * 2 - 1, rtol=0, atol=1e-4)
    spoilt = torch.where(torch.arange(4096).reshape(64, 64) % 100 == 50, 500.0, ramp + 1)
    drawn = Affine().encode(Depth(spoilt, valid), IMAGE).pixels[0]
    torch.testing.assert_close(drawn[spoilt < 3], (ramp * 2 - 1)[spoilt < 3], rtol=0, atol=0.06)


@pytest.mark.parametrize(
    ("codec", "gauge"),
    [
        (Affine("disparity"), "affine"),
        (Affine("log"), "affine"),
        (Affine("depth"), "affine-disparity"),
        (Affine(range_m=(1, 10)), "affine"),
        (Affine(range_m=(1, 10)), "scale"),
    ],
)
def test_depth_known_too_little_is_refused(codec, gauge):
    with pytest.raises(DataError, match=f"'{gauge}'.*metric"):
        codec.encode(replace(depth(), gauge=gauge), IMAGE)


@pytest.mark.parametrize("space", ["depth", "disparity", "log"])
def test_what_was_decoded_can_be_encoded_again(space):
    codec = Affine(space)
    once = codec.decode(codec.encode(depth(), IMAGE).pixels, IMAGE)
    again = codec.decode(codec.encode(once, IMAGE).pixels, IMAGE)
    torch.testing.assert_close(again.values, once.values, rtol=0, atol=0.05)


@pytest.mark.parametrize("gauge", ["affine", "affine-disparity", "affine-log"])
def test_ratios_need_depth_up_to_scale(gauge):
    with pytest.raises(DataError, match=f"'{gauge}'.*--codecs.depth affine"):
        Ratio().encode(replace(depth(), gauge=gauge), IMAGE)


def test_ratios_do_not_depend_on_the_unit_and_cost_near_and_far_alike():
    truth = depth()
    plain = Ratio().encode(truth, IMAGE).pixels
    doubled = Ratio().encode(replace(truth, values=2.5 * truth.values, gauge="scale"), IMAGE).pixels
    torch.testing.assert_close(doubled, plain, rtol=0, atol=1e-5)
    moved = Ratio().decode(plain * 0.9 + 0.05, IMAGE).values / Ratio().decode(plain * 0.9, IMAGE).values
    torch.testing.assert_close(moved, torch.full_like(moved, 8**0.05))


def test_ratios_ignore_what_is_not_valid():
    truth = depth()
    spoilt = replace(truth, values=torch.where(truth.valid, truth.values, 500.0))
    assert torch.equal(Ratio().encode(spoilt, IMAGE).pixels, Ratio().encode(truth, IMAGE).pixels)


# ---- paint ----


def test_paint_leaves_the_image_where_nothing_is_meant():
    truth = mask()
    pixels = Paint().encode(truth, IMAGE).pixels
    assert torch.equal(pixels[:, truth.valid & ~truth.inside], (IMAGE * 2 - 1)[:, truth.valid & ~truth.inside])
    assert pixels[:, truth.valid & truth.inside].T.unique(dim=0).tolist() == [[1, -1, -1]]


def test_the_margin_decides_what_becomes_of_things_that_were_red_before():
    red = torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 8, 8)
    unpainted = red * 2 - 1 + 0.1 * noise(1, 3, 8, 8)
    assert Paint().decode(unpainted, red).inside.all()
    assert not Paint(margin=0.5).decode(unpainted, red).inside.any()


def test_the_default_margin_is_the_one_that_the_study_found():
    found = json.loads((Path(__file__).parents[2] / "studies" / "paint" / "results.json").read_text())
    assert Paint().margin == found["best"]


# ---- one thing ----


def grey_mask(*levels: float) -> torch.Tensor:
    """A canvas with stripes of these probabilities."""
    stripes = torch.tensor(levels).repeat_interleave(8)
    return (stripes * 2 - 1).expand(3, 16, len(stripes))


def test_who_hesitates_between_two_things_answers_with_what_overlaps_best():
    canvas = grey_mask(0.02, 0.42, 0.02, 0.38, 0.02, 0.0, 0.0, 0.0)
    assert not Binary().decode(canvas, canvas).inside.any()
    inside = Binary(one_thing=True).decode(canvas, canvas).inside[0].reshape(-1, 8)[:, 0]
    assert inside.tolist() == [False, True, False, True, False, False, False, False]


@given(levels=st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_stretching_keeps_the_order_and_the_ends(levels):
    canvas = grey_mask(*levels)
    plain = Binary().decode(canvas, canvas).probability[0]
    made = Binary(one_thing=True).decode(canvas, canvas).probability[0]
    order = plain.argsort()
    assert (made[order].diff() >= -1e-6).all() and made.min() >= 0 and made.max() <= 1
    assert (made[plain == 0] == 0).all() and (made[plain == 1] == 1).all()


@given(levels=st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6))
def test_no_other_cut_has_a_larger_expected_overlap(levels):
    canvas = grey_mask(*levels)
    probability = Binary().decode(canvas, canvas).probability[0].double()

    def expected(inside: torch.Tensor) -> float:
        kept = probability[inside].sum()
        return float(kept / (inside.sum() + probability.sum() - kept))

    chosen = expected(Binary(one_thing=True).decode(canvas, canvas).inside[0])
    assert chosen >= max(expected(probability >= cut) for cut in probability) - 1e-6


# ---- boxes ----


def boxes_of(*corners: tuple[float, float, float, float], size: tuple[int, int] = (64, 64)) -> Boxes:
    count = len(corners)
    xyxy = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
    return Boxes(xyxy, torch.zeros(count).long(), torch.ones(count), torch.ones(count, dtype=torch.bool), size)


THREE = boxes_of((4, 6, 20, 30), (30, 10, 60, 50), (40, 20, 48, 28))
every_box_codec = pytest.mark.parametrize("codec", [CentreBoxes(), Frames()], ids=["centres", "frames"])


@every_box_codec
@pytest.mark.parametrize("spoil", [0.0, 0.05])
def test_boxes_come_back_alone_overlapping_and_noisy(codec, spoil):
    canvas = codec.encode(THREE, IMAGE)
    assert canvas.pixels.abs().max() <= 1 and canvas.valid.all()
    read = codec.decode(canvas.pixels + spoil * noise(1, 3, 64, 64), IMAGE)
    assert read.valid.all() and read.image_size == (64, 64)
    iou = box_iou(read.xyxy, THREE.xyxy)
    assert len(read.ids) == 3 and iou.amax(0).min() > 0.75
    assert read.scores.diff().max() <= 0 and read.scores.min() > 0.3


@every_box_codec
def test_batched_boxes_are_coded_as_alone(codec):
    two = boxes_of((1, 1, 9, 13), (20, 30, 64, 64))
    batch = stack([THREE, two])
    images = IMAGE.expand(2, -1, -1, -1)
    pixels = codec.encode(batch, images).pixels
    assert torch.equal(pixels[1], codec.encode(two, IMAGE).pixels)
    read = codec.decode(pixels, images)
    assert read.valid.sum(1).tolist() == [3, 2]
    alone = codec.decode(pixels[1], IMAGE)
    assert torch.equal(read[1].xyxy[read[1].valid], alone.xyxy)


@every_box_codec
def test_no_box_and_pure_noise_are_read_too(codec):
    empty = codec.encode(boxes_of(), IMAGE).pixels
    assert len(codec.decode(empty, IMAGE).ids) == 0
    many = replace(codec, most=7).decode(3 * noise(2, 3, 64, 64), IMAGE)
    assert 0 < len(many.ids) <= 7 and torch.isfinite(many.xyxy).all()
    assert (many.xyxy[:, 2:] > many.xyxy[:, :2]).all() and many.xyxy.min() >= 0 and many.xyxy.max() <= 64


@every_box_codec
def test_flipped_boxes_come_back_flipped(codec):
    straight, flipped = (
        codec.decode(codec.encode(boxes, image).pixels, image)
        for boxes, image in ((THREE, IMAGE), (THREE.flip(), IMAGE.flip(-1)))
    )
    assert box_iou(flipped.xyxy, straight.flip().xyxy).amax(1).min() > 0.99


def test_no_box_is_drawn_as_no_peak_and_as_the_image_itself():
    assert CentreBoxes().encode(boxes_of(), IMAGE).pixels[0].max() == -1
    assert torch.equal(Frames().encode(boxes_of(), IMAGE).pixels, IMAGE * 2 - 1)


# ---- frames ----


def frames_read(boxes: Boxes, image: torch.Tensor = IMAGE, codec: Frames = Frames()) -> Boxes:  # noqa: B008
    return codec.decode(codec.encode(boxes, image).pixels, image)


def test_frames_leave_the_image_inside_and_outside():
    pixels = Frames().encode(boxes_of((10, 10, 30, 40)), IMAGE).pixels
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[10:40, 10:30] = True
    inside[13:37, 13:27] = False
    assert torch.equal(pixels[:, ~inside], (IMAGE * 2 - 1)[:, ~inside])
    assert pixels[:, inside].T.unique(dim=0).tolist() == [list(PAINTS[0])]


CROWDED = {
    "crossing": ((4, 4, 40, 30), (20, 16, 60, 60)),
    "nested": ((4, 4, 60, 60), (12, 12, 50, 50), (20, 20, 40, 40)),
    "side by side": ((4, 4, 20, 20), (20, 4, 36, 20), (36, 4, 52, 20)),
    "sharing a corner": ((4, 4, 60, 60), (4, 4, 30, 30)),
    "crossed by a chain": ((2, 20, 62, 44), (8, 10, 20, 54), (26, 10, 38, 54), (44, 10, 56, 54)),
}


@pytest.mark.parametrize("corners", CROWDED.values(), ids=CROWDED)
def test_crowded_frames_can_be_told_apart(corners):
    truth = boxes_of(*corners)
    read = frames_read(truth)
    assert len(read.ids) == len(corners)
    assert box_iou(truth.xyxy, read.xyxy).amax(1).min() > 0.85


def test_boxes_far_from_each_other_share_the_first_paint():
    pixels = Frames().encode(boxes_of((2, 2, 20, 20), (40, 2, 60, 20), (2, 40, 20, 60)), IMAGE * 0).pixels
    assert {tuple(colour) for colour in pixels.flatten(1).T.tolist()} == {PAINTS[0], (-1.0, -1.0, -1.0)}


def test_a_box_of_the_paints_own_colour_is_no_frame_and_hides_one():
    """What no reading by colour can know."""
    magenta = (torch.tensor(PAINTS[0])[:, None, None].expand(3, 64, 64) + 1) / 2
    assert len(Frames().decode(magenta * 2 - 1, magenta).ids) == 0
    assert len(frames_read(boxes_of((10, 10, 30, 40)), magenta).ids) == 0


def test_less_of_a_frame_is_less_sure():
    truth = boxes_of((10, 10, 50, 50))
    pixels = Frames().encode(truth, IMAGE).pixels
    gaps = pixels.clone()
    gaps[:, 14:20, 10:13] = (IMAGE * 2 - 1)[:, 14:20, 10:13]
    whole, less = (Frames().decode(p, IMAGE) for p in (pixels, gaps))
    assert whole.scores.tolist() == [1.0] and 0.9 < float(less.scores) < 1
    assert torch.equal(whole.xyxy, truth.xyxy) and torch.equal(less.xyxy, truth.xyxy)
    half = torch.where(torch.arange(64)[:, None] + torch.arange(64) < 48, pixels, IMAGE * 2 - 1)
    assert 0.5 < float(Frames().decode(half, IMAGE).scores) < 0.55
    assert len(Frames(least_seen=0.6).decode(half, IMAGE).ids) == 0


@given(sides=st.tuples(st.floats(-3, 60), st.floats(-3, 60), st.floats(0, 40), st.floats(0, 40)))
def test_a_box_of_any_size_is_drawn_within_the_picture(sides):
    x, y, w, h = sides
    pixels = Frames().encode(boxes_of((x, y, x + w, y + h)), IMAGE).pixels
    assert (pixels != IMAGE * 2 - 1).any()
    read = Frames().decode(pixels, IMAGE)
    assert len(read.ids) <= 1
    if w > 6 and h > 6 and min(x, y) >= 0 and max(x + w, y + h) <= 64:
        assert (read.xyxy - torch.tensor([x, y, x + w, y + h])).abs().max() <= 0.5


def test_frames_are_as_wide_as_the_picture_is_large():
    small, large = (
        Frames().encode(boxes_of((2, 2, 20, 20), size=s), draw(0, 3, *s)).pixels for s in ((24, 48), (96, 64))
    )
    row = torch.tensor(PAINTS[0])[:, None]
    assert [int((p[:, 10] == row).all(0).sum()) for p in (small, large)] == [4, 8]


def test_the_default_frames_are_those_that_the_study_found():
    found = json.loads((Path(__file__).parents[2] / "studies" / "frames" / "results.json").read_text())
    default = found["scores"]["thickness 1/24"]
    assert Frames().margin == found["best_margin"] and Frames().thickness == 1 / 24
    assert default == found["scores"][f"margin {found['best_margin']:g}"] == found["scores"]["paints 6"]
    assert default["as drawn"]["f1"] > 0.98 and default["noise 0.1"]["f1"] > 0.98


# ---- palette ----


def test_no_colour_of_a_few_lies_in_the_middle():
    """Where a network ends that cannot decide."""
    for count in range(1, 15):
        assert Palette(classes(count)).colours.norm(dim=1).min() >= 1


WITHSTANDS = {2: 1.0, 11: 1.0, 19: 1.0, 27: 1.0, 40: 0.998, 64: 0.997, 125: 0.965, 150: 0.91, 255: 0.815}
"""The least share of pixels that keep their class under noise of standard deviation 0.1 in each channel."""


@pytest.mark.parametrize(("count", "share"), WITHSTANDS.items())
def test_colours_lie_far_enough_apart_for_noise(count, share):
    codec = Palette(classes(count))
    ids = torch.arange(200 * 200).reshape(200, 200) % count
    image = torch.zeros(3, 200, 200)
    pixels = codec.encode(Labels(ids, codec.classes), image).pixels + 0.1 * noise(0, 3, 200, 200)
    assert (codec.decode(pixels, image).ids == ids).float().mean() >= share


@pytest.mark.parametrize("count", [1, 2, 8, 9, 27, 28, 64, 65, 125, 126, 216, 217, 255])
def test_colours_are_distinct_fixed_and_inside_the_cube(count):
    colours = Palette(classes(count)).colours
    assert colours.shape == (count, 3) and colours.abs().max() <= 1
    nearest = (torch.cdist(colours, colours) + 9 * torch.eye(count)).min()
    bounds = ((8, 2.0), (14, 2**0.5), (27, 1.0), (125, 0.5), (255, 1 / 3))
    assert nearest >= next(apart for most, apart in bounds if count <= most) - 1e-5
    assert torch.equal(colours, Palette(tuple(f"other {i}" for i in range(count))).colours)


def test_labels_beyond_the_last_class_are_ignored():
    codec = Palette(classes(3))
    ids = torch.tensor([[0, 2, 3, 254, IGNORE]])
    canvas = codec.encode(Labels(ids, codec.classes), IMAGE[:, :1, :5])
    assert canvas.valid.tolist() == [[True, True, False, False, False]]
    assert not canvas.pixels[:, 0, 2:].any()


@pytest.mark.parametrize("count", [0, 256])
def test_a_palette_refuses_what_it_cannot_hold(count):
    with pytest.raises(UsageError, match=f"1 to 255 classes, not {count}"):
        Palette(classes(count))


def test_a_canvas_of_nothing_faces_the_viewer():
    decoded = UnitVector().decode(torch.zeros(3, 2, 2), IMAGE[:, :2, :2])
    assert torch.equal(decoded.vectors, torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, 2, 2))
