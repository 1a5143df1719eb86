"""Annotations come back from disk as they were written, and bad files are named."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from denoisight.annotations import IGNORE, Annotation, Boxes, Depth, Labels, Mask, Normals
from denoisight.data.files import (
    kind_of,
    normals_in_frame,
    read_annotation,
    read_boxes,
    read_depth,
    read_labels,
    read_mask,
    read_normals,
    write_annotation,
)
from denoisight.data.images import write_png
from denoisight.data.info import DatasetInfo, LabelTable, read_info
from denoisight.errors import DataError

CLASSES = ("floor", "wall", "lamp")


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_normals() -> Normals:
    vectors = torch.randn(3, 5, 7, generator=draw())
    vectors[:, 0, 0] = 0
    return Normals.of(vectors)


def some_boxes() -> Boxes:
    xyxy = torch.rand(3, 4, generator=draw()) * 5
    ids, scores = torch.tensor([0, 1, IGNORE]), torch.tensor([0.1, 1.0, 0.0])
    return Boxes(xyxy, ids, scores, torch.tensor([True, True, False]), (5, 7), CLASSES)


def some_annotations() -> dict[str, Annotation]:
    mask = Mask(torch.eye(5), torch.rand(5, 5, generator=draw()) > 0.2)
    return {
        "depth": Depth(torch.arange(12.0).reshape(3, 4) / 1000, torch.arange(12).reshape(3, 4) > 0),
        "affine depth": Depth(torch.rand(3, 4, generator=draw()), torch.rand(3, 4, generator=draw(1)) > 0.3, "affine"),
        "normals": some_normals(),
        "labels": Labels(torch.tensor([[0, 1, 2, IGNORE]]), CLASSES),
        "instances": Labels(torch.tensor([[0, 1, 200, IGNORE]]), ()),
        "things with scores": Labels(torch.tensor([[0, 1, 2, IGNORE]]), (), torch.tensor([0.9, 0.25, 0.0])),
        "mask": Mask(mask.probability * mask.valid, mask.valid),
        "soft mask": Mask(torch.rand(4, 5, generator=draw()), torch.ones(4, 5, dtype=torch.bool)),
        "boxes": some_boxes(),
    }


@pytest.mark.parametrize("name", some_annotations())
def test_annotations_come_back_exactly(tmp_path: Path, name: str) -> None:
    annotation = some_annotations()[name]
    if name == "affine depth":
        annotation = Depth(annotation.values * annotation.valid, annotation.valid, annotation.gauge)
    info = DatasetInfo(
        depth_gauge="affine" if name == "affine depth" else "metres",
        tables={"": LabelTable.contiguous(CLASSES)},
    )
    files = write_annotation(tmp_path, "a", annotation)
    assert all(path.is_file() for path in files)
    back = read_annotation(files[0], "it", kind_of(annotation), info)
    assert back.size == annotation.size
    for field, tensor in annotation.tensors().items():
        assert torch.equal(back.tensors()[field], tensor), field
    assert getattr(back, "classes", None) == getattr(annotation, "classes", None)


def test_metric_depth_is_rounded_to_millimetres_not_truncated(tmp_path: Path) -> None:
    depth = Depth.of(torch.tensor([[1.0006, 0.0001, 65.535, 0.0]]))
    (path,) = write_annotation(tmp_path, "a", depth)
    stored = np.array(Image.open(path))
    assert stored.dtype == np.uint16
    assert stored.tolist() == [[1001, 1, 65535, 0]]
    assert read_depth(path).valid.tolist() == [[True, True, True, False]]


@pytest.mark.parametrize("exact", [True, False])
def test_depth_beyond_the_png_or_on_request_keeps_its_floats(tmp_path: Path, exact: bool) -> None:
    depth = Depth.of(torch.tensor([[1.23456, 0.0, 1.0 if exact else 80.0]]))
    (path,) = write_annotation(tmp_path, "a", depth, exact=exact)
    assert path.suffix == ".npz"
    assert torch.equal(read_depth(path).values, depth.values)


def test_affine_depth_has_a_sixteen_bit_picture_beside_its_floats(tmp_path: Path) -> None:
    depth = Depth(torch.tensor([[0.0, 0.5, 1.0]]), torch.ones(1, 3, dtype=torch.bool), "affine")
    array, picture = write_annotation(tmp_path, "a", depth)
    assert np.load(array).dtype == np.float32
    assert np.array(Image.open(picture)).tolist() == [[0, 32768, 65535]]


def test_depth_up_to_scale_has_its_farthest_pixel_white(tmp_path: Path) -> None:
    depth = Depth(torch.tensor([[0.5, 1.0, 4.0, 9.0]]), torch.tensor([[True, True, True, False]]), "scale")
    array, picture = write_annotation(tmp_path, "a", depth)
    assert np.load(array)[0, :3].tolist() == [0.5, 1.0, 4.0] and np.isnan(np.load(array)[0, 3])
    assert np.array(Image.open(picture)).tolist() == [[8192, 16384, 65535, 0]]


def test_depth_units_follow_the_scale(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", np.array([[0, 256, 384]], np.uint16))
    depth = read_depth(path, scale=256)
    assert depth.values.tolist() == [[0, 1, 1.5]]
    assert depth.valid.tolist() == [[False, True, True]]


def test_float_depth_without_a_mask_is_valid_where_it_is_a_distance(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[np.nan, np.inf, -1, 0, 2]], np.float16))
    depth = read_depth(tmp_path / "a.npy")
    assert depth.valid.tolist() == [[False, False, False, False, True]]
    assert depth.values.tolist() == [[0, 0, 0, 0, 2]]


def test_eight_bit_depth_is_refused(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", np.ones((2, 2), np.uint8))
    with pytest.raises(DataError, match="8-bit picture, not depth; save 16-bit millimetres"):
        read_depth(path)


def test_normals_have_a_picture_that_is_right_to_its_rounding(tmp_path: Path) -> None:
    normals = some_normals()
    _, picture = write_annotation(tmp_path, "a", normals)
    back = read_normals(picture)
    assert torch.equal(back.valid, normals.valid)
    assert (back.vectors - normals.vectors).abs().max() < 0.01
    assert np.array(Image.open(picture))[0, 0].tolist() == [0, 0, 0]


def test_opencv_normals_are_turned_into_our_frame(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[[0.0, 0.6, -0.8]]], np.float32))
    ours = read_normals(tmp_path / "a.npy", "opencv")
    assert torch.allclose(ours.vectors[:, 0, 0], torch.tensor([0.0, -0.6, 0.8]))
    assert torch.equal(normals_in_frame(normals_in_frame(ours, "opencv"), "opencv").vectors, ours.vectors)


def test_normals_with_channels_first_are_understood(tmp_path: Path) -> None:
    normals = some_normals()
    np.save(tmp_path / "a.npy", normals.vectors.numpy())
    assert torch.allclose(read_normals(tmp_path / "a.npy").vectors, normals.vectors, atol=1e-6)


def test_bad_normals_are_named(tmp_path: Path) -> None:
    valid = np.ones((2, 2), bool)
    vectors = np.full((2, 2, 3), [0, 0, 1], np.float32)
    np.savez(tmp_path / "long.npz", normals=vectors * 2, valid=valid)
    np.savez(tmp_path / "nan.npz", normals=vectors * np.nan, valid=valid)
    np.savez(tmp_path / "size.npz", normals=vectors, valid=valid[:1])
    np.save(tmp_path / "flat.npy", vectors[..., 0])
    for name, says in [
        ("long", "length 1"),
        ("nan", "no numbers"),
        ("size", "one size"),
        ("flat", r"\[h w 3\]"),
    ]:
        path = next(tmp_path.glob(f"{name}.*"))
        with pytest.raises(DataError, match=says) as caught:
            read_normals(path)
        assert path.name in str(caught.value)


def test_labels_are_an_indexed_png_that_keeps_void(tmp_path: Path) -> None:
    (path,) = write_annotation(tmp_path, "a", Labels(torch.tensor([[0, 2, IGNORE]]), CLASSES))
    stored = Image.open(path)
    assert stored.mode == "P"
    assert np.array(stored).tolist() == [[0, 2, 255]]


def test_label_values_are_mapped_by_the_table(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", np.array([[7, 26, 0, 255]], np.uint8))
    table = LabelTable(("road", "car"), (7, 26), ignore=(0, 255))
    assert read_labels(path, table).ids.tolist() == [[0, 1, IGNORE, IGNORE]]
    with pytest.raises(DataError, match=r"a\.png has the label values 26.*classes\.json"):
        read_labels(path, LabelTable(("road",), (7,), ignore=(0, 255)))


def test_a_listed_class_that_is_ignored_is_no_class() -> None:
    table = LabelTable.contiguous(("void", "road", "car"), ignore=(0,))
    assert table.classes == ("road", "car")
    assert table.decode(np.array([[0, 1, 2, 3, 70000]])).tolist() == [[IGNORE, 0, 1, -1, -1]]


def test_sixteen_bit_labels_are_read(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", np.array([[1000, 300]], np.uint16))
    assert read_labels(path, LabelTable(("a", "b"), (300, 1000))).ids.tolist() == [[1, 0]]


def test_labels_that_would_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="label"):
        write_annotation(tmp_path, "a", Labels(torch.tensor([[3]]), CLASSES))
    with pytest.raises(DataError, match="label"):
        write_annotation(tmp_path, "a", Labels(torch.tensor([[300]]), ()))
    assert not list(tmp_path.iterdir())


def test_colour_pictures_and_jpegs_are_no_labels(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    Image.new("L", (2, 2)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="not one whole number a pixel"):
        read_labels(tmp_path / "a.png")
    with pytest.raises(DataError, match="JPEG"):
        read_labels(tmp_path / "a.jpg")


@pytest.mark.parametrize("white", [1, 255])
def test_grey_masks_are_read_by_their_white(tmp_path: Path, white: int) -> None:
    path = write_png(tmp_path / "a.png", np.array([[0, white]], np.uint8))
    assert read_mask(path).probability.tolist() == [[0, 1]]
    Image.fromarray(np.array([[False, True]])).save(path)
    assert read_mask(path).probability.tolist() == [[0, 1]]


def test_class_numbers_are_no_mask(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", np.array([[0, 11]], np.uint8))
    with pytest.raises(DataError, match="class numbers"):
        read_mask(path)


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_truncated_arrays_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, np.ones((50, 50), np.float32))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"a\{suffix} is truncated"):
        read_depth(path)
    path.unlink()
    with pytest.raises(DataError, match="is not there"):
        read_depth(path)


def test_a_mask_that_calls_nan_valid_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", depth=np.full((2, 2), np.nan, np.float32), valid=np.ones((2, 2), bool))
    with pytest.raises(DataError, match="NaN or infinity where it says valid"):
        read_depth(tmp_path / "a.npz")


def test_a_file_that_holds_no_boxes_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"boxes": [{}]}')
    with pytest.raises(DataError, match=r"a\.json holds no boxes"):
        read_boxes(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("source", "labeller"),
    [
        ({"weights": "0a1b", "annotating": {"tasks": ["depth"]}}, "0a1b"),
        ({"exported_from": "shards", "origin": {"weights": "0a1b", "annotating": {}}}, "0a1b"),
        ({"created by": "tiny", "weights": "0a1b"}, ""),
        ("a page on the web", ""),
    ],
)
def test_a_folder_tells_whose_weights_made_its_labels(tmp_path: Path, source: object, labeller: str) -> None:
    (tmp_path / "dataset_info.json").write_text(json.dumps({"source": source, "depth_scale": 256}))
    assert read_info(tmp_path).labeller == labeller and read_info(tmp_path).depth_scale == 256
