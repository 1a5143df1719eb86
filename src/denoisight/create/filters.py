"""Which created pairs are worth learning from: each is kept, masked in part, or dropped, with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..annotations import Annotation, Boxes, Labels, Mask, Sample, resize_image
from ..data.readers import Reader
from ..errors import UsageError, shortlist
from ..runtime import item_seed
from .annotate import Label

THUMB_PX = 16
"""Images are compared as pictures of so many pixels a side."""
SATURATED = 0.05
"""How near to black or white all colours of a pixel are that says nothing more. A model that creates what it never saw
often ends there, and seldom at the very end."""
COUNTED = 256
"""Samples of the source, spread evenly, that class frequencies are taken from."""
PRESENT = 0.01
"""The share of the labelled pixels from which a class counts as being in a picture."""


@dataclass(frozen=True)
class Filters:
    """When a pair is masked or dropped; 0 switches a filter off.

    min_confidence: pixels less sure than this become invalid. min_valid: the share of pixels that must be valid in
    every label. min_distance: the least root mean square distance of colours, both shrunk to 16x16, to the source and
    to the images of the same shard that were kept before. min_contrast: the least standard deviation of colours.
    max_saturated: the largest share of all but black or white pixels, beyond that of the source (1 is off). empty: keep
    labels that mark nothing. balance: the share of source images from which a semantic class counts as frequent; of
    created images that show frequent classes alone some are dropped, by chance, see `accepted`. It is no quota: none
    are made instead, and the classes of created images are not counted.
    """

    min_confidence: float = 0.0
    min_valid: float = 0.3
    min_distance: float = 0.02
    min_contrast: float = 0.02
    max_saturated: float = 0.5
    empty: bool = False
    balance: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise UsageError(f"{field.name} is {value}; give a share from 0 to 1.")


class Verdict(NamedTuple):
    """What becomes of a pair, and why."""

    kind: Literal["keep", "mask", "drop"]
    reason: str = ""


class Judged(NamedTuple):
    """A verdict with what is left of the truths, and what it rests on: by task the mean confidence (None where the
    model cannot tell) and the share of valid pixels."""

    verdict: Verdict
    truths: dict[str, Annotation]
    confidence: dict[str, float | None]
    valid: dict[str, float]


def judge(
    image: Float[Tensor, "3 h w"],
    labels: Mapping[str, Label],
    source: Float[Tensor, "3 h2 w2"] | None,
    others: Sequence[Float[Tensor, "3 _ _"]],
    how: Filters,
    *,
    names: Mapping[str, str],
) -> Judged:
    """The verdict on one created image: of the image itself, of its likeness to others, of its labels, in this order.

    `others` are images, or their `thumb`s, that it may not be a copy of. `names` tells which truth a task's label is.
    """
    sure = {task: None if c is None else round(float(c.mean()), 4) for task, (_, c, _) in labels.items()}
    masked = {task: _mask(label, how.min_confidence) for task, label in labels.items()}
    valid = {task: round(_valid(a), 4) for task, a in masked.items()}
    truths = {names[task]: annotation for task, annotation in masked.items()}

    def judged(kind: Literal["keep", "mask", "drop"], reason: str = "") -> Judged:
        return Judged(Verdict(kind, reason), truths, sure, valid)

    if float(image.std(dim=(1, 2)).max()) < how.min_contrast:
        return judged("drop", "blank")
    usual = 0.0 if source is None else _saturated(source)
    if how.max_saturated < 1 and _saturated(image) - usual > how.max_saturated:
        return judged("drop", "saturated")
    if source is not None and distance(image, source) < how.min_distance:
        return judged("drop", "near copy of its source")
    if others and how.min_distance and distance(image, *others) < how.min_distance:
        return judged("drop", "near copy of another")
    for task, annotation in masked.items():
        if valid[task] < how.min_valid:
            return judged("drop", f"{_doubt(labels[task], how.min_confidence)} in {task}")
        if not how.empty and is_empty(annotation, names[task]):
            return judged("drop", f"nothing in {task}")
    lost = [task for task, label in labels.items() if valid[task] < round(_valid(label.annotation), 4)]
    doubts = [_doubt(labels[task], how.min_confidence) for task in lost]
    told = [
        f"{doubt} in {', '.join(task for task, own in zip(lost, doubts, strict=True) if own == doubt)}"
        for doubt in dict.fromkeys(doubts)
    ]
    return judged("mask", "; ".join(told)) if lost else judged("keep")


def thumb(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 _ _"]:
    """An image as others are held against it; of a thumb itself."""
    return resize_image(image.float(), THUMB_PX, THUMB_PX)


def distance(image: Float[Tensor, "3 h w"], *others: Float[Tensor, "3 _ _"]) -> float:
    """The root mean square distance of colours in [0, 1] to the nearest of others, all shrunk to 16x16: what differs
    to the naked eye from afar, whatever the model."""
    beside = torch.stack([thumb(other) for other in others])
    return float((beside - thumb(image)).square().mean((1, 2, 3)).sqrt().min())


def is_empty(annotation: Annotation, truth: str = "") -> bool:
    """Whether a label marks nothing: no box, no thing, nothing inside a mask, of the truth "parts" the background
    alone."""
    match annotation:
        case Boxes():
            return not bool(annotation.valid.any())
        case Mask():
            return not bool((annotation.inside & annotation.valid).any())
        case Labels() if not annotation.classes or truth == "parts":
            return not bool(((annotation.ids > 0) & annotation.valid).any())
    return False


def class_frequencies(source: Reader, classes: Sequence[str]) -> dict[str, float]:
    """The share of pictures that each semantic class stands in, in up to 256 samples spread evenly over the source.

    `classes` are those that created images are labelled with. Raises `UsageError` where there are none, and where the
    source does not know all of them: what it does not count would pass for rare.
    """
    if not source.classes:
        raise UsageError("The source names no classes, which --balance weighs; leave it out, or give semantic labels.")
    if not classes:
        raise UsageError(
            "Created images get no semantic labels, whose classes --balance weighs; leave it out, or label them, too "
            "(--task semantic, by a model that learnt it)."
        )
    if unknown := [name for name in classes if name not in source.classes]:
        raise UsageError(
            f"The model labels {shortlist(unknown)}, but the source knows {shortlist(source.classes)} alone, so "
            "--balance cannot weigh them; leave it out, or take a model that learnt the source's classes."
        )
    count = min(len(source), COUNTED)
    seen = [classes_in(source[i * len(source) // count]) for i in range(count)]
    return {name: sum(name in found for found in seen) / count for name in source.classes}


def classes_in(sample: Sample) -> set[str]:
    """The semantic classes that cover a share of the labelled pixels worth naming."""
    labels = sample.truths.get("semantic")
    if not isinstance(labels, Labels) or not labels.valid.any():
        return set()
    counts = labels.ids[labels.valid].bincount(minlength=len(labels.classes))
    return {labels.classes[i] for i, n in enumerate(counts.tolist()) if n >= PRESENT * int(counts.sum())}


def accepted(sample: Sample, seed: int, frequencies: Mapping[str, float], balance: float) -> bool:
    """Whether a pair is let through to balance classes, decided by its own seed so that no other pair must be known.

    The chance is the largest over its classes of min(1, sqrt(balance / frequency)), the repeat factor of LVIS (Gupta et
    al., CVPR 2019, section 5) for thinning out: whatever holds a rare class always passes.
    """
    found = [frequencies.get(name, 0.0) for name in classes_in(sample)]
    chance = max(((balance / f) ** 0.5 if f > balance else 1.0 for f in found), default=1.0)
    return item_seed(seed, "balance") / 2**63 < chance


def maskable(label: Label) -> Float[Tensor, "h w"] | None:
    """The confidence that a label's pixels can be masked by; None where nothing tells it, and of boxes, which have no
    pixels."""
    return None if isinstance(label.annotation, Boxes) else label.confidence


def _mask(label: Label, least: float) -> Annotation:
    confidence = maskable(label)
    return label.annotation if confidence is None or least == 0 else label.annotation.without(confidence < least)


def _doubt(label: Label, least: float) -> str:
    """Why pixels are masked: most of them since answers, or labels, are apart, or since the model itself is unsure."""
    if label.confidence is None or label.agreement is None:
        return "low confidence"
    masked = label.confidence < least
    apart = (label.agreement < least)[masked]
    return "disagreement" if apart.numel() and float(apart.float().mean()) > 0.5 else "low confidence"


def _valid(annotation: Annotation) -> float:
    """The share of valid pixels; boxes are of the whole picture."""
    return 1.0 if isinstance(annotation, Boxes) else float(annotation.valid.float().mean())  # type: ignore[attr-defined]


def _saturated(image: Float[Tensor, "3 h w"]) -> float:
    """The share of pixels that are all but black or white."""
    ends: Bool[Tensor, "h w"] = (image >= 1 - SATURATED).all(0) | (image <= SATURATED).all(0)
    return float(ends.float().mean())
