"""The truths that a picture can have, and the pictures that carry them.

Five kinds of annotation, all frozen, all knowing their unit, which of their pixels are valid, and how
they flip, crop and resize. Every tensor may carry leading batch axes; pixels are the last two.

Conventions (`docs/conventions.md`): images are [3 h w] floats in [0, 1]; depth is measured along z;
normals are unit vectors in the camera frame x right, y up, z towards the viewer; label 255 is ignored;
boxes are xyxy in pixels, half open, with (0, 0) the upper left corner of the upper left pixel.
"""

from __future__ import annotations

from .base import IGNORE, Annotation, Gauge, Kind
from .boxes import Boxes, box_instances, box_iou
from .maps import Depth, Labels, Mask, Normals, least_known
from .pixels import resize_image
from .samples import Batch, Query, Sample, base_of, stack
from .words import mirror_words, mirrored_classes

__all__ = [
    "IGNORE", "Annotation", "Batch", "Boxes", "Depth", "Gauge", "Kind", "Labels", "Mask", "Normals", "Query", "Sample",
    "base_of", "box_instances", "box_iou", "least_known", "mirror_words", "mirrored_classes", "resize_image", "stack",
]  # fmt: skip
