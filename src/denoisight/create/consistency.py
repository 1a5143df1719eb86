"""Whether depth and normals of one picture can be true together, told without knowing the camera.

The normal of a surface with depth Z is along (Z_x, Z_y, Z + x Z_x + y Z_y), with x and y the image plane's coordinates
in focal lengths, y up. So the part of a normal that lies in the image plane is along the gradient of depth: towards
where the surface recedes. That direction is the same whatever the focal length, where in the image the optical axis
is, and for every growing function of depth: for all gauges. It takes square pixels and a pinhole alone.

How steep a surface is, on the other hand, cannot be told from the gradient without the focal length, nor from affine
depth with it, since the shift is not known. That is not judged: what agrees here may still be wrong; of what does not
agree, one is.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..annotations import Depth, Normals
from ..errors import DataError

CELLS = 64
"""Depth is compared over 1/64 of the shorter side: over single pixels of a large picture it would be noise alone."""


def consistency(depth: Depth, normals: Normals) -> Float[Tensor, "h w"]:
    """How well each pixel's normal goes with the depth around it: 1 - the least angle / 90 degrees, in [0, 1].

    The angle is that between the normal and the nearest one that has the depth's direction, at any steepness; at most
    how far the normal leans, so that of what faces the camera nothing can be said, and it is 1. It is 1, too,
    where normals are invalid, and where depth is level or not known around. Noise in depth lowers it, and so do
    corners, where two surfaces lie in one cell. Any gauge will do. Raises `DataError` where sizes differ.
    """
    if depth.size != normals.size:
        (h, w), (height, width) = depth.size, normals.size
        raise DataError(f"Depth of {w}x{h} came with normals of {width}x{height}; bring them to one size.")
    up, right = _gradient(depth)
    tilt_right, tilt_up, facing = normals.vectors.unbind(-3)
    steep, lean = torch.hypot(right, up), torch.hypot(tilt_right, tilt_up)
    along = right * tilt_right + up * tilt_up
    across = (right * tilt_up - up * tilt_right).abs() / steep.clamp(min=1e-12)
    # The nearest normal of the depth's direction, which may lean as little as it likes: none at all from behind.
    angle = torch.where(along > 0, torch.asin(across.clamp(max=1)), torch.atan2(lean, facing))
    known = normals.valid & (steep > 0)
    return 1 - torch.where(known, angle / (math.pi / 2), 0.0).clamp(0, 1)


def _gradient(depth: Depth) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Upwards and to the right, of something that grows with distance, summed over a cell to either side, so that noise
    has less of a say; pixels where one of the two is not known add nothing."""
    values = -depth.values if depth.gauge == "affine-disparity" else depth.values
    step = max(round(min(depth.size) / CELLS), 1)
    down, right = (_difference(values, depth.valid, axis, step) for axis in (-2, -1))
    known = torch.isfinite(down) & torch.isfinite(right)
    both = torch.where(known, torch.stack([-down, right]), 0.0)
    around = F.avg_pool2d(both, 2 * step + 1, stride=1, padding=step)
    return around[0], around[1]


def _difference(values: Tensor, valid: Tensor, axis: int, step: int) -> Float[Tensor, "h w"]:
    """The smaller of the differences to the pixels `step` before and after, infinite where neither is known: at a
    surface's edge the other one is across it."""
    unknown = torch.full_like(values, torch.inf)
    if values.shape[axis] <= step:
        return unknown
    count = values.shape[axis] - step
    near, far = values.narrow(axis, 0, count), values.narrow(axis, step, count)
    both = valid.narrow(axis, 0, count) & valid.narrow(axis, step, count)
    ahead = torch.where(both, far - near, torch.inf)
    after, before = unknown.clone(), unknown.clone()
    after.narrow(axis, 0, count).copy_(ahead)
    before.narrow(axis, step, count).copy_(ahead)
    return torch.where(after.abs() <= before.abs(), after, before)
