"""CamVid: driving scenes (Brostow, Fauqueur and Cipolla, 2009) in the 11 classes of its SegNet version."""

from __future__ import annotations

import re
from pathlib import Path

from ..info import DatasetInfo, LabelTable
from .splits import indices

CLASSES = (
    *("Sky", "Building", "Pole", "Road", "Pavement", "Tree"),
    *("SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist"),
)
CLIPS = re.compile(r"(0001TP|0016E5|Seq05VD|0006R0)_")


def is_camvid(root: Path) -> bool:
    """Whether all pictures are named after CamVid's four clips and no `classes.json` says otherwise."""
    if (root / "classes.json").is_file():
        return False
    items = [item for part in indices(root).values() for item in part.items]
    return bool(items) and all(CLIPS.match(item.image.name) for item in items)


def camvid_info(root: Path) -> DatasetInfo:
    """Labels 0 to 10 are `CLASSES`; 11 is ignored."""
    return DatasetInfo(tables={"": LabelTable.contiguous(CLASSES, ignore=(11,))})
