"""Which files of a folder belong together. Nothing here opens a picture.

Three layouts are understood, tried in this order:

metadata.jsonl         a line per item: file_name, depth_file_name, normals_file_name, ..., text, key;
                       depth_exact, normals_exact, ... name array files, and win;
                       mask_text holds the words that the mask answers to, where they are not the text
rgb/ (image/, images/) beside depth/, normals/, label/, mask/, ...; files of one stem belong together
NAME.jpg               beside NAME_depth256.png, NAME_depth.png, NAME_normals.npz, NAME_label.png, ...
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import shortlist
from ..archive import FilePath
from ..arrays import ARRAY_SUFFIXES
from ..images import IMAGE_SUFFIXES
from ..problem import Problem

METADATA = "metadata.jsonl"
TRUTH_SUFFIXES = frozenset({*IMAGE_SUFFIXES, *ARRAY_SUFFIXES, ".json"})
IMAGE_FOLDERS = ("rgb", "image", "images")
TRUTH_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("depth", "depths"), "depth"),
    **dict.fromkeys(("normals", "normal"), "normals"),
    **dict.fromkeys(("semantic", "label", "labels", "seg", "segmentation"), "semantic"),
    **dict.fromkeys(("parts", "part"), "parts"),
    **dict.fromkeys(("instances", "instance"), "instances"),
    **dict.fromkeys(("mask", "masks"), "mask"),
    **dict.fromkeys(("boundary", "boundaries", "edges"), "boundary"),
    "saliency": "saliency",
    "referring": "referring",
    "boxes": "boxes",
}
"""The truth that a folder's, or a file ending's, name stands for."""

ENDINGS: Mapping[str, tuple[str, float | None]] = {
    "depth256": ("depth", 256.0),
    **{name: (truth, None) for name, truth in TRUTH_NAMES.items()},
}
"""NAME_ending beside NAME: the truth it is, and its depth scale where the ending tells."""

LAYOUTS = (
    "rgb/ (or image/, images/) beside depth/, normals/, label/ or mask/ with files of the same stems; "
    "a metadata.jsonl with file_name, depth_file_name, ...; or NAME.jpg beside NAME_depth.png, NAME_label.png"
)


@dataclass(frozen=True)
class TruthFile:
    path: FilePath
    scale: float | None = None
    """File units to a metre where the file's name tells them."""


@dataclass(frozen=True)
class Item:
    key: str
    image: FilePath
    truths: Mapping[str, TruthFile]
    text: str = ""
    phrases: Mapping[str, str] = field(default_factory=dict)
    """By a truth's name, the words that it answers to; "" where nothing is asked about it."""


@dataclass(frozen=True)
class Index:
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    lonely: tuple[Path, ...] = ()
    """Truths whose image is not there."""
    faults: tuple[Problem, ...] = ()
    """What is wrong with the list of items itself."""


def index(folder: Path) -> Index:
    """The items of one folder, sorted by key, those without any truth included.

    Raises `DataError` for a picture whose name is not UTF-8.
    """
    found = _arranged(folder)
    for item in found.items:
        check_key(item.key, item.image)
    return found


def check_key(key: str, path: FilePath) -> None:
    """Raises `DataError` for a key that can be neither hashed nor written down."""
    try:
        key.encode()
    except UnicodeEncodeError as error:
        sentence = f"{str(path)!r} would have the key {key!r}, which is not UTF-8"
        raise Problem(path, "file name", sentence, "rename it").error() from error


def _arranged(folder: Path) -> Index:
    if (folder / METADATA).is_file():
        return _from_metadata(folder)
    inside = {path.name.lower(): path for path in subfolders(folder)}
    if images := next((inside[name] for name in IMAGE_FOLDERS if name in inside), None):
        return _from_folders(images, {inside[name]: TRUTH_NAMES[name] for name in inside if name in TRUTH_NAMES})
    return _from_siblings(folder)


def subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def beside(images: Iterable[Path]) -> dict[Path, tuple[Path, str]]:
    """Those of `images` that are truths of others: {NAME_depth256.png: (NAME.jpg, "depth256")}."""
    images = list(images)
    by_stem = {path.with_suffix(""): path for path in images if path.suffix.lower() in IMAGE_SUFFIXES}
    found = {}
    for path in images:
        stem, _, ending = path.stem.rpartition("_")
        owner = by_stem.get(path.with_name(stem)) if stem else None
        if owner is not None and ending.lower() in ENDINGS:
            found[path] = (owner, ending.lower())
    return found


def read_metadata(path: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The lines of a `metadata.jsonl` that are objects with a file_name, and what is wrong with others."""
    rows, faults = [], []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        return [], [Problem(path, "metadata", f"{path} cannot be read ({error})", "mend or remove it")]
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else None
        except json.JSONDecodeError as error:
            sentence = f"Line {number} of {path} is not JSON ({error})"
            faults.append(Problem(path, "metadata", sentence, "mend or remove that line"))
            continue
        if isinstance(row, dict) and isinstance(row.get("file_name"), str):
            rows.append(row)
        elif row is not None:
            sentence = f'Line {number} of {path} has no "file_name"'
            faults.append(Problem(path, "metadata", sentence, "name its picture or remove that line"))
    return rows, faults


def _from_metadata(folder: Path) -> Index:
    path = folder / METADATA
    rows, faults = read_metadata(path)
    items = []
    for row in rows:
        key = str(row.get("key") or without_image_folder(Path(row["file_name"])).with_suffix("").as_posix())
        text, phrases = str(row.get("text") or ""), _named_phrases(row)
        items.append(Item(key, folder / row["file_name"], _named_truths(folder, row), text, phrases))
    if twice := [key for key, count in Counter(item.key for item in items).items() if count > 1]:
        sentence = f"{path} names {shortlist(twice)} more than once"
        faults.append(Problem(path, "metadata", sentence, "give each item a key of its own"))
    return Index(tuple(sorted(items, key=lambda item: item.key)), faults=tuple(faults))


def _named_truths(folder: Path, row: Mapping[str, Any]) -> dict[str, TruthFile]:
    """NAME_exact names an array file and wins over NAME_file_name, which names a picture."""
    truths = {}
    for ending in ("_file_name", "_exact"):
        for column, value in row.items():
            if column.endswith(ending) and isinstance(value, str):
                name = column.removesuffix(ending)
                truths[TRUTH_NAMES.get(name, name)] = TruthFile(folder / value)
    return truths


def _named_phrases(row: Mapping[str, Any]) -> dict[str, str]:
    said = {name.removesuffix("_text"): words for name, words in row.items() if name.endswith("_text")}
    return {TRUTH_NAMES.get(name, name): words for name, words in said.items() if isinstance(words, str)}


def _from_folders(images: Path, truth_folders: Mapping[Path, str]) -> Index:
    photos = keyed((path.relative_to(images), path) for path in files(images, IMAGE_SUFFIXES))
    stems = {path.relative_to(images).with_suffix("").as_posix() for path in photos.values()}
    truths: dict[str, dict[str, TruthFile]] = defaultdict(dict)
    lonely = []
    for folder, truth in truth_folders.items():
        for path in files(folder, TRUTH_SUFFIXES):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem not in stems:  # NAME_depth.png in depth/ belongs to NAME too
                start, _, ending = stem.rpartition("_")
                stem = start if ENDINGS.get(ending.lower(), ("",))[0] == truth else stem
            if stem in stems:
                truths[stem][truth] = exacter(truths[stem].get(truth), TruthFile(path))
            else:
                lonely.append(path)
    items = (
        Item(key, path, truths[path.relative_to(images).with_suffix("").as_posix()]) for key, path in photos.items()
    )
    return Index(tuple(items), lonely=tuple(lonely))


def _from_siblings(folder: Path) -> Index:
    every = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in TRUTH_SUFFIXES and _visible(path)]
    owned = beside(every)
    truths: dict[Path, dict[str, TruthFile]] = defaultdict(dict)
    for path, (photo, ending) in owned.items():
        truth, scale = ENDINGS[ending]
        truths[photo][truth] = exacter(truths[photo].get(truth), TruthFile(path, scale))
    photos = keyed((Path(p.name), p) for p in every if p not in owned and p.suffix.lower() in IMAGE_SUFFIXES)
    notes = tuple(
        f"Took NAME_{ending}.* beside NAME.* as {ENDINGS[ending][0]} ({count} files)."
        for ending, count in sorted(Counter(ending for _, ending in owned.values()).items())
    )
    return Index(tuple(Item(key, path, truths[path]) for key, path in photos.items()), notes)


def keyed(files: Iterable[tuple[Path, Path]]) -> dict[str, Path]:
    """Files by a unique key, sorted: the relative name without its suffix, or with it where two are alike."""
    named = [(name, path) for name, path in files]
    count = Counter(name.with_suffix("") for name, _ in named)
    keys = {(name if count[name.with_suffix("")] > 1 else name.with_suffix("")).as_posix(): p for name, p in named}
    return dict(sorted(keys.items()))


def files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """The visible files of a folder and the folders in it, sorted. Folders that are linked to come last, and only where
    they are not there already: a link may lead to a folder above it."""
    found, seen, ahead = [], set[Path](), [folder]
    while ahead:
        for place, inside, names in os.walk(ahead.pop(0)):
            if (real := Path(place).resolve()) in seen:
                inside.clear()
                continue
            seen.add(real)
            inside.sort()
            ahead += [link for link in (Path(place, name) for name in inside) if link.is_symlink()]
            found += [Path(place, name) for name in names]
    return sorted(path for path in found if path.suffix.lower() in suffixes and _visible(path))


def _visible(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_file()


def exacter(known: TruthFile | None, new: TruthFile) -> TruthFile:
    """Arrays with a validity before arrays before pictures, which beside an array are for looking at."""
    order = dict(zip(ARRAY_SUFFIXES, (0, 1), strict=True))
    return min(filter(None, (known, new)), key=lambda file: order.get(file.path.suffix, 2))


def without_image_folder(path: Path) -> Path:
    """The path of a picture in a data set, from the folder of its pictures on where it lies in one."""
    parts = path.parts
    return Path(*parts[1:]) if len(parts) > 1 and parts[0].lower() in IMAGE_FOLDERS else path
