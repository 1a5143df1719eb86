"""BSDS500 (Arbeláez et al., TPAMI 2011): photographs that several people cut into segments, as NAME.npz beside
NAME.jpg with the array `seg` [annotators h w]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ...annotations import IGNORE, Annotation, Labels, Mask, Query, Sample
from ...errors import DataError, shortlist
from ..arrays import read_array
from ..images import read_image
from ..problem import bad_file
from .folder import FolderReader, bare_reader
from .layout import Index, Item, TruthFile, check_key
from .splits import select

TRUTHS = ("boundary", "instances")


@dataclass(frozen=True)
class BsdsReader:
    """Samples of one split: "boundary", the share of the annotators who drew a line through a pixel, and
    "instances", the segments of the first annotator, of which none is background."""

    items: tuple[Item, ...]
    truths: tuple[str, ...]
    pictures: FolderReader
    """All pictures of the split, with or without segments."""
    notes: tuple[str, ...] = ()
    name: str = "bsds"
    classes: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(item.key for item in self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Sample:
        """Raises `DataError` for a file that is missing, damaged, or of another size than its picture."""
        item = self.items[i]
        query, path = Query(read_image(item.image), item.text, item.key), item.truths["seg"].path
        values, _ = read_array(path, "seg")
        if values.ndim != 3 or values.dtype.kind not in "iu" or values.shape[1:] != query.size:
            says = f"holds {values.dtype} numbers of shape {values.shape} for a picture of (h, w) {query.size}"
            raise bad_file(path, "wrong size", says, "save whole numbers [annotators h w]")
        segments = torch.from_numpy(values.astype(np.int64))
        truths: dict[str, Annotation] = {
            "boundary": Mask.of(outlines(segments).float().mean(0)),
            "instances": Labels(_numbered(segments[0]), ()),
        }
        return Sample(query, {name: truths[name] for name in self.truths})


def is_bsds(root: Path) -> bool:
    """Whether photographs lie beside arrays of which the first readable one holds `seg` alone."""
    for path in _arrays(root):
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return list(arrays) == ["seg"]
        except (OSError, ValueError, EOFError, BadZipFile):
            continue
    return False


def read_bsds(root: Path, split: str, truths: Sequence[str] = ()) -> BsdsReader:
    """The pictures of `root` in `split`. Raises `DataError` for a truth that it lacks or an empty split."""
    if unknown := set(truths) - set(TRUTHS):
        raise DataError(f"{root} has no truth {shortlist(sorted(unknown))}; it has {' and '.join(TRUTHS)}.")
    arrays = _arrays(root)
    for path in root.glob("*.jpg"):
        check_key(path.stem, path)
    photos = sorted(root.glob("*.jpg"))
    segments = {path.stem: {"seg": TruthFile(path)} for path in arrays}
    items = tuple(Item(path.stem, path, segments.get(path.stem, {})) for path in photos)
    chosen, note = select(root, {"": Index(items)}, split)
    cut = tuple(item for item in chosen if item.truths)
    lacking = [item.key for item in chosen if not item.truths]
    lost = f"Left out {len(lacking)} items that lack segments: {shortlist(lacking)}." if lacking else ""
    notes = tuple(filter(None, (note, lost)))
    return BsdsReader(cut, tuple(truths) or TRUTHS, bare_reader("bsds", chosen, notes[:1] if note else ()), notes)


def outlines(segments: Int64[Tensor, "*n h w"]) -> Bool[Tensor, "*n h w"]:
    """Pixels whose neighbour to the right, below, or right below is of another segment, as the benchmark draws
    its lines."""
    line = torch.zeros(segments.shape, dtype=torch.bool)
    line[..., :, :-1] |= segments[..., :, :-1] != segments[..., :, 1:]
    line[..., :-1, :] |= segments[..., :-1, :] != segments[..., 1:, :]
    line[..., :-1, :-1] |= segments[..., :-1, :-1] != segments[..., 1:, 1:]
    return line


def _arrays(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*.npz") if path.with_suffix(".jpg").is_file())


def _numbered(segments: Int64[Tensor, "h w"]) -> Int64[Tensor, "h w"]:
    """Numbers from 1, the largest segment first; those beyond what labels can hold are ignored."""
    _, place, counts = segments.unique(return_inverse=True, return_counts=True)
    rank = counts.argsort(descending=True, stable=True).argsort()
    return (rank[place] + 1).clamp(max=IGNORE)
