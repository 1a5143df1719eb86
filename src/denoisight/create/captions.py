"""What is said about an image that others like it are made from."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import eq
from pathlib import Path
from typing import NamedTuple

import torch

from ..annotations import Labels, Query, Sample
from ..data.images import IMAGE_SUFFIXES
from ..data.readers.layout import without_image_folder
from ..errors import DataError, UsageError, shortlist


class Caption(NamedTuple):
    """What is to be seen, and what is not: "" to say nothing of it, None where nobody knows."""

    text: str | None
    avoid: tuple[str, ...] = ()


Captions = Callable[[Sample], Caption | str | None]
"""A caption for a sample; of plain text what stands after ", not " is avoided: "a red box, not a sphere"."""

LEAST = 0.02
"""The share of the labelled pixels that a class must cover to be named."""
MOST = 4
"""So many classes are named."""


def parsed(text: str) -> Caption:
    """ "a red box, not a sphere, not a cone" is a red box, kept away from spheres and cones."""
    shown, *avoid = (part.strip() for part in re.split(r",\s*not\s+", text))
    return Caption(shown, tuple(filter(None, avoid)))


@dataclass(frozen=True)
class Words:
    """Captions alone as a source: samples of a size (height, width) without a picture. "a red box, not a sphere" is a
    red box, kept away from spheres."""

    captions: tuple[str, ...]
    size: tuple[int, int]
    name = "captions"
    truths = ()
    classes = ()
    notes = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(f"{index:06d}" for index in range(1, len(self.captions) + 1))

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, i: int) -> Sample:
        text, avoid = parsed(self.captions[i])
        return Sample(Query(torch.zeros(3, *self.size), text or "", f"{i + 1:06d}", avoid))


def said(captions: Captions, sample: Sample) -> Caption:
    """The caption of a sample, taken apart."""
    caption = captions(sample)
    if isinstance(caption, Caption):
        return caption
    return Caption(None) if caption is None else parsed(caption)


def own_text(sample: Sample) -> Caption:
    """The words that the data set itself has for the picture."""
    return Caption(sample.query.text.strip() or None, sample.query.avoid)


def no_words(sample: Sample) -> Caption:
    """Nothing is said of any picture: it is varied as the network thinks fit."""
    return Caption("", sample.query.avoid)


def from_labels(sample: Sample) -> Caption:
    """ "a photo of Sky, Road and Car": the classes that cover most pixels, largest first; None without any."""
    for truth in ("semantic", *sample.truths):
        labels = sample.truths.get(truth)
        if isinstance(labels, Labels) and labels.classes and labels.valid.any():
            counts = labels.ids[labels.valid].bincount(minlength=len(labels.classes))
            shares = (counts / counts.sum()).tolist()
            ranked = sorted(range(len(shares)), key=lambda i: (-shares[i], i))
            named = [i for i in ranked[:MOST] if shares[i] >= LEAST] or ranked[:1]
            return Caption(f"a photo of {_listed([labels.classes[i] for i in named])}")
    return Caption(None)


def caption_source(spec: str | Path | Captions) -> Captions:
    """From what a user says: "text", "labels", "none", a file of captions, or any function of a sample.

    A file is CSV (key,caption; commas in the caption need no quotes) or JSON lines ({"key": ..., "text": ...}, or
    file_name in place of the key, a path of which the stem is enough where no other has it). Raises `DataError` for a
    file that is neither.
    """
    if callable(spec):
        return spec
    return KNOWN[str(spec)] if str(spec) in KNOWN else _FromFile(Path(spec))


KNOWN: Mapping[str, Captions] = {"text": own_text, "labels": from_labels, "none": no_words}


def told_of(captions: Captions) -> str:
    """What tells captions from others in the settings of what is made with them: a known name, a file's name and a hash
    of what it says, the `__name__` of whatever is called. Raises `UsageError` where it has none."""
    if isinstance(captions, _FromFile):
        return f"{captions.path.name} ({captions.digest})"
    if known := [name for name, function in KNOWN.items() if function is captions]:
        return known[0]
    name = str(getattr(captions, "__name__", ""))
    if not name.isidentifier():
        raise UsageError(
            f"Captions came from {name or repr(captions)}, a function without a name to write down; define one with "
            "def, or give an object a __name__, and name it otherwise where it says otherwise."
        )
    return name


class _FromFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.captions, self.files = _read(path)
        self.by_stem: dict[str, list[Path]] = defaultdict(list)
        for file in self.files:
            self.by_stem[file.stem].append(file)

    def __call__(self, sample: Sample) -> str | None:
        if sample.key in self.captions:
            return self.captions[sample.key] or None
        alike = self._meant(Path(sample.key))
        if len(alike) > 1:
            raise DataError(
                f"{self.path} has captions of {shortlist(map(str, alike))}, and any of them may be meant for "
                f'{sample.key!r}; write "key" in place of "file_name".'
            )
        return (self.files[alike[0]] if alike else self.captions.get(Path(sample.key).name)) or None

    def _meant(self, key: Path) -> list[Path]:
        """The files that a key may be of: of paths as far as both are told, the ending where the key has one."""
        stem, ending = (key.with_suffix(""), key.suffix) if key.suffix.lower() in IMAGE_SUFFIXES else (key, "")
        found = [
            file
            for file in self.by_stem.get(stem.name, ())
            if all(map(eq, reversed(file.parent.parts), reversed(stem.parent.parts)))
            and (not ending or file.suffix in ("", ending))
        ]
        return [file for file in found if file.parent == stem.parent] or found

    @property
    def digest(self) -> str:
        said = {**{str(file): text for file, text in self.files.items()}, **self.captions}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path) -> tuple[Mapping[str, str], Mapping[Path, str]]:
    """Captions by key, and by paths of files."""
    try:
        # Spreadsheets begin with a byte order mark; a JSON string may hold what `splitlines` takes for an end.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        if path.suffix == ".csv":
            # "a red box, not a sphere" has a comma of its own, quoted or not; a line without any has no caption.
            return {row[0].strip(): ",".join([row[1], *row[2:]]).strip() for row in csv.reader(lines) if row}, {}
        rows = [json.loads(line) for line in lines if line.strip()]
        stated = {str(row["key"]): row["text"].strip() for row in rows if "key" in row}
        files = [row for row in rows if "key" not in row]
        return stated, {without_image_folder(Path(row["file_name"])): row["text"].strip() for row in files}
    except OSError as error:
        raise DataError(
            f"There are no captions at {str(path)!r} ({error.strerror}); "
            "give text, labels, none, or a .csv or .jsonl file."
        ) from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(
            f"{path} holds no captions ({type(error).__name__}: {error}); "
            'write KEY,CAPTION lines (.csv) or {"key": ..., "text": ...} lines (.jsonl).'
        ) from error


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
