"""COCO panoptic (Kirillov et al., CVPR 2019): classes and things of everyday photographs, and phrases about them.

Three layouts are understood:

image/ segment/ segments.json     a picture's segments are numbered 1, 2, ... in segment/NAME.png
annotations/panoptic_val2017.json beside annotations/panoptic_val2017/NAME.png, in which a segment's number is
                                  red + 256 green + 65536 blue, and val2017/NAME.jpg; train2017 likewise
annotations/panoptic.json         beside panoptic/ and images/, as `data export` writes it: pictures have keys, and
                                  captions in annotations/captions.json if there are any

The truth "mask" turns pictures into pairs of a picture and a phrase: an item's key is then NAME#PHRASE, so that a
list of keys says which phrases were asked. The phrases are composed (`data.referring`); they are not RefCOCO's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ...annotations import IGNORE, Annotation, Boxes, Labels, Mask, Query, Sample
from ...errors import DataError, shortlist
from ..archive import FilePath
from ..images import load, read_image
from ..info import DatasetInfo, read_info, read_json
from ..problem import bad_file
from ..referring import Expression, Thing, compose
from .folder import UNTOLD, FolderReader, bare_reader
from .layout import Index, Item, TruthFile
from .splits import select

PLAIN = ("semantic", "instances", "boxes")
"""The truths of every picture; "mask" is had by asking for it."""

_PANOPTIC = re.compile(r"panoptic_((train|val)\d*)\.json")


@dataclass(frozen=True)
class Segment:
    """`category` is an index into the reader's categories. A crowd is several things that nobody told apart."""

    number: int
    category: int
    crowd: bool


@dataclass(frozen=True)
class Category:
    name: str
    is_thing: bool


@dataclass(frozen=True)
class Coco:
    """What lies in a folder: items by split, their segments by picture, and all categories."""

    parts: Mapping[str, Index]
    segments: Mapping[FilePath, tuple[Segment, ...]]
    categories: tuple[Category, ...]


@dataclass(frozen=True)
class CocoReader:
    """Samples of one split, read from disk each time they are asked for."""

    items: tuple[tuple[Item, Expression | None], ...]
    truths: tuple[str, ...]
    coco: Coco
    notes: tuple[str, ...] = ()
    name: str = "coco"
    info: DatasetInfo = UNTOLD

    @property
    def pictures(self) -> FolderReader:
        """The pictures of the split, each once, without truths."""
        return bare_reader(self.name, list({item.key: item for item, _ in self.items}.values()), self.notes, self.info)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(_key(item, expression) for item, expression in self.items)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.coco.categories) if "semantic" in self.truths else ()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Sample:
        """Raises `DataError` for a file that is missing, damaged, or of another size than its picture."""
        item, expression = self.items[i]
        query = Query(read_image(item.image), item.text, _key(item, expression))
        numbers = _read_numbers(item, self.coco)
        if query.size != tuple(numbers.shape):
            (h, w), (height, width) = numbers.shape, query.size
            says = f"is {w}x{h} but {item.image} is {width}x{height}"
            raise bad_file(_path(item), "wrong size", says, "bring them to one size")
        truths = {truth: self._truth(truth, numbers, item, expression) for truth in self.truths}
        return Sample(query, truths, {"mask": expression.text} if expression else {})

    def _truth(
        self, truth: str, numbers: Int64[Tensor, "h w"], item: Item, expression: Expression | None
    ) -> Annotation:
        segments, categories = self.coco.segments[item.image], self.coco.categories
        if truth == "mask":
            return Mask.of(numbers == (expression.target if expression else -1))
        if truth == "boxes":
            return _boxes(numbers, segments, categories)
        if truth == "semantic":
            values = {s.number: s.category for s in segments}
            return Labels(_map(numbers, values), tuple(c.name for c in categories))
        things = [s for s in segments if categories[s.category].is_thing]
        single = {s.number: n for n, s in enumerate((s for s in things if not s.crowd), 1)}
        crowds = {s.number: IGNORE for s in things if s.crowd}
        stuff = {s.number: 0 for s in segments if s not in things}
        return Labels(_map(numbers, single | crowds | stuff), ())


def is_coco(root: Path) -> bool:
    return ((root / "segments.json").is_file() and (root / "segment").is_dir()) or bool(_standard_files(root))


def read_coco(root: Path, split: str, truths: Sequence[str] = ()) -> CocoReader:
    """The pictures of `root` in `split`, with all of `PLAIN` where no truths are named.

    With "mask" among them each of its phrases is an item of its own, and every segment picture is read once to find
    them. Raises `DataError` where a truth is not among these or the split has nothing.
    """
    if unknown := set(truths) - {*PLAIN, "mask"}:
        raise DataError(f"{root} has no truth {shortlist(sorted(unknown))}; it has {', '.join(PLAIN)} and mask.")
    coco = _standard(root) if _standard_files(root) else _numbered(root)
    chosen, note = select(root, coco.parts, split)
    names = tuple(truths) or PLAIN
    items: list[tuple[Item, Expression | None]] = [(item, None) for item in chosen]
    notes = [note]
    if "mask" in names:
        items = [(item, expression) for item in chosen for expression in _expressions(item, coco)]
        silent = len(chosen) - len({item.key for item, _ in items})
        notes.append(f"{len(items)} phrases; nothing could be said beyond doubt about {silent} pictures.")
    if not items:
        raise DataError(f"Nothing can be said beyond doubt about the pictures in split {split!r} of {root}.")
    return CocoReader(tuple(items), names, coco, tuple(filter(None, notes)), info=read_info(root))


def _numbered(root: Path) -> Coco:
    content = read_json(root / "segments.json")
    with _expecting(root / "segments.json"):
        categories, index = _categories(content["categories"])
        rows = sorted(content["images"], key=lambda row: row["file"])
        items = [
            _item(row["file"], root / "image" / f"{row['file']}.jpg", root / "segment" / f"{row['file']}.png")
            for row in rows
        ]
        segments = {item.image: _segments(row["segments"], index) for item, row in zip(items, rows, strict=True)}
    return Coco({"": Index(tuple(items))}, segments, categories)


def _standard(root: Path) -> Coco:
    parts: dict[str, Index] = {}
    segments: dict[FilePath, tuple[Segment, ...]] = {}
    categories: tuple[Category, ...] = ()
    for path, folder, drawn, split in _standard_files(root):
        content = read_json(path)
        captions = {} if split else _captions(path.with_name("captions.json"))
        with _expecting(path):
            categories, index = _categories(content["categories"])
            images = {image["id"]: image for image in content["images"]}
            items = []
            for row in content["annotations"]:
                told = images[row["image_id"]]
                image = root / folder / told["file_name"]
                key, text = str(told.get("key") or image.stem), captions.get(row["image_id"], "")
                items.append(_item(key, image, drawn / row["file_name"], text))
                segments[image] = _segments(row["segments_info"], index)
        parts[split] = Index(tuple(sorted(items, key=lambda item: item.key)))
    return Coco(parts, segments, categories)


def _standard_files(root: Path) -> list[tuple[Path, str, Path, str]]:
    """Each panoptic JSON with the folders of its photographs and segments and its split; a single one may have none."""
    found = ((path, _PANOPTIC.fullmatch(path.name)) for path in sorted((root / "annotations").glob("panoptic_*.json")))
    by_split = [(path, match.group(1), path.with_suffix(""), match.group(2)) for path, match in found if match]
    single = root / "annotations" / "panoptic.json"
    return by_split or ([(single, "images", root / "panoptic", "")] if single.is_file() else [])


def _captions(path: Path) -> dict[int, str]:
    """The first caption of each picture by its number."""
    if not path.is_file():
        return {}
    with _expecting(path):
        return {row["image_id"]: row["caption"] for row in reversed(read_json(path)["annotations"])}


@contextmanager
def _expecting(path: Path) -> Iterator[None]:
    """What a JSON of another form runs into becomes a `DataError` that names the file."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        says = f"is not COCO's panoptic form ({type(error).__name__}: {error})"
        raise bad_file(path, "metadata", says, "download or export it again") from error


def _categories(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[Category, ...], dict[int, int]]:
    """All categories in the order of their numbers, and the index of each by its number."""
    rows = sorted(rows, key=lambda row: row["id"])
    return tuple(Category(r["name"], bool(r["isthing"])) for r in rows), {r["id"]: i for i, r in enumerate(rows)}


def _segments(rows: Sequence[Mapping[str, Any]], index: Mapping[int, int]) -> tuple[Segment, ...]:
    return tuple(Segment(r["id"], index[r["category_id"]], bool(r.get("iscrowd"))) for r in rows)


def _item(key: str, image: Path, segments: Path, text: str = "") -> Item:
    return Item(key, image, {"segments": TruthFile(segments)}, text)


def _path(item: Item) -> FilePath:
    return item.truths["segments"].path


def _key(item: Item, expression: Expression | None) -> str:
    return f"{item.key}#{expression.text.replace(' ', '-')}" if expression else item.key


def _read_numbers(item: Item, coco: Coco) -> Int64[Tensor, "h w"]:
    """The segment of each pixel, 0 none. Raises `DataError` for one that the list does not have."""
    path = _path(item)
    picture = np.asarray(load(path)).astype(np.int64)
    numbers = picture if picture.ndim == 2 else picture[..., :3] @ np.array([1, 256, 65536])
    if strange := set(np.unique(numbers).tolist()) - {0, *(s.number for s in coco.segments[item.image])}:
        says = f"has the segments {shortlist(sorted(strange))}, which its JSON does not list"
        raise bad_file(path, "label out of range", says, "download or export both again")
    return torch.from_numpy(numbers)


def _map(numbers: Int64[Tensor, "h w"], values: Mapping[int, int]) -> Int64[Tensor, "h w"]:
    """`values` of the numbers, `IGNORE` for those without one."""
    present, place = numbers.unique(return_inverse=True)
    return torch.tensor([values.get(number, IGNORE) for number in present.tolist()])[place]


def _things(segments: Sequence[Segment], categories: Sequence[Category]) -> Iterator[Segment]:
    return (s for s in segments if categories[s.category].is_thing)


def _boxes(numbers: Int64[Tensor, "h w"], segments: Sequence[Segment], categories: Sequence[Category]) -> Boxes:
    """The tight box of each single thing; classes are the categories of things."""
    classes = tuple(c.name for c in categories if c.is_thing)
    rows, ids = [], []
    for segment in _things(segments, categories):
        y, x = (numbers == segment.number).nonzero().unbind(1)
        if len(x) and not segment.crowd:
            rows.append([int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1])
            ids.append(classes.index(categories[segment.category].name))
    return Boxes.of(rows, ids, (numbers.shape[0], numbers.shape[1]), classes)


def _expressions(item: Item, coco: Coco) -> tuple[Expression, ...]:
    numbers, segments = _read_numbers(item, coco), coco.segments[item.image]
    width = numbers.shape[1]
    things, uncertain = [], []
    for segment in _things(segments, coco.categories):
        kind = coco.categories[segment.category].name
        columns = (numbers == segment.number).nonzero()[:, 1]
        if segment.crowd:
            uncertain.append(kind)
        elif len(columns):
            area, x = len(columns) / numbers.numel(), float(columns.double().mean() + 0.5) / width
            ends = int(columns.min()) / width, (int(columns.max()) + 1) / width
            things.append(Thing(segment.number, kind, area, x, *ends))
    return compose(things, uncertain)
