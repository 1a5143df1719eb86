"""Readers give Samples from what lies on disk; `READERS` tells whose folder it is and how to read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...annotations import Labels, Sample
from ..info import DatasetInfo
from .bsds import is_bsds, read_bsds
from .camvid import camvid_info, is_camvid
from .coco import is_coco, read_coco
from .folder import folder_info, read_folder
from .rgbd import is_rgbd, rgbd_info
from .shards import is_shards, read_shards


@runtime_checkable
class Reader(Protocol):
    """Samples in a fixed order, with keys that are unique and stay the same from run to run."""

    @property
    def name(self) -> str: ...

    @property
    def keys(self) -> Sequence[str]: ...

    @property
    def truths(self) -> tuple[str, ...]:
        """The names of the truths that every sample has: "depth", "normals", "semantic", ..."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the semantic classes; () where there are none."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should be told about how the data was understood."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Sample: ...


@dataclass(frozen=True)
class Format:
    """Whether a folder is of this format, and how one split of it is read: (root, split, truths), no truths meaning
    all. `info` tells what the numbers in its files mean where they are arranged as `layout` says."""

    recognises: Callable[[Path], bool]
    read: Callable[[Path, str, Sequence[str]], Reader]
    info: Callable[[Path], DatasetInfo] | None = None


def _arranged(name: str, recognises: Callable[[Path], bool], info: Callable[[Path], DatasetInfo]) -> Format:
    """A format of pictures with truths beside them, one file each."""
    return Format(recognises, lambda root, split, truths: read_folder(root, split, truths, name, info(root)), info)


def classes_of(reader: Reader, truth: str) -> tuple[str, ...]:
    """What the labels of this truth tell apart; () where it is no labelling, or there is nothing to look at."""
    if truth == "semantic":
        return reader.classes
    found = reader[0].truths.get(truth) if truth in reader.truths and len(reader) else None
    return found.classes if isinstance(found, Labels) else ()


READERS: Mapping[str, Format] = {
    "shards": Format(is_shards, read_shards),
    "coco": Format(is_coco, read_coco),
    "bsds": Format(is_bsds, read_bsds),
    "camvid": _arranged("camvid", is_camvid, camvid_info),
    "rgbd": _arranged("rgbd", is_rgbd, rgbd_info),
    "folder": _arranged("folder", lambda root: True, folder_info),
}
"""In the order in which a folder is tried."""
