"""What a user brings: a folder of pictures with truths beside them, in one of the layouts of `layout.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ...annotations import IGNORE, Annotation, Query, Sample
from ...errors import DataError, shortlist
from ..arrays import read_integers
from ..files import default_table, read_annotation
from ..images import IMAGE_SUFFIXES, image_size, read_image
from ..info import DatasetInfo, LabelTable, read_info
from ..problem import Problem
from .layout import LAYOUTS, Index, Item
from .splits import indices, select, split_folders

UNTOLD = DatasetInfo()
"""Of a folder that says nothing of its files."""


@dataclass(frozen=True)
class FolderReader:
    """Samples of one split of a folder, read from disk each time they are asked for."""

    name: str
    items: tuple[Item, ...]
    truths: tuple[str, ...]
    """The truths that every item has."""
    stated: DatasetInfo
    every: tuple[Item, ...]
    """The items of all splits: where nothing names the classes, all of them tell how many there are."""
    told: tuple[str, ...] = ()
    whole: tuple[Item, ...] = ()
    """All items of the split: some may be no samples, since a truth is not there."""

    @property
    def notes(self) -> tuple[str, ...]:
        lacking = [item.key for item in self.whole if not item.truths.keys() >= set(self.truths)]
        if not lacking:
            return self.told
        return (
            *self.told,
            f"Left out {len(lacking)} items that lack {' or '.join(self.truths)}: {shortlist(lacking)}.",
        )

    @property
    def pictures(self) -> FolderReader:
        """All pictures of the split, without truths."""
        bare = tuple(replace(item, truths={}, phrases={}) for item in self.whole)
        return replace(self, items=bare, truths=(), whole=bare)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(item.key for item in self.items)

    @cached_property
    def info(self) -> DatasetInfo:
        """What the folder states, completed by default class names for labels that it does not name."""
        unnamed = [t for t in self.truths if self.stated.kinds[t] == "labels" and self.stated.table(t) is None]
        counted = {truth: _counted_table(self.every, truth) for truth in unnamed}
        return replace(self.stated, tables={**self.stated.tables, **counted})

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the semantic classes; () where there are none."""
        table = self.info.table("semantic") if "semantic" in self.truths else None
        return table.classes if table else ()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Sample:
        """Raises `DataError` for a file that is missing, damaged, or of another size than its picture.

        Where sizes differ by a single row or column, as rounding leaves when copies are shrunk, picture and
        truths are cut to what they share.
        """
        item = self.items[i]
        query = Query(read_image(item.image), item.text, item.key)
        truths = {truth: read_truth(item, truth, self.info, query.size) for truth in self.truths}
        sizes = [query.size, *(annotation.size for annotation in truths.values())]
        shared = min(h for h, _ in sizes), min(w for _, w in sizes)
        sample = Sample(query, truths, {truth: words for truth, words in item.phrases.items() if truth in truths})
        return sample if set(sizes) == {shared} else sample.crop(0, 0, *shared)


def folder_info(root: Path) -> DatasetInfo:
    """What `root` or one of its split folders says about its numbers."""
    return read_info(root, *split_folders(root).values())


def read_folder(
    root: Path, split: str, truths: Sequence[str] = (), name: str = "folder", info: DatasetInfo | None = None
) -> FolderReader:
    """The items of `root` in `split` (train, val, test, all) that have all `truths` (none: all found).

    `info` tells what the files' numbers mean; without it the folder itself does. Raises `DataError` where the
    folder holds no pairs, lacks a truth that is asked for, or has nothing in the split.
    """
    return read_items(root, indices(root), split, truths, name, info or folder_info(root))


def read_items(
    root: Path, found: Mapping[str, Index], split: str, truths: Sequence[str], name: str, info: DatasetInfo
) -> FolderReader:
    """The same for items that are known, by split or all under ""."""
    if faults := [fault for part in found.values() for fault in part.faults]:
        raise faults[0].error()
    every = tuple(item for part in found.values() for item in part.items)
    present = {truth for item in every for truth in item.truths}
    if not present & set(info.kinds):
        raise no_pairs(root, found).error()
    names = tuple(truths) or tuple(sorted(present & set(info.kinds)))
    if absent := set(names) - (present & set(info.kinds)):
        raise DataError(f"{root} has no truth {shortlist(sorted(absent))}; it has {shortlist(sorted(present))}.")

    items, note = select(root, found, split)
    whole = tuple(item for item in items if item.truths.keys() >= set(names))
    if not whole:
        raise DataError(f"Nothing in split {split!r} of {root} has {' and '.join(names)}; ask for fewer truths.")
    notes = [*(note for part in found.values() for note in part.notes), note]
    if unknown := present - set(info.kinds):
        notes.append(f"Left out truths of an unknown kind: {shortlist(sorted(unknown))}.")
    notes.append(_rounding_note(whole[0], names))
    return FolderReader(name, whole, names, info, every, tuple(filter(None, notes)), tuple(items))


def read_pictures(root: Path, split: str) -> FolderReader:
    """The pictures of `root` alone, as they lie there whether they have truths or not. Raises `DataError` for none."""
    found = indices(root)
    items, note = select(root, found, split)
    if not items:
        raise DataError(f"{root} holds no pictures; give a folder with some.")
    return bare_reader("folder", items, (note,) if note else (), folder_info(root))


def bare_reader(
    name: str, items: Sequence[Item], notes: tuple[str, ...] = (), info: DatasetInfo = UNTOLD
) -> FolderReader:
    """The pictures of these items without their truths."""
    bare = tuple(replace(item, truths={}, phrases={}) for item in items)
    return FolderReader(name, bare, (), info, bare, notes, bare)


def read_truth(item: Item, truth: str, info: DatasetInfo, size: tuple[int, int] | None) -> Annotation:
    """One truth of an item; `DataError` where its size is not the picture's `size` (unless None, unknown)."""
    file = item.truths[truth]
    annotation = read_annotation(file.path, truth, info.kinds[truth], info, file.scale)
    if size is None:
        return annotation
    (h, w), (height, width) = annotation.size, size
    if abs(h - height) > 1 or abs(w - width) > 1:
        sentence = f"{file.path} is {w}x{h} but {item.image} is {width}x{height}"
        raise Problem(file.path, "wrong size", sentence, "bring them to one size").error()
    return annotation


def no_pairs(root: Path, found: Mapping[str, Index]) -> Problem:
    photos = sum(len(part.items) for part in found.values())
    lonely = sum(len(part.lonely) for part in found.values())
    inside = shortlist(sorted(path.name for path in root.iterdir())) or "nothing"
    sentence = (
        f"{root} holds no pairs of a picture and a truth: "
        f"{photos} pictures and {lonely} truths without a picture were found ({inside})"
    )
    return Problem(root, "missing pair", sentence, f"arrange it as one of these: {LAYOUTS}")


def _counted_table(items: Sequence[Item], truth: str) -> LabelTable:
    """Default names up to the largest value in any of the label files."""
    largest = 0
    for path in (item.truths[truth].path for item in items if truth in item.truths):
        values = read_integers(path)
        largest = max(largest, int(np.max(values, where=values != IGNORE, initial=0)))
    return default_table(largest)


def _rounding_note(item: Item, truths: Sequence[str]) -> str:
    """Judged from the headers of one item's pictures."""
    pictures = [item.image, *(item.truths[truth].path for truth in truths)]
    sizes = {image_size(path) for path in pictures if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES}
    return "Pictures and truths differ by a row or column: cut to what they share." if len(sizes) > 1 else ""
