"""Readers give Samples from what lies on disk; `READERS` tells whose folder it is and how to read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...annotations import Sample
from ..info import DatasetInfo
from .camvid import camvid_info, is_camvid
from .folder import folder_info
from .rgbd import is_rgbd, rgbd_info


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
    """Whether a folder is of this format, and what its numbers mean then."""

    recognises: Callable[[Path], bool]
    info: Callable[[Path], DatasetInfo]


READERS: Mapping[str, Format] = {
    "camvid": Format(is_camvid, camvid_info),
    "rgbd": Format(is_rgbd, rgbd_info),
    "folder": Format(lambda root: True, folder_info),
}
"""In the order in which a folder is tried."""
