"""Annotations as pictures that a person can read: RGB in [0, 255], with a legend for every colour scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .annotations import IGNORE, Annotation, Boxes, Depth, Labels, Mask, Normals
from .errors import DataError

Picture: TypeAlias = UInt8[np.ndarray, "_ _ 3"]
Colour: TypeAlias = tuple[int, int, int]
Legend: TypeAlias = tuple[tuple[str, Colour], ...]
"""Pairs of what a colour means and the colour."""

INVALID: Colour = (96, 96, 96)
"""Pixels that nobody measured or labelled; invalid normals are black, as the field draws them."""
WORST_DEPTH = 0.25
"""The absolute relative error at which the error map of depth is brightest."""
WORST_ANGLE_DEG = 60.0
"""The angle at which the error map of normals is brightest."""

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
RIGHT, WRONG, MISSED = (38, 62, 92), (250, 112, 66), (66, 150, 240)
TINT = (255, 64, 96)


def to_rgb(image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """An image in [0, 1] in eight bits."""
    return (image.detach().cpu().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def depth_limits(depth: Depth) -> tuple[float, float]:
    """The 2 % and 98 % quantiles of the valid values: a scale that a few wild pixels cannot spoil."""
    values = depth.values[depth.valid].detach().cpu().float().numpy()
    if not values.size:
        return 0.0, 1.0
    low, high = np.quantile(values, [0.02, 0.98])
    return float(low), float(high)


@cache
def label_colours(count: int) -> UInt8[np.ndarray, "k 3"]:
    """Colours for labels 0 to count - 1: class i has the same colour under every count.

    Farthest-point choice in OKLab (Ottosson, "A perceptual color space for image processing", 2020) among
    colours of middle lightness that are not grey, so that none looks like `INVALID`.
    """
    axis = np.linspace(16, 255, 16).round()
    rgb = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _oklab(rgb / 255)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    kept = (lab[:, 0] > 0.45) & (lab[:, 0] < 0.85) & (chroma > 0.09) & (chroma < 0.2)
    rgb, lab = rgb[kept], lab[kept]
    chosen = [int(np.linalg.norm(rgb - [70, 130, 220], axis=1).argmin())]
    distance = np.full(len(lab), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    colours = rgb[chosen[:count]].astype(np.uint8)
    colours.setflags(write=False)  # every caller gets the same array
    return colours


def colour(annotation: Annotation, limits: tuple[float, float] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """One annotation (no batch) as a picture of its own.

    Depth runs from red (near) to blue (far) between `limits`, by default its `depth_limits`, in equal ratios
    where the gauge has ratios; give the truth's limits to draw a prediction on the same scale. Normals are
    (n + 1) / 2 as RGB, labels flat colours, masks grey from black (outside) to white (inside), boxes outlines
    on black.

    Raises `DataError` for a batch.
    """
    annotation = _single(annotation)
    match annotation:
        case Depth():
            far = _share_of_range(annotation, *(limits or depth_limits(annotation)))
            return _grey_out(_colour_map("Spectral", far), annotation.valid)
        case Normals():
            return to_rgb(torch.where(annotation.valid, (annotation.vectors + 1) / 2, 0.0))
        case Labels():
            colours = np.vstack([label_colours(IGNORE), INVALID]).astype(np.uint8)
            return colours[annotation.ids.clamp(0, IGNORE).numpy()]
        case Mask():
            return _grey_out(to_rgb(annotation.probability.expand(3, -1, -1)), annotation.valid)
        case Boxes():
            return _draw_boxes(np.zeros((*annotation.size, 3), np.uint8), annotation)
    raise DataError(f"No colours are known for a {type(annotation).__name__}; give one of the five annotations.")


def overlay(image: Float[Tensor, "3 h w"], annotation: Annotation, opacity: float = 0.55) -> UInt8[np.ndarray, "h w 3"]:
    """The annotation laid over the image it belongs to; invalid pixels show the image alone.

    Raises `DataError` where their sizes differ.
    """
    annotation, ground = _single(annotation), to_rgb(image)
    _refuse_sizes(annotation.size, ground.shape[:2])
    if isinstance(annotation, Boxes):
        return _draw_boxes(ground, annotation)
    weight = opacity * annotation.valid.float().numpy()[..., None]  # type: ignore[attr-defined]
    if isinstance(annotation, Mask):
        weight = weight * annotation.probability.float().numpy()[..., None]
    paint = TINT if isinstance(annotation, Mask) else colour(annotation)
    return (ground * (1 - weight) + np.asarray(paint) * weight).round().astype(np.uint8)


def error_map(prediction: Annotation, truth: Annotation) -> UInt8[np.ndarray, "h w 3"]:
    """Where a prediction is wrong, on a fixed scale (`error_legend`), so that pictures can be compared.

    Depth: |p - t| / t up to `WORST_DEPTH`, once the caller has aligned the prediction to the truth's gauge.
    Normals: the angle between them up to `WORST_ANGLE_DEG`. Labels: right or wrong. Masks: hit, extra,
    missed. Boxes: the outlines of both. Pixels that are not valid in both are grey.

    Raises `DataError` where kind, size or gauge differ.
    """
    prediction, truth = _single(prediction), _single(truth)
    _refuse_sizes(prediction.size, truth.size)
    match prediction, truth:
        case Depth(), Depth():
            if prediction.gauge != truth.gauge:
                raise DataError(f"Cannot compare {prediction.gauge} depth with {truth.gauge} depth; align it first.")
            error = (prediction.values - truth.values).abs() / truth.values.abs().clamp(min=1e-6)
            return _grey_out(_colour_map("inferno", error / WORST_DEPTH), prediction.valid & truth.valid)
        case Normals(), Normals():
            cosine = (prediction.vectors * truth.vectors).sum(0).clamp(-1, 1)
            error = torch.rad2deg(torch.acos(cosine))
            return _grey_out(_colour_map("inferno", error / WORST_ANGLE_DEG), prediction.valid & truth.valid)
        case Labels(), Labels():
            picture = np.array([WRONG, RIGHT])[(prediction.ids == truth.ids).long().numpy()]
            return _grey_out(picture, truth.valid)
        case Mask(), Mask():
            outcome = 2 * truth.inside.long() + prediction.inside.long()
            picture = np.array([BLACK, WRONG, MISSED, WHITE])[outcome.numpy()]
            return _grey_out(picture, prediction.valid & truth.valid)
        case Boxes(), Boxes():
            ground = np.zeros((*truth.size, 3), np.uint8)
            return _draw_boxes(_draw_boxes(ground, truth, MISSED), prediction, WRONG)
    raise DataError(f"Cannot compare a {type(prediction).__name__} with a {type(truth).__name__}.")


def legend(annotation: Annotation) -> Legend:
    """What the colours of `colour(annotation)` mean; of labels and boxes, the classes that occur."""
    match annotation:
        case Depth():
            return ("near", _heat("Spectral", 0.0)), ("far", _heat("Spectral", 1.0)), ("no depth", INVALID)
        case Normals():
            return ("to the right", (255, 128, 128)), ("up", (128, 255, 128)), ("to us", (128, 128, 255))
        case Labels() | Boxes():
            seen = annotation.ids[annotation.valid].unique().tolist()
            names = [annotation.classes[i] if i < len(annotation.classes) else str(i) for i in seen]
            colours = label_colours(IGNORE)[seen].tolist()
            return tuple((name, (r, g, b)) for name, (r, g, b) in zip(names, colours, strict=True))
        case Mask():
            return ("inside", WHITE), ("outside", BLACK)
    return ()


def error_legend(truth: Annotation) -> Legend:
    """What the colours of `error_map` mean for this kind of truth."""
    exact, worst = ("exact", _heat("inferno", 0.0)), _heat("inferno", 1.0)
    match truth:
        case Depth():
            return exact, (f"off by {WORST_DEPTH:.0%} or more", worst)
        case Normals():
            return exact, (f"off by {WORST_ANGLE_DEG:.0f}° or more", worst)
        case Labels():
            return ("right", RIGHT), ("wrong", WRONG), ("not labelled", INVALID)
        case Mask():
            return ("hit", WHITE), ("extra", WRONG), ("missed", MISSED)
        case Boxes():
            return ("truth", MISSED), ("prediction", WRONG)
    return ()


def contact_sheet(
    rows: Sequence[Sequence[Picture]],
    titles: Sequence[str] = (),
    captions: Sequence[str] = (),
    cell_px: int = 192,
) -> Picture:
    """Pictures in rows on white, each fitted into a square cell.

    A title stands over each column, a caption under each row. Small pictures are enlarged without smoothing,
    so that single pixels can be seen.
    """
    gap, line = 8, 20
    cells = [[_fit(picture, cell_px) for picture in row] for row in rows]
    heights = [max((cell.height for cell in row), default=0) for row in cells]
    width = gap + max((len(row) for row in cells), default=0) * (cell_px + gap)
    top = gap + (line if titles else 0)
    height = top + sum(heights) + len(cells) * (gap + (line if captions else 0))
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        _write(draw, title, gap + column * (cell_px + gap), gap // 2, cell_px)
    for index, row in enumerate(cells):
        for column, cell in enumerate(row):
            sheet.paste(cell, (gap + column * (cell_px + gap), top))
        top += heights[index] + gap
        if captions:
            _write(draw, captions[index], gap, top - gap // 2, width - 2 * gap)
            top += line
    return np.asarray(sheet)


def _fit(picture: np.ndarray, cell_px: int) -> Image.Image:
    smooth = max(picture.shape[:2]) > cell_px
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    scale = cell_px / max(picture.shape[:2])
    height, width = (max(round(side * scale), 1) for side in picture.shape[:2])
    return Image.fromarray(picture).resize((width, height), how)


def _write(draw: ImageDraw.ImageDraw, text: str, left: int, top: int, room: int) -> None:
    """One line of text, cut to the room there is."""
    font = ImageFont.load_default(12)
    text = " ".join(text.split())
    while len(text) > 1 and font.getlength(text) > room:
        text = text[:-2] + "…"
    draw.text((left, top), text, fill=(32, 36, 42), font=font)


def _draw_boxes(ground: np.ndarray, boxes: Boxes, paint: Colour | None = None) -> np.ndarray:
    """Outlines in their classes' colours, with names where there is room; or all in `paint`, without."""
    picture = Image.fromarray(ground)
    draw = ImageDraw.Draw(picture)
    thickness = max(1, round(min(boxes.size) / 160))
    kept = boxes.valid & (boxes.xyxy[:, 2:] > boxes.xyxy[:, :2]).all(dim=1)
    for (x0, y0, x1, y1), index in zip(boxes.xyxy[kept].tolist(), boxes.ids[kept].tolist(), strict=True):
        r, g, b = paint or label_colours(IGNORE)[index % IGNORE].tolist()
        # The last pixel inside a half-open box is one before its end.
        outline = (round(x0), round(y0), max(round(x1) - 1, round(x0)), max(round(y1) - 1, round(y0)))
        draw.rectangle(outline, outline=(r, g, b), width=thickness)
        if paint is None and index < len(boxes.classes) and min(boxes.size) >= 160:
            font, (x, y) = ImageFont.load_default(11), outline[:2]
            draw.rectangle((x, y, x + font.getlength(boxes.classes[index]) + 5, y + 14), fill=(r, g, b))
            draw.text((x + 3, y + 1), boxes.classes[index], fill=BLACK, font=font)
    return np.asarray(picture)


def _share_of_range(depth: Depth, near: float, far: float) -> Tensor:
    values = depth.values
    if depth.gauge in ("metres", "scale") and near > 0:
        near, far, values = math.log(near), math.log(far), values.clamp(min=near).log()
    share = (values - near) / max(far - near, 1e-12)
    return 1 - share if depth.gauge == "affine-disparity" else share


def _colour_map(name: str, share: Tensor) -> np.ndarray:
    """A matplotlib colour map over shares in [0, 1]; what lies outside takes the nearest end."""
    from matplotlib import colormaps

    clamped = torch.nan_to_num(share.detach().float()).clamp(0, 1)
    return colormaps[name](clamped.numpy(), bytes=True)[..., :3]


def _heat(name: str, share: float) -> Colour:
    r, g, b = _colour_map(name, torch.tensor([share]))[0].tolist()
    return r, g, b


def _grey_out(picture: np.ndarray, valid: Tensor) -> np.ndarray:
    return np.where(valid.numpy()[..., None], picture, INVALID).astype(np.uint8)


def _single(annotation: Annotation) -> Annotation:
    axes = 1 if isinstance(annotation, Boxes) else 2
    if annotation.valid.ndim != axes:  # type: ignore[attr-defined]
        raise DataError(f"Cannot draw a batch of {type(annotation).__name__}; take one item of it, as in batch[0].")
    return annotation.to("cpu")


def _refuse_sizes(size: tuple[int, ...], other: tuple[int, ...]) -> None:
    if size != other:
        raise DataError(f"Sizes differ: {size[1]}x{size[0]} and {other[1]}x{other[0]} pixels; resize one of them.")


def _oklab(rgb: np.ndarray) -> np.ndarray:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    to_lab = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.cbrt(linear @ np.array(to_cones).T) @ np.array(to_lab).T
