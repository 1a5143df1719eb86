"""Pictures on disk <-> pictures in memory, whatever camera, editor or scanner they came from."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..render import to_rgb
from ..runtime import whole_file
from .archive import Member, as_file
from .problem import bad_file

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})

MAX_PIXELS = 89_478_485
"""About 9500 x 9500: a picture of more pixels than this is refused before it is unpacked."""


def read_image(path: Path | str | Member) -> Float[Tensor, "3 h w"]:
    """Read a picture as RGB in [0, 1], turned upright as its EXIF orientation says.

    Grey is replicated (16-bit grey divided by 65535), palettes and CMYK are converted, and what is
    transparent shows white. Raises `DataError` for a file that is missing, damaged, too large or no picture.
    """
    return picture_tensor(load(path), path)


def picture_tensor(picture: Image.Image, name: Path | str | Member = "The picture") -> Float[Tensor, "3 h w"]:
    """A PIL picture as RGB in [0, 1], by the rules of `read_image`, but not turned; errors call it `name`."""
    if picture.mode == "F":
        says = "holds floating point numbers, not brightness"
        raise bad_file(name, "wrong dtype", says, "give it 8 or 16 bits a channel")
    if picture.mode.startswith("I"):
        deep = torch.from_numpy(np.array(picture).astype(np.float32)).clamp(0, 65535) / 65535
        return deep.expand(3, -1, -1).contiguous()
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    pixels = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div(255)


def load(path: Path | str | Member) -> Image.Image:
    """Open, unpack and turn a picture upright, in its own mode; `DataError` names the file and the remedy."""
    path = as_file(path)
    try:
        with path.open("rb") as file, Image.open(file) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            picture.load()
            return ImageOps.exif_transpose(picture)
    except FileNotFoundError as error:
        raise bad_file(path, "missing file", "is not there", "check the path") from error
    except (PermissionError, IsADirectoryError) as error:
        raise bad_file(path, "missing file", f"cannot be read ({error.strerror})", "give a readable file") from error
    except Image.DecompressionBombError as error:
        says = f"has more than {MAX_PIXELS:,} pixels"
        raise bad_file(path, "wrong size", says, "shrink it or cut it into tiles") from error
    except UnidentifiedImageError as error:
        with path.open("rb") as file:
            says = "is not an image of a known kind" if file.read(1) else "is empty"
        kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise bad_file(path, "damaged file", says, f"give one of {kinds}") from error
    # Pillow's decoders raise all of these on damaged files.
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error) as error:
        says = f"is truncated or damaged ({error})"
        raise bad_file(path, "damaged file", says, "copy or export it again") from error


def image_size(path: Path | str | Member) -> tuple[int, int]:
    """(height, width) of the upright picture."""
    picture = load(path)
    return picture.height, picture.width


def write_png(
    path: Path | str,
    pixels: UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"],
    palette: UInt8[np.ndarray, "k 3"] | None = None,
) -> Path:
    """Write RGB, 8-bit or 16-bit grey, or with a `palette` 8-bit indices; the file is whole or absent."""
    path = Path(path)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if palette is not None:
        picture.putpalette(palette.tobytes())
    with whole_file(path) as temporary:
        # Level 1 writes 16-bit maps five times faster than the default and hardly larger.
        picture.save(temporary, format="PNG", compress_level=1)
    return path


def write_image(path: Path | str, image: Float[Tensor, "3 h w"]) -> Path:
    """Write a picture in [0, 1] as an 8-bit PNG, rounded; values outside are clamped."""
    return write_png(path, to_rgb(image))
