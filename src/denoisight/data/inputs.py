"""What a user names on the command line -> the pictures to work on, each with a key of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, shortlist
from .images import IMAGE_SUFFIXES
from .readers.layout import IMAGE_FOLDERS, TRUTH_NAMES, beside, check_key, files, read_metadata, subfolders


class Input(NamedTuple):
    key: str
    path: Path
    text: str = ""


@dataclass(frozen=True)
class Inputs:
    """The pictures in the order in which they were named, and what to tell the user about them."""

    items: tuple[Input, ...]
    notes: tuple[str, ...] = ()


class _Found(NamedTuple):
    path: Path
    name: Path
    """What the user would call it: its file name, or its place in the folder that was named."""
    text: str = ""


def find_images(inputs: Sequence[str | Path]) -> Inputs:
    """The pictures that `inputs` name: files, folders, globs, `.txt` lists of paths, `.jsonl` with file_name.

    Paths in a list are relative to the list. A picture named twice comes once. A key is the picture's name
    without its suffix (with folders inside a named folder), lengthened where two would be alike. Truths
    beside photos (NAME_depth.png beside NAME.jpg) are left out, which a note says. Raises `DataError` for
    what is missing, naming five and counting the rest, for a name that is not UTF-8, and where no picture is left.
    """
    found = {item.path.resolve(): item for name in inputs for item in _expand(str(name))}
    if missing := [item.path for item in found.values() if not item.path.is_file()]:
        raise DataError(f"There is no image at {shortlist(missing)}; check the paths.")
    truths = beside([item.path for item in found.values()])
    kept = [item for item in found.values() if item.path not in truths]
    if not kept:
        named = shortlist(inputs) or "nothing"
        raise DataError(f"No images in {named}; give files, folders, globs, or .txt or .jsonl lists of images.")
    left_out = f"Left out {len(truths)} truths beside photos: {shortlist(path.name for path in truths)}."
    keys = _unique_keys(kept)
    for key, item in zip(keys, kept, strict=True):
        check_key(key, item.path)
    items = tuple(Input(key, item.path, item.text) for key, item in zip(keys, kept, strict=True))
    return Inputs(items, (left_out,) if truths else ())


def _expand(name: str) -> Iterator[_Found]:
    path = Path(name)
    if path.is_dir():
        yield from _in_folder(path)
    elif path.suffix == ".txt" and path.is_file():
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        yield from (_listed(path, line.strip()) for line in lines if line.strip())
    elif path.suffix == ".jsonl" and path.is_file():
        rows, faults = read_metadata(path)
        if faults:
            raise faults[0].error()
        yield from (_listed(path, row["file_name"], str(row.get("text") or "")) for row in rows)
    elif not path.exists() and any(sign in name for sign in "*?["):
        matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not matches:
            raise DataError(f"Nothing matches {name}; check the pattern.")
        yield from (_Found(p, Path(p.name)) for p in matches if p.suffix.lower() in IMAGE_SUFFIXES)
    else:
        yield _Found(path, Path(path.name))


def _in_folder(folder: Path) -> Iterator[_Found]:
    """The pictures of a folder; of a data set's folder those of rgb/ or image/ rather than the truths."""
    inside = {path.name.lower(): path for path in subfolders(folder)}
    images = next((inside[name] for name in IMAGE_FOLDERS if name in inside), folder)
    truths = {path for name, path in inside.items() if name in TRUTH_NAMES}
    for path in files(images, IMAGE_SUFFIXES):
        if truths.isdisjoint(path.parents):
            yield _Found(path, path.relative_to(images))


def _listed(listing: Path, entry: str, text: str = "") -> _Found:
    return _Found(listing.parent / entry, Path(Path(entry).name), text)


def _unique_keys(found: Sequence[_Found]) -> list[str]:
    """Each name without its suffix; where that is not enough with it, then with ever more parent folders."""
    keys = [item.name.with_suffix("").as_posix() for item in found]
    depth = 0
    while twice := {key for key, count in Counter(keys).items() if count > 1}:
        for i, item in enumerate(found):
            if keys[i] in twice:
                parts = item.path.resolve().parts[1:]
                keys[i] = "/".join(parts[-len(item.name.parts) - depth :])
        depth += 1
    return keys
