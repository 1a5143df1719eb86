"""What can be wrong with a user's file, said once for the exception and for the list of `data validate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import DataError

ProblemKind = Literal[
    "missing pair",
    "missing file",
    "file name",
    "damaged file",
    "wrong size",
    "wrong dtype",
    "all invalid",
    "label out of range",
    "NaN",
    "not a unit vector",
    "metadata",
]


@dataclass(frozen=True)
class Problem:
    """One bad file: what is wrong with it and what to do about it."""

    file: object
    """Its path, or its place in an archive."""
    kind: ProblemKind
    sentence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.sentence}; {self.remedy}."

    def error(self) -> DataError:
        """An exception whose message is this problem, and whose only argument is the problem itself."""
        return DataError(self)


def bad_file(path: object, kind: ProblemKind, says: str, remedy: str) -> DataError:
    """The error to raise for `path` (or a file in an archive), which `says` (a predicate: "is empty") is wrong."""
    return Problem(path, kind, f"{path} {says}", remedy).error()
