"""Samples -> a folder as COCO's (Lin et al., ECCV 2014; panoptic: Kirillov et al., CVPR 2019).

images/000001.png ...
annotations/instances.json   a thing an annotation: RLE mask, area, box, category; from instances, else boxes alone
annotations/panoptic.json    a picture an annotation: its segments; from semantic labels, with instances if any
panoptic/000001.png ...      each pixel's segment, red + 256 green + 65536 blue, 0 none
annotations/captions.json    where there are captions
dataset_info.json            where the samples are from

`images` in every JSON also tell each picture's key and, of created ones, its provenance. What becomes of a sample is
first a line of a hidden journal; annotations/ is put together from it and swapped in whole at the end, so that memory
does not grow with the data, and a folder with annotations/ is finished. `readers/coco.py` reads it.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from ..annotations import IGNORE, Boxes, Labels, Sample
from ..errors import DataError
from ..runtime import append_line, optional, whole_file, whole_folder
from .images import write_image, write_png
from .paired import drop_cut_off_line, tell_progress, write_facts
from .readers import Reader
from .readers.coco import CocoReader
from .segments import Segment, find_segments, picture_of, tight_box

log = logging.getLogger(__name__)

HELD = ("semantic", "instances", "boxes")
"""The truths that COCO's forms can hold."""
JOURNAL = ".journal.jsonl"
THING = "thing"
"""The category of things whose class nobody told."""

Row = dict[str, Any]
Facts = Callable[[int], Mapping[str, Any]]


def write_coco(reader: Reader, folder: Path, source: Mapping[str, Any], facts: Facts) -> int:
    """Write all samples, going on where an earlier call stopped; return how many lie there then.

    `source` says where they are from, `facts(i)` what is known of the i-th. Raises `DataError` where the samples have
    no truth of `HELD`, `UsageError` where the folder holds something else, `MissingExtraError` without
    faster-coco-eval where there are instances.
    """
    if not (held := [truth for truth in HELD if truth in reader.truths]):
        raise DataError(
            f"{reader.name} has {', '.join(reader.truths) or 'no truth'}, and COCO holds {', '.join(HELD)} alone; "
            "take --format folder or shards."
        )
    library = optional("faster_coco_eval", "eval") if "instances" in held else None
    write_facts(folder, {"dataset_info.json": {"format": "coco", "source": dict(source)}})
    journal = folder / JOURNAL
    if not (folder / "annotations").is_dir():
        drop_cut_off_line(journal)
        for i in range(sum(1 for _ in _rows(journal)), len(reader)):
            append_line(journal, _write_sample(folder, f"{i + 1:06d}.png", reader[i], facts(i), library))
            tell_progress(i + 1, len(reader))
        with whole_folder(folder / "annotations") as temporary:
            _Annotations(reader, held, journal).write(temporary)
    journal.unlink(missing_ok=True)
    return len(reader)


def _write_sample(folder: Path, name: str, sample: Sample, facts: Mapping[str, Any], library: ModuleType | None) -> Row:
    """Write the pictures of a sample; what the JSON files will say of it, classes by their places."""
    semantic, instances, boxes = (sample.truths.get(truth) for truth in HELD)
    height, width = sample.size
    image = {"file_name": name, "width": width, "height": height, "key": sample.key}
    row: Row = {"image": {**image, "provenance": dict(facts)} if facts else image, "text": sample.query.text}
    write_image(folder / "images" / name, sample.image)
    categories: Mapping[int, int] = {}
    if isinstance(semantic, Labels):
        found = find_segments(semantic, instances if isinstance(instances, Labels) else None)
        categories = found.categories
        numbers = picture_of(found.segments, sample.size).numpy()
        coded = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1).astype(np.uint8)
        write_png(folder / "panoptic" / name, coded)
        row |= {"stray": found.stray, "segments": [_segment(segment, library) for segment in found.segments]}
    if isinstance(instances, Labels) and library:
        known = [k for k in instances.ids.unique().tolist() if k not in (0, IGNORE)]
        row["things"] = [_thing(instances.ids == k, categories.get(k, -1), library) for k in known]
    elif isinstance(boxes, Boxes):
        kept = boxes.xyxy[boxes.valid].tolist(), boxes.ids[boxes.valid].tolist()
        row["things"] = [_box(xyxy, id) for xyxy, id in zip(*kept, strict=True)]
    return row


def _segment(segment: Segment, library: ModuleType | None) -> Row:
    told = {"id": segment.number, "category": segment.category, "thing": segment.thing, "free": segment.free}
    told |= _measured(segment.pixels)
    # Whether the rest of a class is stuff or a crowd of things shows only once all samples are seen.
    return {**told, "segmentation": _rle(segment.pixels, library)} if library and not segment.thing else told


def _thing(pixels: Bool[Tensor, "h w"], category: int, library: ModuleType) -> Row:
    return {"category": category, "segmentation": _rle(pixels, library), **_measured(pixels)}


def _measured(pixels: Bool[Tensor, "h w"]) -> Row:
    return {"area": int(pixels.sum()), "bbox": tight_box(pixels)}


def _rle(pixels: Bool[Tensor, "h w"], library: ModuleType) -> Row:
    """COCO's compressed run lengths, column by column."""
    coded = library.mask.encode(np.asfortranarray(pixels.numpy().astype(np.uint8)))
    counts = coded["counts"]
    return {"size": list(pixels.shape), "counts": counts.decode() if isinstance(counts, bytes) else counts}


def _box(xyxy: list[float], id: int) -> Row:
    left, top, right, bottom = xyxy
    width, height = right - left, bottom - top
    return {"category": id, "segmentation": [], "area": width * height, "bbox": [left, top, width, height]}


class _Annotations:
    """The JSON files of a finished journal."""

    def __init__(self, reader: Reader, held: list[str], journal: Path) -> None:
        self.held, self.journal, self.name, self.classes = held, journal, reader.name, reader.classes
        self.omitted = [truth for truth in reader.truths if truth not in HELD]
        self.named = {"semantic", "instances"} <= set(held)
        """Whether things are of semantic classes."""
        self.lost = self.stray = 0
        self.captioned = False
        inside, free = Counter[int](), Counter[int]()
        for row in _rows(journal):
            for segment in row.get("segments", ()):
                inside[segment["category"]] += segment["area"] if segment["thing"] else 0
                free[segment["category"]] += segment["free"]
            self.stray += row.get("stray", 0)
            self.captioned |= bool(row["text"])
        self.things = {category for category in inside if inside[category] > free[category]}
        if isinstance(reader, CocoReader):
            self.things = {i for i, c in enumerate(reader.coco.categories) if c.is_thing}
        boxes = reader[0].truths.get("boxes")
        names = boxes.classes if isinstance(boxes, Boxes) and "instances" not in held else ()
        self.classed = self.named or bool(names)
        self.kinds = self.classes if self.named else names or (THING,)
        """What the categories of things are called, by place."""

    def write(self, folder: Path) -> None:
        """Each file is written in passes over the journal, a row at a time."""
        if "instances" in self.held or "boxes" in self.held:
            self._file(folder / "instances.json", self._thing_categories(), self._instances())
        if "semantic" in self.held:
            every = [
                {"id": i + 1, "name": name, "isthing": int(i in self.things), "supercategory": ""}
                for i, name in enumerate(self.classes)
            ]
            self._file(folder / "panoptic.json", every, self._panoptic())
        if self.captioned:
            self._file(folder / "captions.json", None, self._captions())
        for note in self._notes():
            log.info("%s", note)

    def _file(self, path: Path, categories: list[Row] | None, annotations: Iterable[Row]) -> None:
        parts: dict[str, Iterable[Row]] = {"images": self._images(), "annotations": annotations}
        if categories is not None:
            parts["categories"] = categories
        with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"info": {"description": f"{self.name}, exported by denoisight"}})[:-1])
            for name, rows in parts.items():
                file.write(f", {json.dumps(name)}: [")
                for place, row in enumerate(rows):
                    file.write((",\n" if place else "\n") + json.dumps(row, ensure_ascii=False))
                file.write("]")
            file.write("}\n")

    def _images(self) -> Iterator[Row]:
        return ({"id": n, **row["image"]} for n, row in enumerate(_rows(self.journal), 1))

    def _captions(self) -> Iterator[Row]:
        rows = enumerate(_rows(self.journal), 1)
        return ({"id": n, "image_id": n, "caption": row["text"]} for n, row in rows if row["text"])

    def _thing_categories(self) -> list[Row]:
        chosen = sorted(self.things) if self.named else range(len(self.kinds))
        return [{"id": self._number(i), "name": self.kinds[i], "supercategory": ""} for i in chosen]

    def _number(self, place: int) -> int:
        """The id of a category of things; a class of this name has the same in panoptic.json, others come after."""
        name = self.kinds[place]
        return self.classes.index(name) + 1 if name in self.classes else len(self.classes) + 1 + place

    def _instances(self) -> Iterator[Row]:
        """Things of classes that are things, and as crowds what else is of such a class."""
        number = 0
        for image, row in enumerate(_rows(self.journal), 1):
            known = [thing for thing in row["things"] if not self.named or thing["category"] in self.things]
            self.lost += len(row["things"]) - len(known)
            for crowd, rows in enumerate((known, self._crowds(row) if self.named else [])):
                for thing in rows:
                    number += 1
                    told = {name: thing[name] for name in ("segmentation", "area", "bbox")}
                    category = self._number(thing["category"] if self.classed else 0)
                    yield {"id": number, "image_id": image, "category_id": category, "iscrowd": crowd, **told}

    def _crowds(self, row: Row) -> list[Row]:
        return [s for s in row["segments"] if not s["thing"] and s["category"] in self.things]

    def _panoptic(self) -> Iterator[Row]:
        for image, row in enumerate(_rows(self.journal), 1):
            crowds = {segment["id"] for segment in self._crowds(row)}
            told = [
                {
                    "id": s["id"],
                    "category_id": s["category"] + 1,
                    "iscrowd": int(s["id"] in crowds),
                    "area": s["area"],
                    "bbox": s["bbox"],
                }
                for s in row["segments"]
            ]
            yield {"image_id": image, "file_name": row["image"]["file_name"], "segments_info": told}

    def _notes(self) -> Iterator[str]:
        if self.omitted:
            yield f"COCO's form holds no {', '.join(self.omitted)}: left out."
        if self.lost:
            yield f"{self.lost} instances are of no class, or one that is mostly no thing: not in instances.json."
        if self.stray:
            yield f"{self.stray} pixels of instances are labelled as another class than theirs: in no panoptic segment."
        if "semantic" not in self.held:
            yield "Without semantic labels there is no panoptic.json, which our own reader of COCO folders needs."


def _rows(journal: Path) -> Iterator[Row]:
    if journal.is_file():
        with journal.open(encoding="utf-8") as file:
            yield from map(json.loads, file)
