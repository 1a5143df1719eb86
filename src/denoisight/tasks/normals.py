"""Surface normals in the camera frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..annotations import Normals
from ..codecs import Codec
from ..codecs.unit_vector import UnitVector
from ..errors import pick
from ..vectors import lengths, unit
from .base import Head, Reading, Task, masked_mean

CODECS: dict[str, Codec[Normals]] = {"unit": UnitVector(), "clipped": UnitVector(clip=True)}

LEAST_CONCENTRATION = 0.01


def normals(classes: tuple[str, ...] = (), codec: str = "unit", loss: str = "cosine") -> Task:
    """As unit vectors; "clipped" reads them as Marigold does. Losses with a concentration tell how sure they are."""
    chosen, way = pick(CODECS, codec, "codec of normals"), pick(LOSSES, loss, "loss of normals")

    def measure(outputs: Tensor, truth: Normals, image: Tensor) -> Tensor:
        return masked_mean(way.error(outputs.float(), truth.vectors), truth.valid)

    def read(outputs: Tensor, image: Tensor) -> Reading:
        annotation = chosen.decode(outputs[..., :3, :, :], image)
        if way.expected is None:
            return Reading(annotation, None)
        # Who knows nothing expects a right angle.
        return Reading(annotation, way.expected(concentration(outputs.float())) / (math.pi / 2))

    channels = 3 if way.expected is None else 4
    return Task(
        "normals",
        "normals",
        Normals,
        chosen,
        "surface normals",
        Head(channels, measure, read, sideways=(0,), merge=merge),
    )


def merge(outputs: Float[Tensor, "*b c h w"], others: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
    """The mean direction, with the lower concentration of the two, the less of it the farther they are apart."""
    one, other = outputs.float(), others.float()
    mean = (_unit(one[..., :3, :, :]) + _unit(other[..., :3, :, :])) / 2
    if one.shape[-3] == 3:
        return mean
    k = torch.minimum(concentration(one), concentration(other)) * lengths(mean)
    above = k - LEAST_CONCENTRATION
    channel = torch.where(above > 1, above - 1, above.clamp(min=1e-6).log())  # what `concentration` makes k of
    return torch.cat([mean, channel[..., None, :, :]], dim=-3)


def cosine(outputs: Float[Tensor, "*b 3 h w"], truth: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b h w"]:
    """1 - cos of the angle: smooth everywhere, unlike the angle itself at zero."""
    return 1 - (_unit(outputs) * truth).sum(-3)


def l2(outputs: Float[Tensor, "*b 3 h w"], truth: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b h w"]:
    """The squared distance of the vector as it is: of unit vectors it would be twice the cosine loss."""
    return (outputs - truth).square().sum(-3)


def angle(outputs: Float[Tensor, "*b c h w"], truth: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b h w"]:
    """In radians, from sine and cosine both, so that its slope is 1 down to the smallest angles, and 0 at 0 and pi."""
    found = _unit(outputs[..., :3, :, :])
    sine = lengths(torch.linalg.cross(found, truth, dim=-3))
    # What is added lets a vector of zeros pass without a slope of 0/0.
    return torch.atan2(sine, (found * truth).sum(-3) + 1e-12)


def angular_vmf(outputs: Float[Tensor, "*b 4 h w"], truth: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b h w"]:
    """-log p - log 2 pi of the density p = (k^2 + 1) exp(-k angle) / (2 pi (1 + exp(-pi k))) on the sphere.

    (Angular von Mises-Fisher: Bae et al., ICCV 2021, eq. 8.)
    """
    k = concentration(outputs)
    return -(k**2 + 1).log() + k * angle(outputs, truth) + torch.exp(-math.pi * k).log1p()


def vmf(outputs: Float[Tensor, "*b 4 h w"], truth: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b h w"]:
    """-log p - log 2 pi of the density p = k exp(k (cos - 1)) / (2 pi (1 - exp(-2 k))) on the sphere."""
    k = concentration(outputs)
    return -k.log() + (-torch.expm1(-2 * k)).log() + k * cosine(outputs[..., :3, :, :], truth)


def concentration(outputs: Float[Tensor, "*b 4 h w"]) -> Float[Tensor, "*b h w"]:
    """At least `LEAST_CONCENTRATION`: ELU(k) + 1 + 0.01 (Bae et al., ICCV 2021)."""
    return F.elu(outputs[..., 3, :, :]) + 1 + LEAST_CONCENTRATION


def expected_angular(k: Tensor) -> Tensor:
    """The mean angle in radians under the angular density: 2 k / (k^2 + 1) + pi exp(-pi k) / (1 + exp(-pi k))."""
    return 2 * k / (k**2 + 1) + math.pi * torch.sigmoid(-math.pi * k)


def expected_vmf(k: Tensor) -> Tensor:
    """The mean angle in radians under the von Mises-Fisher density: pi (I0(k) - exp(-k)) / (exp(k) - exp(-k))."""
    return math.pi * (torch.special.i0e(k) - torch.exp(-2 * k)) / -torch.expm1(-2 * k)


def _unit(vectors: Tensor) -> Tensor:
    return unit(vectors, 1e-3)


class _Way(NamedTuple):
    """The error of each pixel, and the mean angle at a concentration where a fourth channel holds one."""

    error: Callable[[Tensor, Tensor], Tensor]
    expected: Callable[[Tensor], Tensor] | None = None


LOSSES: dict[str, _Way] = {
    "angular-vmf": _Way(angular_vmf, expected_angular),
    "vmf": _Way(vmf, expected_vmf),
    "angular": _Way(angle),
    "cosine": _Way(cosine),
    "l2": _Way(l2),
}
