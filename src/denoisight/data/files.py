"""One annotation <-> its files. Data is never cut to 8 bits, and every file is whole or absent.

depth     metric: 16-bit PNG, millimetres, 0 not measured; `.npz` {depth float32, valid} where exactness is
          asked for or a distance passes 65.535 m; other gauges: `.npy` float32, NaN where not known, and
          where it lies in [0, 1] also a 16-bit PNG of round(depth * 65535); depth up to scale likewise, by its
          farthest pixel
normals   `.npz` {normals [h w 3] float32, valid}, and as a picture a PNG of round((n + 1) / 2 * 255), black
          where invalid
labels    8-bit indexed PNG, 255 void (of things rather than classes: 0 none; where these have scores also
          `.npz` {labels, scores [n] float32})
mask      8-bit indexed PNG: 0 outside, 1 inside, 255 unknown; `.npz` {probability, valid} where it is soft
boxes     `.json` {image_size, classes, boxes: [{xyxy, id, score, valid}]}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import torch
from torch import Tensor

from ..annotations import IGNORE, Annotation, Boxes, Depth, Gauge, Labels, Mask, Normals
from ..errors import shortlist
from ..render import INVALID, colour, label_colours
from ..runtime import write_json
from ..vectors import lengths
from .archive import FilePath, Member, as_file
from .arrays import (
    ARRAY_SUFFIXES,
    is_indexed,
    read_array,
    read_integers,
    read_plane,
    write_array,
    write_arrays,
)
from .images import load, write_png
from .info import DatasetInfo, Kind, LabelTable, NormalsFrame
from .problem import bad_file

FARTHEST_M = 65.535


def write_annotation(folder: Path | str, key: str, annotation: Annotation, exact: bool = False) -> list[Path]:
    """Write `annotation` as `folder/key.*` and return its files, the one to read back first.

    With `exact`, depth keeps its float32 values instead of whole millimetres.
    """
    stem = Path(folder) / key
    match annotation:
        case Depth():
            return _write_depth(stem, annotation, exact)
        case Normals():
            return _write_normals(stem, annotation)
        case Labels():
            return _write_labels(stem, annotation)
        case Mask():
            return _write_mask(stem, annotation)
        case Boxes():
            return [_write_boxes(stem, annotation)]
    raise TypeError(f"No files are known for a {type(annotation).__name__}.")


def kind_of(annotation: Annotation) -> Kind:
    """What `dataset_info.json` calls this kind of annotation."""
    match annotation:
        case Labels():
            return "labels" if annotation.classes else "instances"
        case Depth():
            return "depth"
        case Normals():
            return "normals"
        case Mask():
            return "mask"
        case Boxes():
            return "boxes"
    raise TypeError(f"No files are known for a {type(annotation).__name__}.")


def read_annotation(
    path: FilePath, truth: str, kind: Kind, info: DatasetInfo, scale: float | None = None
) -> Annotation:
    """Read one file as the `kind` that the folder's `info` describes; `scale` overrides its depth scale."""
    match kind:
        case "depth":
            return read_depth(path, scale or info.depth_scale, info.depth_gauge)
        case "normals":
            return read_normals(path, info.normals_frame)
        case "labels":
            return read_labels(path, info.table(truth))
        case "instances":
            return read_instances(path)
        case "mask":
            return read_mask(path)
        case "boxes":
            return read_boxes(path)
    assert_never(kind)


def read_depth(path: Path | str | Member, scale: float = 1000.0, gauge: Gauge = "metres") -> Depth:
    """Depth from an integer file of `scale` units to a metre, 0 not measured, or an array of float metres.

    Non-finite values count as not measured, and under the gauge "metres" so do those not above zero.
    """
    path = as_file(path)
    if path.suffix in ARRAY_SUFFIXES:
        values, valid = _masked(path, "depth")
        valid = valid & (values > 0) if gauge == "metres" else valid
        return Depth(torch.where(valid, values, 0.0), valid, gauge)
    units = read_integers(path)
    if units.dtype == np.uint8:
        remedy = "save 16-bit millimetres or a float .npy in metres"
        raise bad_file(path, "wrong dtype", "is an 8-bit picture, not depth", remedy)
    return Depth.of(torch.from_numpy(units.astype(np.float32)) / scale, gauge)


def read_normals(path: Path | str | Member, frame: NormalsFrame = "opengl") -> Normals:
    """Normals from `.npz`, `.npy` [h w 3] (or [3 h w]), or an RGB picture in which black is invalid."""
    path = as_file(path)
    if path.suffix in ARRAY_SUFFIXES:
        values, valid = read_array(path, "normals")
        vectors = _vectors(path, values)
        normals = Normals.of(vectors) if valid is None else _unit(path, vectors, torch.from_numpy(valid))
        return normals_in_frame(normals, frame)
    picture = load(path)
    if picture.mode not in ("RGB", "RGBA"):
        says = f"is a picture of mode {picture.mode}, not normals"
        raise bad_file(path, "wrong dtype", says, "save them as RGB or as .npz")
    coded = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float()
    seen = coded.amax(0) > 0
    return normals_in_frame(Normals.of(torch.where(seen, coded / 127.5 - 1, 0.0)), frame)


def read_labels(path: Path | str | Member, table: LabelTable | None = None) -> Labels:
    """Labels from an indexed or grey PNG (or an integer array); `table` says which value is which class.

    Without a table, values are classes named "class 0", "class 1", ... Raises `DataError` for values that
    the table does not know.
    """
    values = read_integers(path)
    if table is None:
        table = default_table(int(np.max(values, where=values != IGNORE, initial=0)))
    ids = table.decode(values)
    if (ids < 0).any():
        strange = np.unique(values[ids < 0])
        says = f"has the label values {shortlist(strange)}, which are none of the {len(table.classes)} classes"
        remedy = "name them, or list them under ignore, in classes.json"
        raise bad_file(path, "label out of range", says, remedy)
    return Labels(torch.from_numpy(ids), table.classes)


def read_instances(path: Path | str | Member) -> Labels:
    """Which thing each pixel belongs to, 0 none, 255 unknown; the numbers are no classes. A `.npz` may hold scores."""
    return Labels(torch.from_numpy(read_integers(path).astype(np.int64)), (), _scores(as_file(path)))


def default_table(largest: int) -> LabelTable:
    """Names "class 0" ... for label values up to `largest`."""
    return LabelTable.contiguous(tuple(f"class {value}" for value in range(largest + 1)))


def read_mask(path: Path | str | Member) -> Mask:
    """A mask from an indexed PNG (0 outside, 255 unknown), a grey one (bright is inside), or `.npz`."""
    path = as_file(path)
    if path.suffix in ARRAY_SUFFIXES:
        return Mask(*_masked(path, "probability"))
    values = torch.from_numpy(read_integers(path).astype(np.int64))
    if is_indexed(path):
        valid = values != IGNORE
        return Mask(((values > 0) & valid).float(), valid)
    top = int(values.max())
    if 1 < top < 128:
        says = f"has values up to {top}, which are class numbers rather than a mask"
        raise bad_file(path, "label out of range", says, "put it in label/, or write 0 outside and 255 inside")
    white = next(white for white in (1, 255, 65535) if top <= white)
    return Mask.of(2 * values >= white)


def read_boxes(path: Path | str | Member) -> Boxes:
    try:
        content: dict[str, Any] = json.loads(as_file(path).read_text(encoding="utf-8"))
        boxes, size = content["boxes"], content["image_size"]
        return Boxes(
            torch.tensor([box["xyxy"] for box in boxes], dtype=torch.float32).reshape(-1, 4),
            torch.tensor([box["id"] for box in boxes], dtype=torch.int64),
            torch.tensor([box.get("score", 1.0) for box in boxes], dtype=torch.float32),
            torch.tensor([box.get("valid", True) for box in boxes], dtype=torch.bool),
            (int(size[0]), int(size[1])),
            tuple(content.get("classes", ())),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        remedy = 'write {"image_size": [h, w], "boxes": [{"xyxy": [...], "id": 0}]}'
        says = f"holds no boxes ({type(error).__name__}: {error})"
        raise bad_file(path, "damaged file", says, remedy) from error


def normals_in_frame(normals: Normals, frame: NormalsFrame) -> Normals:
    """To or from `frame`: OpenCV's y points down, its z away from the viewer; "opengl" is our own frame."""
    if frame == "opengl":
        return normals
    turn = normals.vectors.new_tensor([1.0, -1.0, -1.0])[:, None, None]
    return Normals(normals.vectors * turn, normals.valid)


def _write_depth(stem: Path, depth: Depth, exact: bool) -> list[Path]:
    values, valid = depth.values.float().cpu(), depth.valid.cpu()
    in_metres = depth.gauge == "metres"
    if exact or (in_metres and bool((values[valid] > FARTHEST_M).any())):
        return [write_arrays(_with(stem, ".npz"), depth=values.numpy(), valid=valid.numpy())]
    if in_metres:
        # A surface nearer than half a millimetre must not become "not measured".
        units = torch.where(valid, (values * 1000).round().clamp(min=1), 0.0)
        return [write_png(_with(stem, ".png"), units.numpy().astype(np.uint16))]
    array = write_array(_with(stem, ".npy"), torch.where(valid, values, torch.nan).numpy())
    # Depth up to scale has no unit to lose: the farthest pixel becomes white.
    white = values[valid].max() if depth.gauge == "scale" and valid.any() else values.new_tensor(1.0)
    if bool((values[valid] > white).any() or (values[valid] < 0).any()):
        return [array]
    units = torch.where(valid, values / white.clamp(min=1e-6), 0.0).mul(65535).round()
    return [array, write_png(_with(stem, ".png"), units.numpy().astype(np.uint16))]


def _write_normals(stem: Path, normals: Normals) -> list[Path]:
    vectors = normals.vectors.float().permute(1, 2, 0).cpu().numpy()
    exact = write_arrays(_with(stem, ".npz"), normals=vectors, valid=normals.valid.cpu().numpy())
    return [exact, write_png(_with(stem, ".png"), colour(normals))]


def _write_indexed(stem: Path, ids: Tensor, num: int) -> Path:
    known = ids[ids != IGNORE]
    if bool(((known < 0) | (known >= min(num, IGNORE))).any()):
        says = f"would hold the labels {int(known.min())} to {int(known.max())}"
        raise bad_file(_with(stem, ".png"), "label out of range", says, f"keep them below {min(num, IGNORE)}")
    palette = np.vstack([label_colours(IGNORE), INVALID]).astype(np.uint8)
    return write_png(_with(stem, ".png"), ids.cpu().numpy().astype(np.uint8), palette)


def _write_labels(stem: Path, labels: Labels) -> list[Path]:
    picture = _write_indexed(stem, labels.ids, len(labels.classes) or IGNORE)
    if labels.scores is None:
        return [picture]
    ids, scores = labels.ids.cpu().numpy().astype(np.uint8), labels.scores.float().cpu().numpy()
    return [write_arrays(_with(stem, ".npz"), labels=ids, scores=scores), picture]


def _scores(path: FilePath) -> Tensor | None:
    """Of a file that was read before, so it is whole."""
    if path.suffix != ".npz":
        return None
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["scores"].astype(np.float32)) if "scores" in arrays else None


def _write_mask(stem: Path, mask: Mask) -> list[Path]:
    inside = torch.where(mask.valid, mask.inside.long(), IGNORE)
    picture = _write_indexed(stem, inside, 2)
    if bool(((mask.probability == 0) | (mask.probability == 1)).all()):
        return [picture]
    arrays = {"probability": mask.probability.float().cpu().numpy(), "valid": mask.valid.cpu().numpy()}
    return [write_arrays(_with(stem, ".npz"), **arrays), picture]


def _write_boxes(stem: Path, boxes: Boxes) -> Path:
    columns = (boxes.xyxy.tolist(), boxes.ids.tolist(), boxes.scores.tolist(), boxes.valid.tolist())
    rows = [dict(zip(("xyxy", "id", "score", "valid"), row, strict=True)) for row in zip(*columns, strict=True)]
    path = _with(stem, ".json")
    write_json(path, {"image_size": list(boxes.image_size), "classes": list(boxes.classes), "boxes": rows})
    return path


def _with(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _masked(path: FilePath, name: str) -> tuple[Tensor, Tensor]:
    """A map, zero where invalid, and its valid pixels: those that the file says, else the finite ones."""
    plane, stated = read_plane(path, name)
    values = torch.from_numpy(plane)
    valid = torch.isfinite(values) if stated is None else torch.from_numpy(stated)
    return torch.where(valid, values, 0.0), valid


def _vectors(path: FilePath, values: np.ndarray) -> Tensor:
    if values.ndim != 3 or 3 not in (values.shape[0], values.shape[-1]) or values.dtype.kind != "f":
        says = f"holds {values.dtype} numbers of shape {values.shape}"
        raise bad_file(path, "wrong dtype", says, "save floats [h w 3]")
    vectors = torch.from_numpy(values.astype(np.float32))
    return vectors.permute(2, 0, 1).contiguous() if values.shape[-1] == 3 else vectors


def _unit(path: FilePath, vectors: Tensor, valid: Tensor) -> Normals:
    """Taken as they stand, so that what was written comes back bit for bit."""
    known = lengths(vectors)[valid]
    if not bool(torch.isfinite(known).all()):
        raise bad_file(path, "NaN", "has normals that are no numbers where it says valid", "mend its mask")
    if bool(((known - 1).abs() > 0.02).any()):
        raise bad_file(path, "not a unit vector", "has normals that are not of length 1", "divide by their length")
    return Normals(torch.where(valid, vectors, 0.0), valid)
