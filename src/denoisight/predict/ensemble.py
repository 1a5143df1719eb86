"""Several answers to one question, brought to agree; how far they differ says how unsure they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..annotations import Annotation, Depth, Labels, Mask, Normals
from ..errors import UsageError, pick
from ..models.ensembles import marigold_depth, marigold_normals
from ..tasks import Reading, Task
from ..vectors import lengths, unit, widened


def agree(members: Annotation, method: str = "closed-form") -> Reading:
    """Merge members stacked along the first axis [e, ...] into one annotation with per-pixel uncertainty in [0, 1].

    Raises `UsageError` for what a method cannot merge, and for an unknown one.
    """
    return pick(METHODS, method, "ensemble method")(members)


def can_agree(task: Task) -> bool:
    """Whether several answers to it can be merged into one: numbers of instances mean nothing from one to the next."""
    return task.kind in (Depth, Normals, Mask) or (task.kind is Labels and bool(task.classes))


def closed_form(members: Annotation) -> Reading:
    """Depth known up to scale and shift is first aligned, member by member, to the running median in closed form;
    normals are averaged on the sphere; labels vote, and of two with as many votes the member counts that comes first.
    """
    if isinstance(members, Depth):
        known = members.gauge in ("metres", "scale")  # in metres, or in shares of each member's own median
        aligned = members.values if known else _align(members.values)
        middle = _median(aligned)
        spread = 1.4826 * _median((aligned - middle).abs())
        scale = middle.clamp(min=1e-6) if known else torch.ones_like(middle)
        return Reading(Depth(middle, members.valid.all(0), members.gauge), (spread / scale).clamp(0, 1))
    if isinstance(members, Normals):
        mean = members.vectors.mean(0)
        # The mean of unit vectors is the shorter the more they disagree.
        return Reading(Normals(unit(mean), members.valid.all(0)), 1 - lengths(mean).clamp(max=1))
    if isinstance(members, Labels) and members.classes:
        votes = F.one_hot(members.ids, len(members.classes)).float().mean(0)
        shares = votes.gather(-1, members.ids.movedim(0, -1)).movedim(-1, 0)
        first = shares.argmax(0, keepdim=True)
        return Reading(Labels(members.ids.gather(0, first)[0], members.classes), 1 - shares.amax(0))
    if isinstance(members, Mask):
        mean = members.probability.mean(0)
        return Reading(Mask(mean, members.valid.all(0)), members.probability.std(0, correction=0))
    raise UsageError(f"{type(members).__name__} predictions cannot be merged; use --ensemble 1.")


def marigold(members: Annotation) -> Reading:
    """As diffusers' Marigold pipelines merge depth of unknown scale, and normals: see `models.ensembles`."""
    if isinstance(members, Depth) and members.gauge != "metres":
        merged, uncertainty = marigold_depth(members.values, members.gauge != "scale")
        return Reading(Depth(merged, members.valid.all(0), members.gauge), uncertainty.clamp(0, 1))
    if isinstance(members, Normals):
        merged, uncertainty = marigold_normals(members.vectors)
        return Reading(Normals(merged, members.valid.all(0)), uncertainty)
    what = "Metric depth" if isinstance(members, Depth) else type(members).__name__
    raise UsageError(
        f"{what} has no ensemble in Marigold, which merges depth of unknown scale and normals; use 'closed-form'."
    )


METHODS: dict[str, Callable[[Annotation], Reading]] = {"closed-form": closed_form, "marigold": marigold}
"""Ways to merge members; "marigold" is slower and gives the stock pipelines' own numbers."""


def _align(values: Float[Tensor, "e h w"], rounds: int = 5) -> Float[Tensor, "e h w"]:
    """Fit each member's scale and shift to the running median by least squares, then restore [0, 1].

    The closed form of the alignment that Marigold finds by a general optimiser (Ke et al., CVPR 2024, section 3.4).
    """
    flat = widened(values.flatten(1))
    aligned = flat
    for _ in range(rounds):
        middle = _median(aligned)
        centred = flat - flat.mean(1, keepdim=True)
        variance = (centred**2).mean(1, keepdim=True)
        covariance = (centred * (middle - middle.mean())).mean(1, keepdim=True)
        scale = torch.where(variance > 1e-12, covariance / variance.clamp(min=1e-12), 1.0).clamp(min=0.05)
        aligned = centred * scale + middle.mean()
    middle = _median(aligned)
    low, high = middle.min(), middle.max()
    return ((aligned - low) / (high - low).clamp(min=1e-6)).clamp(0, 1).to(values).reshape(values.shape)


def _median(values: Float[Tensor, "e *pixels"]) -> Float[Tensor, "*pixels"]:
    """Over members; of an even number the mean of the middle two, where torch's own takes the lower."""
    ordered = values.sort(0).values
    return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
