"""The truths that a picture can have, and the pictures that carry them.

Five kinds of annotation, all frozen, all knowing their unit, which of their pixels are valid, and how
they flip, crop and resize. Every tensor may carry leading batch axes; pixels are the last two.

Conventions (`docs/conventions.md`): images are [3 h w] floats in [0, 1]; depth is measured along z;
normals are unit vectors in the camera frame x right, y up, z towards the viewer; label 255 is ignored;
boxes are xyxy in pixels, half open, with (0, 0) the upper left corner of the upper left pixel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from .errors import DataError, UsageError
from .vectors import lengths, unit

IGNORE = 255
"""The label of pixels that nobody labelled."""

Gauge = Literal["metres", "scale", "affine", "affine-disparity", "affine-log"]
"""What a depth map is known up to: nothing, a factor, a factor and a shift, the same of 1/depth or log depth."""


Kind = TypeVar("Kind", bound="Annotation")


class Annotation:
    """What the five kinds share: a size, a flip, a crop, a resize, and batching by stacking tensors."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        raise NotImplementedError

    def flip(self: Kind) -> Kind:
        """Mirrored left to right."""
        raise NotImplementedError

    def crop(self: Kind, top: int, left: int, height: int, width: int) -> Kind:
        """The window whose upper left pixel is (top, left)."""
        raise NotImplementedError

    def resize(self: Kind, height: int, width: int) -> Kind:
        raise NotImplementedError

    def blank(self: Kind) -> Kind:
        """Of the same kind and size, with nothing known."""
        return replace(self, **{name: torch.zeros_like(t) for name, t in self.tensors().items()})  # type: ignore[type-var]

    def without(self: Kind, pixels: Bool[Tensor, "*b h w"]) -> Kind:
        """The same with nothing known at these pixels. Raises `UsageError` for boxes, which have none."""
        unknown = self.blank().tensors()

        def kept(name: str, tensor: Tensor) -> Tensor:
            places = pixels if tensor.ndim == pixels.ndim else pixels[..., None, :, :]
            return torch.where(places, unknown[name], tensor)

        # What is told of things, not of pixels, stays.
        changed = {name: kept(name, tensor) for name, tensor in self.tensors().items() if name in unknown}
        return replace(self, **changed)  # type: ignore[type-var]

    def tensors(self) -> dict[str, Tensor]:
        """The tensor fields by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def to(self: Kind, device: torch.device | str) -> Kind:
        return replace(self, **{name: t.to(device) for name, t in self.tensors().items()})  # type: ignore[type-var]

    def __getitem__(self: Kind, index: int | slice | Tensor) -> Kind:
        """One item, a slice, or some places of a batch."""
        return replace(self, **{name: t[index] for name, t in self.tensors().items()})  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Depth(Annotation):
    """Distance along z. `values` are metres or, under another gauge, known up to that gauge; near is small
    (except under `affine-disparity`, where near is large)."""

    values: Float[Tensor, "*b h w"]
    valid: Bool[Tensor, "*b h w"]
    gauge: Gauge = "metres"

    @classmethod
    def of(cls, values: Tensor, gauge: Gauge = "metres") -> Depth:
        """From a map in which zero, negative and non-finite values mean "not measured"."""
        valid = torch.isfinite(values) & (values > 0)
        return cls(torch.where(valid, values, 0.0), valid, gauge)

    @property
    def size(self) -> tuple[int, int]:
        return _size(self.values)

    def flip(self) -> Depth:
        return replace(self, values=self.values.flip(-1), valid=self.valid.flip(-1))

    def crop(self, top: int, left: int, height: int, width: int) -> Depth:
        window = _window(self.size, top, left, height, width)
        return replace(self, values=self.values[window], valid=self.valid[window])

    def resize(self, height: int, width: int) -> Depth:
        values, valid = _resize_valid(self.values[..., None, :, :], self.valid, height, width)
        return replace(self, values=values[..., 0, :, :], valid=valid)


@dataclass(frozen=True, eq=False)
class Normals(Annotation):
    """Unit surface normals in the camera frame x right, y up, z towards the viewer; zero where invalid."""

    vectors: Float[Tensor, "*b 3 h w"]
    valid: Bool[Tensor, "*b h w"]

    @classmethod
    def of(cls, vectors: Tensor) -> Normals:
        """From vectors of any length; those without a direction become invalid."""
        length = lengths(vectors)
        valid = torch.isfinite(length) & (length > 0.5)
        return cls(torch.where(valid[..., None, :, :], unit(torch.nan_to_num(vectors)), 0.0), valid)

    @property
    def size(self) -> tuple[int, int]:
        return _size(self.vectors)

    def flip(self) -> Normals:
        mirror = self.vectors.new_tensor([-1.0, 1.0, 1.0])[:, None, None]
        return replace(self, vectors=unit(self.vectors.flip(-1) * mirror), valid=self.valid.flip(-1))

    def crop(self, top: int, left: int, height: int, width: int) -> Normals:
        window = _window(self.size, top, left, height, width)
        return replace(self, vectors=self.vectors[window], valid=self.valid[window])

    def resize(self, height: int, width: int) -> Normals:
        """Stretching a picture unevenly tilts no surface in it, so directions stay and only lengths are mended."""
        vectors, valid = _resize_valid(self.vectors, self.valid, height, width)
        # Where opposite directions cancel there is none.
        valid = valid & (lengths(vectors) > 1e-3)
        return replace(self, vectors=torch.where(valid[..., None, :, :], unit(vectors), 0.0), valid=valid)


@dataclass(frozen=True, eq=False)
class Labels(Annotation):
    """One class per pixel; `IGNORE` where none is known. `classes` names them in order.

    Without classes the ids are those of single things, 0 none; predictions may tell by `scores` in [0, 1] how sure
    they are of each, that of the thing k at k - 1.
    """

    ids: Int64[Tensor, "*b h w"]
    classes: tuple[str, ...]
    scores: Float[Tensor, "*b n"] | None = None

    @property
    def valid(self) -> Tensor:
        return self.ids != IGNORE

    @property
    def size(self) -> tuple[int, int]:
        return _size(self.ids)

    def flip(self) -> Labels:
        """A mirrored left arm is a right one, where both are classes."""
        other = mirrored_classes(self.classes)
        ids = self.ids.flip(-1)
        if other != tuple(range(len(other))):
            known = (ids >= 0) & (ids < len(other))
            ids = torch.where(known, ids.new_tensor(other)[torch.where(known, ids, 0)], ids)
        return replace(self, ids=ids)

    def crop(self, top: int, left: int, height: int, width: int) -> Labels:
        return replace(self, ids=self.ids[_window(self.size, top, left, height, width)])

    def resize(self, height: int, width: int) -> Labels:
        return replace(self, ids=_resize_nearest(self.ids, height, width))

    def blank(self) -> Labels:
        return replace(self, ids=torch.full_like(self.ids, IGNORE), scores=None)


@dataclass(frozen=True, eq=False)
class Mask(Annotation):
    """What belongs to one thing: a truth is 0 or 1, a prediction anything between."""

    probability: Float[Tensor, "*b h w"]
    valid: Bool[Tensor, "*b h w"]

    @classmethod
    def of(cls, inside: Tensor) -> Mask:
        return cls(inside.float(), torch.ones_like(inside, dtype=torch.bool))

    @property
    def inside(self) -> Tensor:
        return self.probability >= 0.5

    @property
    def size(self) -> tuple[int, int]:
        return _size(self.probability)

    def flip(self) -> Mask:
        return replace(self, probability=self.probability.flip(-1), valid=self.valid.flip(-1))

    def crop(self, top: int, left: int, height: int, width: int) -> Mask:
        window = _window(self.size, top, left, height, width)
        return replace(self, probability=self.probability[window], valid=self.valid[window])

    def resize(self, height: int, width: int) -> Mask:
        return replace(
            self,
            probability=_resize_nearest(self.probability, height, width),
            valid=_resize_nearest(self.valid, height, width),
        )


@dataclass(frozen=True, eq=False)
class Boxes(Annotation):
    """Rectangles xyxy in pixels, half open, each with a class and a score; `valid` is False for padding."""

    xyxy: Float[Tensor, "*b n 4"]
    ids: Int64[Tensor, "*b n"]
    scores: Float[Tensor, "*b n"]
    valid: Bool[Tensor, "*b n"]
    image_size: tuple[int, int]
    classes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.image_size

    def flip(self) -> Boxes:
        x0, y0, x1, y1 = self.xyxy.unbind(-1)
        width = self.image_size[1]
        return replace(self, xyxy=torch.stack([width - x1, y0, width - x0, y1], dim=-1))

    def crop(self, top: int, left: int, height: int, width: int) -> Boxes:
        """Boxes are cut at the window's edge; those wholly outside become padding."""
        _window(self.image_size, top, left, height, width)
        moved = self.xyxy - self.xyxy.new_tensor([left, top, left, top])
        cut = torch.minimum(moved.clamp(min=0), moved.new_tensor([width, height, width, height]))
        seen = (cut[..., 2] > cut[..., 0]) & (cut[..., 3] > cut[..., 1])
        return replace(self, xyxy=cut, valid=self.valid & seen, image_size=(height, width))

    def resize(self, height: int, width: int) -> Boxes:
        sy, sx = height / self.image_size[0], width / self.image_size[1]
        return replace(self, xyxy=self.xyxy * self.xyxy.new_tensor([sx, sy, sx, sy]), image_size=(height, width))

    def without(self, pixels: Bool[Tensor, "*b h w"]) -> Boxes:
        raise UsageError("Boxes cannot be known in part; take a confidence of 0.")


def box_instances(ids: Int64[Tensor, "h w"]) -> Boxes:
    """The tight box of every instance, in the order of their ids; 0 and `IGNORE` are none. All of one class."""
    found = [i for i in ids.unique().tolist() if i not in (0, IGNORE)]
    rows = []
    for i in found:
        y, x = (ids == i).nonzero().unbind(1)
        rows.append([int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1])
    count = len(found)
    return Boxes(
        torch.tensor(rows, dtype=torch.float32).reshape(-1, 4),
        torch.zeros(count, dtype=torch.int64),
        torch.ones(count),
        torch.ones(count, dtype=torch.bool),
        (ids.shape[0], ids.shape[1]),
    )


def box_iou(a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of boxes xyxy; 0 for boxes without an area."""
    low, high = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = _area(a)[:, None] + _area(b) - shared
    return torch.where(union > 0, shared / union.clamp(min=1e-9), 0.0)


def stack(items: Sequence[Kind]) -> Kind:
    """Batch annotations of one kind, size and gauge along a new first axis. Boxes are padded to the longest list.

    Raises `DataError` where the items differ in anything that a batch must share.
    """
    if not items:
        raise DataError("Nothing to batch: the list of annotations is empty.")
    first = items[0]
    longest = max((len(i.ids) for i in items if isinstance(i, Boxes)), default=0)
    rows = [_pad_boxes(i, longest).tensors() if isinstance(i, Boxes) else i.tensors() for i in items]
    shared = {f.name for f in fields(first)} - set(rows[0])  # type: ignore[arg-type]
    for item in items[1:]:
        if type(item) is not type(first) or any(getattr(item, n) != getattr(first, n) for n in shared):
            raise DataError(f"Cannot batch {_about(item, shared)} with {_about(first, shared)}; make them alike first.")
    if len({tuple(t.shape for t in row.values()) for row in rows}) > 1:
        sizes = sorted({f"{i.size[1]}x{i.size[0]}" for i in items})
        raise DataError(f"Cannot batch annotations of sizes {', '.join(sizes)}; resize or crop them to one size.")
    return replace(first, **{name: torch.stack([row[name] for row in rows]) for name in rows[0]})  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Query:
    """What a predictor is given: a picture, what is asked about it, and a name that its random numbers hang on.

    `avoid` is what the text was, or may be, confused with: "the left one". Predictions keep away from it. `mirrored`
    tells a mirror image from the picture of the same name.
    """

    image: Float[Tensor, "3 h w"]
    text: str = ""
    key: str = ""
    avoid: tuple[str, ...] = ()
    mirrored: bool = False

    @property
    def size(self) -> tuple[int, int]:
        return _size(self.image)

    def flip(self) -> Query:
        avoid = tuple(map(mirror_words, self.avoid))
        image, text = self.image.flip(-1), mirror_words(self.text)
        return replace(self, image=image, text=text, avoid=avoid, mirrored=not self.mirrored)

    def crop(self, top: int, left: int, height: int, width: int) -> Query:
        return replace(self, image=self.image[_window(self.size, top, left, height, width)])

    def resize(self, height: int, width: int) -> Query:
        return replace(self, image=resize_image(self.image, height, width))


@dataclass(frozen=True, eq=False)
class Sample:
    """A query with its truths, by name ("depth", "normals", "semantic", ...). Predictors only ever see the query.

    `phrases` holds, by a truth's name, the words that it answers to where they are not the query's own: a
    picture's text is its caption, its "mask" answers to "the red box". Where it is not `labelled` its truths are blank,
    and stand for answers that are still to be given.
    """

    query: Query
    truths: Mapping[str, Annotation] = field(default_factory=dict)
    phrases: Mapping[str, str] = field(default_factory=dict)
    labelled: bool = True

    @property
    def image(self) -> Tensor:
        return self.query.image

    @property
    def key(self) -> str:
        return self.query.key

    @property
    def size(self) -> tuple[int, int]:
        return self.query.size

    def asked(self, truth: str) -> Query:
        """The query for one truth, in the words that it answers to."""
        return replace(self.query, text=self.phrases.get(truth, self.query.text))

    def only(self, truths: Iterable[str]) -> Sample:
        """With some of its truths alone, and their phrases."""
        kept = {name: self.truths[name] for name in truths}
        return replace(self, truths=kept, phrases={name: said for name, said in self.phrases.items() if name in kept})

    def flip(self) -> Sample:
        truths = {name: t.flip() for name, t in self.truths.items()}
        phrases = {name: mirror_words(words) for name, words in self.phrases.items()}
        return replace(self, query=self.query.flip(), truths=truths, phrases=phrases)

    def crop(self, top: int, left: int, height: int, width: int) -> Sample:
        window = (top, left, height, width)
        truths = {name: t.crop(*window) for name, t in self.truths.items()}
        return replace(self, query=self.query.crop(*window), truths=truths)

    def resize(self, height: int, width: int) -> Sample:
        truths = {name: t.resize(height, width) for name, t in self.truths.items()}
        return replace(self, query=self.query.resize(height, width), truths=truths)


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of one size, stacked: images [b 3 h w], and truths with a leading batch axis.

    `labelled` tells whose truths are known; where nothing is said, all are. `mirrored` tells which are mirror images;
    where nothing is said, none is.
    """

    images: Float[Tensor, "b 3 h w"]
    texts: tuple[str, ...]
    keys: tuple[str, ...]
    truths: Mapping[str, Annotation]
    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labelled: tuple[bool, ...] = ()
    mirrored: tuple[bool, ...] = ()

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Batch:
        """Raises `DataError` where sizes differ or a sample lacks a truth that the first one has."""
        if not samples:
            raise DataError("Nothing to batch: the list of samples is empty.")
        sizes = sorted({f"{s.size[1]}x{s.size[0]}" for s in samples})
        if len(sizes) > 1:
            raise DataError(f"Cannot batch images of sizes {', '.join(sizes)}; resize or crop them to one size.")
        names = samples[0].truths
        for sample in samples:
            if missing := set(names) - set(sample.truths):
                raise DataError(f"Sample {sample.key!r} has no truth named {', '.join(sorted(missing))}.")
        spoken = dict.fromkeys(name for s in samples for name in s.phrases)
        return cls(
            torch.stack([s.image for s in samples]),
            tuple(s.query.text for s in samples),
            tuple(s.key for s in samples),
            {name: stack([s.truths[name] for s in samples]) for name in names},
            {name: tuple(s.asked(name).text for s in samples) for name in spoken},
            tuple(s.labelled for s in samples),
            tuple(s.query.mirrored for s in samples),
        )

    def take(self, rows: Sequence[int]) -> Batch:
        """The samples at these places."""
        places = torch.tensor(rows, dtype=torch.long, device=self.images.device)
        return Batch(
            self.images[places],
            tuple(self.texts[i] for i in rows),
            tuple(self.keys[i] for i in rows),
            {name: truth[places] for name, truth in self.truths.items()},
            {name: tuple(said[i] for i in rows) for name, said in self.phrases.items()},
            tuple(self.labelled[i] for i in rows) if self.labelled else (),
            tuple(self.mirrored[i] for i in rows) if self.mirrored else (),
        )

    @property
    def unlabelled(self) -> list[int]:
        """The places of samples whose truths are not known."""
        return [place for place, known in enumerate(self.labelled) if not known]

    def flip(self) -> Batch:
        """Mirrored left to right, as `Sample.flip`."""
        return replace(
            self,
            images=self.images.flip(-1),
            texts=tuple(map(mirror_words, self.texts)),
            truths={name: truth.flip() for name, truth in self.truths.items()},
            phrases={name: tuple(map(mirror_words, said)) for name, said in self.phrases.items()},
            mirrored=tuple(not mirrored for _, mirrored in self.names),
        )

    @property
    def names(self) -> list[tuple[str, bool]]:
        """Of its pictures, in which a mirror image is another one: (key, mirrored)."""
        return list(zip(self.keys, self.mirrored or (False,) * len(self), strict=True))

    def words(self, truth: str) -> tuple[str, ...]:
        """Each sample's text, in the words that this truth answers to."""
        return self.phrases.get(truth, self.texts)

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device | str) -> Batch:
        truths = {name: t.to(device) for name, t in self.truths.items()}
        return replace(self, images=self.images.to(device), truths=truths)


def mirrored_classes(classes: Sequence[str]) -> tuple[int, ...]:
    """For each class the place of what its things are in a mirror image: mostly its own."""
    places = {name.lower(): place for place, name in enumerate(classes)}
    return tuple(places.get(mirror_words(name).lower(), place) for place, name in enumerate(classes))


def mirror_words(text: str) -> str:
    """Swap "left" and "right" as whole words: a mirrored picture makes "the left box" the right one."""
    swap = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
    return re.sub(r"\b(leftmost|rightmost|left|right)\b", lambda m: swap[m.group().lower()], text, flags=re.IGNORECASE)


def resize_image(image: Float[Tensor, "*b c h w"], height: int, width: int) -> Float[Tensor, "*b c h2 w2"]:
    """Bilinear with anti-aliasing when shrinking. The same size comes back untouched."""
    if _size(image) == (height, width):
        return image
    flat = image.reshape(-1, *image.shape[-3:])
    out = F.interpolate(flat, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return out.reshape(*image.shape[:-2], height, width)


def _size(pixels: Tensor) -> tuple[int, int]:
    return pixels.shape[-2], pixels.shape[-1]


def _window(size: tuple[int, int], top: int, left: int, height: int, width: int) -> tuple[Any, ...]:
    h, w = size
    if top < 0 or left < 0 or height < 1 or width < 1 or top + height > h or left + width > w:
        raise DataError(f"A {width}x{height} window at column {left}, row {top} does not lie in {w}x{h} pixels.")
    return (..., slice(top, top + height), slice(left, left + width))


def _resize_valid(values: Tensor, valid: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Interpolate [*b c h w] values so that invalid pixels lend nothing to their neighbours."""
    if _size(values) == (height, width):
        return values, valid
    weight = valid[..., None, :, :].to(values.dtype)
    share = resize_image(weight, height, width)
    mixed = resize_image(torch.where(weight > 0, values, 0.0), height, width)
    kept = share > 0.5
    return torch.where(kept, mixed / share.clamp(min=1e-6), 0.0), kept[..., 0, :, :]


def _resize_nearest(pixels: Tensor, height: int, width: int) -> Tensor:
    if _size(pixels) == (height, width):
        return pixels
    h, w = _size(pixels)
    rows = ((torch.arange(height, device=pixels.device) + 0.5) * h / height).long().clamp(max=h - 1)
    columns = ((torch.arange(width, device=pixels.device) + 0.5) * w / width).long().clamp(max=w - 1)
    return pixels[..., rows[:, None], columns]


def _pad_boxes(boxes: Boxes, count: int) -> Boxes:
    short = count - len(boxes.ids)
    return replace(
        boxes,
        xyxy=F.pad(boxes.xyxy, (0, 0, 0, short)),
        ids=F.pad(boxes.ids, (0, short), value=IGNORE),
        scores=F.pad(boxes.scores, (0, short)),
        valid=F.pad(boxes.valid, (0, short)),
    )


def _about(item: Annotation, shared: set[str]) -> str:
    return f"{type(item).__name__}({', '.join(f'{n}={getattr(item, n, None)!r}' for n in sorted(shared))})"


def _area(boxes: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(-1)
