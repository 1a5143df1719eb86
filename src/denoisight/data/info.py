"""What a folder says about its own numbers: `classes.json` names the classes, `dataset_info.json` the units.

classes.json           a list of names; or {"classes": [...], "ignore": [11]}; or {"classes": {"7": "road"}}
                       where the file's values are not 0, 1, 2, ...; or one of these for each label truth:
                       {"semantic": [...], "parts": [...]}
dataset_info.json      {"depth_scale": 1000, "depth_gauge": "metres", "normals_frame": "opengl",
                       "kinds": {"edges": "mask"}}, each optional; what was created tells under "source" how
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from jaxtyping import Int64, Integer

from ..annotations import IGNORE, Gauge
from ..errors import DataError

Kind = Literal["depth", "normals", "labels", "instances", "mask", "boxes"]
NormalsFrame = Literal["opengl", "opencv"]

KINDS: Mapping[str, Kind] = {
    "depth": "depth",
    "normals": "normals",
    "semantic": "labels",
    "parts": "labels",
    "instances": "instances",
    "mask": "mask",
    "boundary": "mask",
    "saliency": "mask",
    "referring": "mask",
    "boxes": "boxes",
}
"""The kind of annotation that each well-known truth is."""


@dataclass(frozen=True)
class LabelTable:
    """Which number in a label file is which class: `values[i]` is `classes[i]`; `ignore` are no class."""

    classes: tuple[str, ...]
    values: tuple[int, ...]
    ignore: tuple[int, ...] = (IGNORE,)

    def __post_init__(self) -> None:
        if len(self.classes) > IGNORE:
            raise DataError(f"{len(self.classes)} classes came, but at most {IGNORE} fit; merge the rare ones.")
        if len(set(self.values)) != len(self.classes) or not set(self.values).isdisjoint(self.ignore):
            raise DataError("classes.json must give every class a value of its own that is not ignored.")

    @classmethod
    def contiguous(cls, classes: tuple[str, ...], ignore: tuple[int, ...] = ()) -> LabelTable:
        """Classes 0, 1, 2, ... in the order of their names; a class whose value is ignored is left out."""
        kept = [(value, name) for value, name in enumerate(classes) if value not in {*ignore, IGNORE}]
        values = tuple(value for value, _ in kept)
        return cls(tuple(name for _, name in kept), values, tuple(sorted({*ignore, IGNORE})))

    def decode(self, values: Integer[np.ndarray, "h w"]) -> Int64[np.ndarray, "h w"]:
        """The class of each pixel; `IGNORE` for ignored values, -1 for those that the table does not know."""
        known = np.full(65536, -1, dtype=np.int64)
        known[list(self.values)] = np.arange(len(self.values))
        known[list(self.ignore)] = IGNORE
        inside = (values >= 0) & (values < 65536)
        return np.where(inside, known[np.where(inside, values, 0)], -1)


@dataclass(frozen=True)
class DatasetInfo:
    """How a folder's files are to be read."""

    depth_scale: float = 1000.0
    """File units to a metre in integer depth files: 1000 for millimetres, 256 for KITTI's."""
    depth_gauge: Gauge = "metres"
    normals_frame: NormalsFrame = "opengl"
    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)
    tables: Mapping[str, LabelTable] = field(default_factory=dict)
    """Label tables by truth; the one under "" is for every truth that has none of its own."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """The settings that created pictures and labels hang on; nothing for others."""

    @property
    def labeller(self) -> str:
        """The beginning of the hash of the weights that made the labels; "" where no model of ours did."""
        return str(self._made.get("weights", "")) if "annotating" in self._made else ""

    @property
    def created(self) -> bool:
        """Whether a network made the pictures."""
        return not {"variation", "created by", "edited by"}.isdisjoint(self._made)

    @property
    def _made(self) -> Mapping[str, Any]:
        """How pictures and labels were made, before they were exported."""
        made = self.source
        while isinstance(made.get("origin"), dict):
            made = made["origin"]
        return made

    def table(self, truth: str) -> LabelTable | None:
        return self.tables.get(truth, self.tables.get(""))


def read_info(*folders: Path) -> DatasetInfo:
    """What `dataset_info.json` and `classes.json` say, each from the first of `folders` that has it."""
    stated: dict[str, Any] = {}
    if path := _first(folders, "dataset_info.json"):
        stated = _read_object(path)
        stated = {name: stated[name] for name in DatasetInfo.__annotations__ if name in stated and name != "tables"}
        _refuse(path, "depth_gauge", stated, get_args(Gauge))
        _refuse(path, "normals_frame", stated, get_args(NormalsFrame))
        if "depth_scale" in stated:
            stated["depth_scale"] = positive(path, "depth_scale", stated["depth_scale"])
        for kind in stated.get("kinds", {}).values():
            _refuse(path, "kinds", {"kinds": kind}, get_args(Kind))
        stated["kinds"] = {**KINDS, **stated.get("kinds", {})}
        if not isinstance(stated.get("source"), dict):
            stated.pop("source", None)
    if path := _first(folders, "classes.json"):
        stated["tables"] = read_classes(path)
    return DatasetInfo(**stated)


def read_classes(path: Path) -> dict[str, LabelTable]:
    """Label tables by truth from a `classes.json`; a single one stands under ""."""
    content = read_json(path)
    if isinstance(content, dict) and "classes" not in content:
        return {truth: _table(path, value) for truth, value in content.items()}
    return {"": _table(path, content)}


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"Cannot read {path} as JSON ({error}); mend or remove it.") from error


def positive(path: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise DataError(f"{path} gives {name} {value!r}; write a number above zero, 1000 for millimetres.")
    return float(value)


def _table(path: Path, content: Any) -> LabelTable:
    stated = content if isinstance(content, dict) else {"classes": content}
    names, ignore = stated.get("classes"), stated.get("ignore", [])
    ignore = [ignore] if isinstance(ignore, int) else ignore
    try:
        if isinstance(names, dict):
            named = sorted((int(value), str(name)) for value, name in names.items())
            return LabelTable(
                tuple(name for _, name in named), tuple(v for v, _ in named), tuple(sorted({*ignore, IGNORE}))
            )
        if isinstance(names, list) and names:
            return LabelTable.contiguous(tuple(str(name) for name in names), tuple(int(v) for v in ignore))
    except (TypeError, ValueError):
        pass
    raise DataError(f'{path} must be a list of class names or {{"classes": [...], "ignore": [...]}}.')


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object; mend or remove it.")
    return cast(dict[str, Any], content)


def _refuse(path: Path, name: str, stated: dict[str, Any], known: tuple[str, ...]) -> None:
    if name in stated and stated[name] not in known:
        raise DataError(f"{path} gives {name} {stated[name]!r}; known are {', '.join(known)}.")


def _first(folders: tuple[Path, ...], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
