"""Files in tar archives, each readable alone: a member knows its place, and reading it touches its own bytes only."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from .problem import bad_file


@dataclass(frozen=True)
class Member:
    """A file in an uncompressed tar archive; it can be read where a path can."""

    archive: Path
    name: str
    offset: int
    num_bytes: int

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    def open(self, mode: str = "rb") -> io.BytesIO:
        with self.archive.open(mode) as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.num_bytes))

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.open().read().decode(encoding)

    def is_file(self) -> bool:
        return self.archive.is_file()

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"


FilePath: TypeAlias = Path | Member


def as_file(path: Path | str | Member) -> FilePath:
    return Path(path) if isinstance(path, str) else path


def num_bytes(path: FilePath) -> int:
    """Of a file, without reading it; 0 where it is missing."""
    if isinstance(path, Member):
        return path.num_bytes
    return path.stat().st_size if path.is_file() else 0


def members(archive: Path) -> list[Member]:
    """The files of an archive in their order, from its headers alone.

    Raises `DataError` where it is no tar archive, or cut short.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            return [Member(archive, info.name, info.offset_data, info.size) for info in tar if info.isfile()]
    except (OSError, tarfile.TarError, ValueError) as error:
        raise bad_file(archive, "damaged file", f"is cut short or no tar archive ({error})", "make it again") from error


def write_archive(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files under their names to a tar archive whose bytes hang on these alone: no time, no owner."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
