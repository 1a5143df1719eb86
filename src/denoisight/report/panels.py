"""The pictures of a report: which images are shown, and each with its truth, prediction and error map."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..annotations import Annotation, Boxes, Depth, Labels, stack
from ..metrics.align import COMPARABLE, Alignment, align
from ..metrics.things import match_ids
from ..render import Legend, Picture, colour, depth_limits, error_legend, error_map, legend, overlay, to_rgb
from ..runtime import item_seed
from .tables import Better

LARGEST_PX = 448
"""Longer pictures are shrunk for the page, so that it stays small enough to send."""


@dataclass(frozen=True)
class Row:
    """Pictures side by side, each under a name, and a text about them all."""

    caption: str
    cells: tuple[tuple[str, Picture], ...]


@dataclass(frozen=True)
class Panels:
    """Rows under one title, with what their colours mean, said for named kinds of pictures."""

    title: str
    rows: tuple[Row, ...]
    legends: Mapping[str, Legend] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """Keys of images by how well they went; no key stands in two of the lists."""

    best: tuple[str, ...]
    worst: tuple[str, ...]
    random: tuple[str, ...]


def choose(scores: Mapping[str, float], better: Better, count: int = 3, seed: int = 0) -> Choice:
    """The best, the worst and some random images from one score for each; the same for any order of `scores`.

    Images without a finite score are left out; where images are too few, the lists get shorter together.
    """
    known = [key for key, score in scores.items() if math.isfinite(score)]
    sign = 1 if better == "lower" else -1
    ranked = sorted(known, key=lambda key: (sign * scores[key], key))
    count = min(count, math.ceil(len(ranked) / 3))
    best, rest = ranked[:count], ranked[count:]
    worst = rest[::-1][:count]
    others = sorted(set(rest) - set(worst), key=lambda key: item_seed(seed, key))
    return Choice(tuple(best), tuple(worst), tuple(others[:count]))


def panel_row(
    caption: str,
    image: Float[Tensor, "3 h w"],
    prediction: Annotation,
    truth: Annotation | None = None,
    alignment: Alignment | None = None,
) -> Row:
    """Image | truth | prediction | error, or image | prediction where there is no truth.

    The prediction is brought to the truth's size. Depth is fitted to the truth under `alignment`, by default
    the first that its gauge allows, and drawn on the truth's scale; instances take the number of the true one that
    they overlap most. Raises `DataError` where kinds differ.
    """
    if truth is None:
        return Row(caption, (("image", to_rgb(image)), ("prediction", _draw(image, prediction))))
    truth = truth.to("cpu")
    prediction, limits = _beside(prediction, truth, alignment)
    return Row(
        caption,
        (
            ("image", to_rgb(image)),
            ("truth", _draw(image, truth, limits)),
            ("prediction", _draw(image, prediction, limits)),
            ("error", error_map(prediction, truth)),
        ),
    )


def strip_row(
    caption: str,
    image: Float[Tensor, "3 h w"],
    truth: Annotation,
    stages: Mapping[str, Annotation],
    alignment: Alignment | None = None,
) -> Row:
    """Image | truth | one estimate after another under their names, each drawn as `panel_row` draws a prediction."""
    truth = truth.to("cpu")
    drawn = [(name, *_beside(stage, truth, alignment)) for name, stage in stages.items()]
    limits = depth_limits(truth) if isinstance(truth, Depth) else None
    cells = ((name, _draw(image, stage, scale)) for name, stage, scale in drawn)
    return Row(caption, (("image", to_rgb(image)), ("truth", _draw(image, truth, limits)), *cells))


def panel_legends(truths: Sequence[Annotation]) -> dict[str, Legend]:
    """What the colours of rows with these truths mean, for their annotations and for their error maps;
    the colours of single instances mean nothing."""
    named = (truth for truth in truths if not isinstance(truth, Labels) or truth.classes)
    drawn = dict.fromkeys(entry for truth in named for entry in legend(truth))
    wrong = dict.fromkeys(entry for truth in truths for entry in error_legend(truth))
    return {"truth, prediction": tuple(drawn), "error": tuple(wrong)}


def data_uri(picture: Picture) -> str:
    """The picture as a PNG inside its own address; shrunk to `LARGEST_PX` where it is larger."""
    image = Image.fromarray(picture)
    image.thumbnail((LARGEST_PX, LARGEST_PX), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _draw(image: Tensor, annotation: Annotation, limits: tuple[float, float] | None = None) -> Picture:
    return overlay(image, annotation) if isinstance(annotation, Boxes) else colour(annotation, limits)


def _beside(
    prediction: Annotation, truth: Annotation, alignment: Alignment | None
) -> tuple[Annotation, tuple[float, float] | None]:
    """The prediction as it can be held against the truth, and the limits that both are drawn between."""
    prediction = prediction.to("cpu").resize(*truth.size)
    if isinstance(prediction, Depth) and isinstance(truth, Depth):
        return _fit(prediction, truth, alignment), depth_limits(truth)
    if isinstance(prediction, Labels) and isinstance(truth, Labels) and not truth.classes:
        return match_ids(prediction, truth), None
    return prediction, None


def _fit(prediction: Depth, truth: Depth, alignment: Alignment | None) -> Depth:
    mask = (prediction.valid & truth.valid)[None]
    values = align(stack([prediction]), stack([truth]), alignment or COMPARABLE[prediction.gauge][0], mask)
    return Depth(values[0].float(), prediction.valid, truth.gauge)
