"""Numbers as they stand in a file: arrays with their validity, and the integers of one-channel pictures."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Bool, Float, Integer
from PIL import Image

from ..errors import shortlist
from ..runtime import whole_file
from .archive import FilePath, Member, as_file
from .images import load
from .problem import bad_file

ARRAY_SUFFIXES = (".npz", ".npy")


def write_arrays(path: Path, **arrays: np.ndarray) -> Path:
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    return path


def write_array(path: Path, array: np.ndarray) -> Path:
    with whole_file(path) as temporary:
        np.save(temporary, array)
    return path


def read_array(path: FilePath, name: str) -> tuple[np.ndarray, Bool[np.ndarray, "h w"] | None]:
    """The array `name` (or the only one) of a `.npz` or `.npy`, and the array "valid" beside it, if any."""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = dict(content) if path.suffix == ".npz" else {name: content}
    except FileNotFoundError as error:
        raise bad_file(path, "missing file", "is not there", "check the path") from error
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        says = f"is truncated or no array file ({error})"
        raise bad_file(path, "damaged file", says, "copy or export it again") from error
    valid = arrays.pop("valid", None)
    if name not in arrays and len(arrays) != 1:
        says = f"holds the arrays {shortlist(arrays) or 'none'}"
        raise bad_file(path, "wrong dtype", says, f"name the one to read {name!r}")
    values = arrays.get(name, next(iter(arrays.values())))
    if valid is not None and valid.shape not in (values.shape[:2], values.shape[-2:]):
        says = f"holds numbers of shape {values.shape} with a validity of shape {valid.shape}"
        raise bad_file(path, "wrong size", says, "bring them to one size")
    return values, None if valid is None else valid.astype(bool)


def read_plane(path: FilePath, name: str) -> tuple[Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"] | None]:
    """A map of float32 numbers and its validity; `DataError` where a number that is called valid is none."""
    values, valid = read_array(path, name)
    plane = _plane(path, values).astype(np.float32)
    if valid is not None and not np.isfinite(plane[valid]).all():
        raise bad_file(path, "NaN", "has NaN or infinity where it says valid", "mend its mask")
    return plane, valid


def read_integers(path: Path | str | Member) -> Integer[np.ndarray, "h w"]:
    """The numbers of a one-channel picture or integer array as they stand, palette indices included."""
    path = as_file(path)
    if path.suffix in ARRAY_SUFFIXES:
        values = _plane(path, read_array(path, "labels")[0])
        if values.dtype.kind not in "iub":
            raise bad_file(path, "wrong dtype", f"holds {values.dtype} numbers", "save labels as integers")
        return values.astype(np.int64)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise bad_file(path, "wrong dtype", "is a JPEG, which alters the numbers it stores", "save truths as PNG")
    picture = load(path)
    if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
        says = f"is a picture of mode {picture.mode}, not one whole number a pixel"
        raise bad_file(path, "wrong dtype", says, "save it as grey or indexed PNG")
    values = np.array(picture)
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def is_indexed(path: Path | str | Member) -> bool:
    """Whether the picture's numbers are indices into a palette."""
    with as_file(path).open("rb") as file, Image.open(file) as picture:
        return picture.mode == "P"


def _plane(path: FilePath, values: np.ndarray) -> np.ndarray:
    values = values.squeeze() if values.ndim == 3 and 1 in (values.shape[0], values.shape[-1]) else values
    if values.ndim != 2 or values.dtype.kind not in "iubf":
        says = f"holds {values.dtype} numbers of shape {values.shape}"
        raise bad_file(path, "wrong dtype", says, "save a map [h w]")
    return values
