"""Depth and normals of exact truth go together whatever the camera and gauge; of two pictures they do not."""

import math
from dataclasses import replace

import pytest
import torch

from denoisight.annotations import Depth, Normals
from denoisight.create.consistency import consistency
from denoisight.data.scenes import Scenes
from denoisight.errors import DataError

GAUGES = {
    "metres": lambda z: z,
    "scale": lambda z: z / z.median(),
    "affine": lambda z: (z - z.min()) / (z.max() - z.min()),
    "affine-disparity": lambda z: (1 / z - (1 / z).min()) / ((1 / z).max() - (1 / z).min()),
    "affine-log": lambda z: (z.log() - z.log().min()) / (z.log().max() - z.log().min()),
}


def unit(slant, tilt):
    """A normal that leans by `slant` degrees towards `tilt`, in degrees from the right, counterclockwise."""
    s, t = math.radians(slant), math.radians(tilt)
    return torch.tensor([math.sin(s) * math.cos(t), math.sin(s) * math.sin(t), math.cos(s)])


def plane(slant, tilt, focal=1.0, middle=(0.5, 0.5), size=(40, 56), gauge="metres"):
    """Exact depth of a plane 3 m away on the axis, seen by a camera of this focal length (in shorter sides) whose axis
    goes through `middle` (in shares of width and height)."""
    height, width = size
    normal, short = unit(slant, tilt), min(size)
    x = ((torch.arange(width) + 0.5 - middle[0] * width) / short / focal).expand(height, width)
    y = ((middle[1] * height - 0.5 - torch.arange(height)) / short / focal)[:, None].expand(height, width)
    z = 3 * normal[2] / (normal[2] - normal[0] * x - normal[1] * y)
    assert (z > 0).all(), "the plane must be seen everywhere"
    return Depth(GAUGES[gauge](z), torch.ones(size, dtype=torch.bool), gauge)


def even(normal, size=(40, 56)):
    return Normals.of(normal[:, None, None].expand(3, *size).contiguous())


@pytest.mark.parametrize("gauge", GAUGES)
@pytest.mark.parametrize("tilt", [0, 60, 90, 200, 315])
def test_a_tilted_plane_goes_with_its_normal_in_every_gauge(gauge, tilt):
    assert consistency(plane(40, tilt, gauge=gauge), even(unit(40, tilt))).min() > 0.97


@pytest.mark.parametrize("focal", [0.9, 1.5, 5.0])
@pytest.mark.parametrize("middle", [(0.5, 0.5), (0.2, 0.8)])
def test_whatever_the_camera(focal, middle):
    assert consistency(plane(35, 60, focal, middle), even(unit(35, 60))).min() > 0.97


@pytest.mark.parametrize("gauge", GAUGES)
@pytest.mark.parametrize(("turn", "off"), [(30, None), (90, 40.0), (150, 40.0), (180, 40.0)])
def test_a_normal_turned_about_the_axis_is_off_by_the_least_angle(gauge, turn, off):
    off = math.degrees(math.asin(math.sin(math.radians(40)) * math.sin(math.radians(turn)))) if off is None else off
    found = consistency(plane(40, 20, gauge=gauge), even(unit(40, 20 + turn)))
    torch.testing.assert_close(found, torch.full_like(found, 1 - off / 90), rtol=0, atol=0.02)


def test_steepness_is_not_judged():
    assert consistency(plane(40, 20), even(unit(10, 20))).min() > 0.97


def test_of_what_faces_the_camera_or_is_not_known_nothing_is_said():
    depth, wrong = plane(40, 20), even(unit(40, 200))
    assert (consistency(depth, even(unit(0, 0))) == 1).all()
    assert (consistency(replace(depth, values=torch.full_like(depth.values, 2.0)), wrong) == 1).all()
    half = torch.arange(56).expand(40, 56) < 28
    found = consistency(depth, wrong.without(half))
    assert (found[half] == 1).all() and (found[~half] < 0.6).all()
    # Depth is known up to a cell beyond what is valid, in which sums still hold something.
    found = consistency(depth.without(half), wrong)
    assert (found[:, :27] == 1).all() and (found[:, 28:] < 0.6).all()
    assert (consistency(depth.blank(), wrong) == 1).all()
    assert (consistency(plane(40, 20).crop(0, 0, 1, 1), even(unit(40, 200), (1, 1))) == 1).all()


def test_edges_between_surfaces_are_not_taken_for_surfaces():
    """Before a wall that faces the camera stands one that leans: the step between the two leans otherwise."""
    near = torch.arange(56).expand(40, 56) < 28
    depth = plane(40, 90)
    depth = replace(depth, values=torch.where(near, depth.values, 50.0))
    normals = Normals.of(torch.where(near, even(unit(40, 90)).vectors, even(unit(0, 0)).vectors))
    assert consistency(depth, normals).min() > 0.97


@pytest.fixture(scope="module", params=[64, 128])
def scenes(request):
    return [Scenes("val", 8, (request.param, request.param))[i].truths for i in range(8)]


def mean(depth, normals):
    return float(consistency(depth, normals).mean())


@pytest.mark.parametrize("gauge", GAUGES)
def test_scenes_of_exact_truth_go_together(scenes, gauge):
    for truths in scenes:
        depth = truths["depth"]
        # The sky has no depth: anything above zero stands in for it while the gauge is changed.
        known = torch.where(depth.valid, depth.values, depth.values[depth.valid].median())
        depth = Depth(torch.where(depth.valid, GAUGES[gauge](known), 0.0), depth.valid, gauge)
        assert mean(depth, truths["normals"]) > 0.95


def test_swapped_and_mirrored_pairs_do_not(scenes):
    others = [*scenes[1:], scenes[0]]
    true, swapped, mirrored = [], [], []
    for one, other in zip(scenes, others, strict=True):
        true.append(mean(one["depth"], one["normals"]))
        swapped.append(mean(one["depth"], other["normals"]))
        mirrored.append(mean(one["depth"].flip(), one["normals"]))
        assert true[-1] > max(swapped[-1], mirrored[-1]) + 0.03
    assert sum(true) / 8 > 0.97 and sum(swapped) / 8 < 0.87 and sum(mirrored) / 8 < 0.87


def test_sizes_must_agree():
    with pytest.raises(DataError, match="56x40 came with normals of 40x40"):
        consistency(plane(40, 20), even(unit(40, 20), (40, 40)))
