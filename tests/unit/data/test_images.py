"""Every kind of picture that people have, good and bad."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from denoisight.data.images import image_size, picture_tensor, read_image, write_image, write_png
from denoisight.errors import DataError


def picture(height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_rgb_survives_writing_and_reading_bit_for_bit(tmp_path: Path) -> None:
    pixels = picture()
    image = read_image(write_png(tmp_path / "a.png", pixels))
    assert np.array_equal((image * 255).round().byte().permute(1, 2, 0).numpy(), pixels)
    again = read_image(write_image(tmp_path / "b.png", image))
    assert torch.equal(image, again)


def test_grey_is_replicated(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 51, 255]], np.uint8)).save(tmp_path / "grey.png")
    image = read_image(tmp_path / "grey.png")
    assert torch.allclose(image, torch.tensor([0, 0.2, 1]).expand(3, 1, 3))


def test_sixteen_bit_grey_is_scaled_by_its_own_range(tmp_path: Path) -> None:
    path = write_png(tmp_path / "deep.png", np.array([[0, 257, 65535]], np.uint16))
    assert torch.allclose(read_image(path)[0], torch.tensor([[0, 257 / 65535, 1]]))


def test_transparent_pixels_show_white(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [0, 0, 0, 128]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    image = read_image(tmp_path / "alpha.png")
    assert image[:, 0, 0].tolist() == [1, 1, 1]
    assert image[:, 0, 1].tolist() == [1, 0, 0]
    assert torch.allclose(image[:, 0, 2], torch.tensor(127 / 255), atol=0.01)


def test_palettes_and_their_transparency_are_converted(tmp_path: Path) -> None:
    indexed = Image.fromarray(np.array([[0, 1]], np.uint8))
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    indexed.save(tmp_path / "palette.png", transparency=0)
    image = read_image(tmp_path / "palette.png")
    assert image[:, 0, 0].tolist() == [1, 1, 1]
    assert image[:, 0, 1].tolist() == [0, 0, 1]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    red, green, blue = read_image(tmp_path / "print.jpg").mean((1, 2))
    assert red > 0.9 and green < 0.1 and blue < 0.1


def test_exif_rotation_is_undone(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, :3] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: left becomes top
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    image = read_image(tmp_path / "turned.png")
    assert image.shape == (3, 6, 4)
    assert image[:, :3].min() == 1 and image[:, 3:].max() == 0
    assert image_size(tmp_path / "turned.png") == (6, 4)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20000, 20)])
def test_odd_sizes_are_read(tmp_path: Path, width: int, height: int) -> None:
    Image.new("RGB", (width, height), "red").save(tmp_path / "odd.png")
    assert read_image(tmp_path / "odd.png").shape == (3, height, width)


def test_pictures_in_memory_follow_the_same_rules() -> None:
    assert picture_tensor(Image.new("L", (2, 1), 255)).shape == (3, 1, 2)
    assert picture_tensor(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).min() == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.png is not there; check the path"):
        read_image(tmp_path / "nowhere.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(picture(200, 300)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"cut\{suffix} is truncated or damaged .*; copy or export it again"):
        read_image(path)


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match="is not an image of a known kind; give one of"):
        read_image(tmp_path / "notes.png")
    with pytest.raises(DataError, match="is empty"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


def test_floating_point_pictures_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match="floating point"):
        read_image(tmp_path / "float.tif")


@pytest.mark.parametrize("side", [10_000, 14_000])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, side: int) -> None:
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match="more than 89,478,485 pixels; shrink it"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_files_without_permission_are_named(tmp_path: Path) -> None:
    path = write_png(tmp_path / "secret.png", picture())
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        read_image(path)
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="Cannot write"):
        write_png(tmp_path / "new.png", picture())


def test_writing_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write"):
        write_png(tmp_path / "file" / "a.png", picture())


def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = write_png(tmp_path / "a.png", picture())
    before = path.read_bytes()
    with full_disk(4096), pytest.raises(DataError, match=r"Cannot write .*a\.png.*Free some space"):
        write_png(path, picture(100, 100))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
