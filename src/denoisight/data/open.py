"""From what a user writes after --data to a reader."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..annotations import Sample
from ..errors import DataError, UsageError, pick, shortlist
from .archive import num_bytes
from .readers import READERS, Reader
from .readers.bsds import BsdsReader
from .readers.coco import CocoReader
from .readers.folder import FolderReader, read_pictures
from .readers.layout import Item
from .readers.shards import is_shards
from .readers.splits import indices
from .scenes import CLASSES, Scenes
from .view import View


def open_data(
    spec: str | Path,
    split: str = "train",
    truths: Sequence[str] = (),
    *,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    annotated: bool = True,
) -> Reader:
    """Open `spec`: a folder, reader:folder, scenes, scenes:N, or a folder's name in the data folder that the
    environment names as DENOISIGHT_DATA_DIR (or BASE_DATA_DIR). Without N, scenes are all of their split.

    `split` is train, val, test or all. `truths` are those that every sample must have (none: all that are
    there). `size` (height, width), `seed` and whether they are `annotated` at all are for scenes alone. Raises
    `DataError` where there is no such data, or no pairs in it.
    """
    spec = str(spec)
    if Path(spec).is_dir():
        return open_folder(Path(spec), split, truths)
    name, colon, rest = spec.partition(":")
    if name == "scenes":
        return Procedural(Scenes(split, _count(rest) if colon else None, size, seed, annotated))
    if colon:
        return pick(READERS, name, "reader").read(_folder(rest), split, truths)
    return open_folder(_folder(spec), split, truths)


def open_folder(folder: Path, split: str, truths: Sequence[str] = ()) -> Reader:
    """Open `folder` with the first reader that recognises it."""
    return next(format for format in READERS.values() if format.recognises(folder)).read(folder, split, truths)


def open_pictures(
    spec: str | Path, split: str = "all", *, size: tuple[int, int] = (64, 64), annotated: bool = True
) -> Reader:
    """As `open_data`, and folders of pictures that have no truths, too.

    Not `annotated`, scenes have no truths; of a folder whose truths are files beside pictures none is read, and
    pictures that lack some are there like any other.
    """
    try:
        reader = open_data(spec, split, size=size, annotated=annotated)
    except DataError:
        folder = folder_of(str(spec))
        if folder is None or is_shards(folder) or _has_truths(folder) and (annotated or _has_faults(folder)):
            raise
        return read_pictures(folder, split)
    return reader if annotated or not isinstance(reader, FolderReader | CocoReader | BsdsReader) else reader.pictures


def _has_truths(folder: Path) -> bool:
    return any(item.truths for part in indices(folder).values() for item in part.items)


def _has_faults(folder: Path) -> bool:
    return any(part.faults for part in indices(folder).values())


@dataclass(frozen=True)
class SceneKeys(Sequence[str]):
    """Made when asked for: a split may have millions."""

    scenes: Scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, i: Any) -> Any:
        return self.scenes.key(i) if isinstance(i, int) else tuple(map(self.scenes.key, range(len(self))[i]))


@dataclass(frozen=True)
class Procedural:
    """Procedural scenes as a reader."""

    scenes: Scenes
    name = "scenes"
    classes = CLASSES
    notes = ()

    @property
    def keys(self) -> Sequence[str]:
        return SceneKeys(self.scenes)

    @cached_property
    def truths(self) -> tuple[str, ...]:
        return tuple(self.scenes[0].truths)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, i: int) -> Sample:
        return self.scenes[i]


@dataclass(frozen=True)
class Part(View):
    """Some of a reader's samples."""

    indices: tuple[int, ...]

    @property
    def keys(self) -> Sequence[str]:
        keys = self.whole.keys
        return tuple(keys[i] for i in self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Sample:
        return self.whole[self.indices[i]]


def subset(reader: Reader, chosen: int | Sequence[int]) -> Reader:
    """The samples at the indices `chosen`, or so many of them.

    A number takes those whose keys hash lowest, so that a smaller subset lies within a larger one and
    neighbouring frames are not taken together; of scenes, which are independent, the first. Raises
    `UsageError` where more are asked for than there are.
    """
    if not isinstance(chosen, int):
        return Part(reader, tuple(chosen))
    if not 1 <= chosen <= len(reader):
        raise UsageError(
            f"{chosen} samples were asked for, but {reader.name} has {len(reader)}; ask for 1 to that many."
        )
    if isinstance(reader, Procedural):
        return Part(reader, tuple(range(chosen)))
    keys = reader.keys
    ranked = sorted(range(len(keys)), key=lambda i: hashlib.blake2b(keys[i].encode()).digest())
    return Part(reader, tuple(sorted(ranked[:chosen])))


def outlines(reader: Reader) -> list[str]:
    """What can be told of each sample without reading it: its key; of files also the caption and the picture's size in
    bytes."""
    match reader:
        case Part():
            whole = outlines(reader.whole)
            return [whole[i] for i in reader.indices]
        case FolderReader() | CocoReader() | BsdsReader():
            items = [entry if isinstance(entry, Item) else entry[0] for entry in reader.items]
            told = zip(reader.keys, items, strict=True)
            return [f"{key}\0{item.text}\0{num_bytes(item.image)}" for key, item in told]
    return list(reader.keys)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"scenes:{text} has no count of scenes; write scenes:500, say.")
    return int(text)


def folder_of(spec: str) -> Path | None:
    """Where the data `spec` lie; None for scenes."""
    if Path(spec).is_dir():
        return Path(spec)
    name, colon, rest = spec.partition(":")
    return None if name == "scenes" else _folder(rest if colon else spec)


def absolute_spec(spec: str) -> str:
    """The same data for a process that runs in another folder; what is not of a folder stays."""
    if not spec or (folder := folder_of(spec)) is None:
        return spec
    reader, colon, _ = spec.partition(":")
    return f"{reader}:{folder.absolute()}" if colon and not Path(spec).is_dir() else str(folder.absolute())


def _folder(name: str) -> Path:
    """The folder at this path, or of this name in the data folder."""
    base = os.environ.get("DENOISIGHT_DATA_DIR") or os.environ.get("BASE_DATA_DIR")
    for folder in (Path(name), *([Path(base) / name] if base else [])):
        if folder.is_dir():
            return folder
    known = f"which has {shortlist(_names(Path(base))) or 'no folders'}" if base else "which is not set"
    raise DataError(
        f"There is no data at {name!r}. Give a folder, reader:folder ({', '.join(READERS)}), scenes[:N], "
        f"or a name in DENOISIGHT_DATA_DIR, {known}."
    )


def _names(base: Path) -> list[str]:
    return sorted(path.name for path in base.iterdir() if path.is_dir()) if base.is_dir() else []
