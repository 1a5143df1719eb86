"""The layouts of folders that people bring, their classes and their splits."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denoisight.annotations import IGNORE
from denoisight.data.check import validate
from denoisight.data.images import write_png
from denoisight.data.inputs import find_images
from denoisight.data.open import open_data, open_pictures, outlines
from denoisight.data.readers.folder import read_folder
from denoisight.data.stats import statistics
from denoisight.errors import DataError, UsageError


def photo(path: Path, size: tuple[int, int] = (4, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], "red").save(path)


def label(path: Path, value: int = 1, size: tuple[int, int] = (4, 6)) -> None:
    write_png(path, np.full(size, value, np.uint8))


def pairs(root: Path, names: str, truth: str = "label") -> None:
    for name in names:
        photo(root / "image" / f"{name}.jpg")
        label(root / truth / f"{name}.png")


@pytest.mark.parametrize("images", ["rgb", "image", "images", "Images"])
@pytest.mark.parametrize("labels", ["label", "labels", "semantic", "seg"])
def test_folder_names_that_are_understood(tmp_path: Path, images: str, labels: str) -> None:
    photo(tmp_path / images / "street" / "a.jpg")
    label(tmp_path / labels / "street" / "a.png")
    reader = read_folder(tmp_path, "all")
    assert reader.keys == ("street/a",) and reader.truths == ("semantic",)


@pytest.mark.parametrize("place", ["rgb", "."])
def test_a_name_that_is_not_utf8_is_to_be_changed(tmp_path: Path, place: str) -> None:
    photo(tmp_path / place / "a.png")
    (tmp_path / place / "a.png").rename(tmp_path / place / os.fsdecode(b"x\xff.png"))
    says = r"x\\udcff.png' would have the key 'x\\udcff', which is not UTF-8; rename it"
    for open_one in (
        lambda: read_folder(tmp_path, "all"),
        lambda: open_pictures(tmp_path),
        lambda: find_images([tmp_path]),
    ):
        with pytest.raises(DataError, match=says):
            open_one()
    (problem,) = validate(tmp_path)
    assert problem.kind == "file name" and isinstance(problem.file, Path)


def test_nor_may_arrays_beside_photos_have_one(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    np.savez(tmp_path / "a.npz", seg=np.ones((1, 4, 6), np.uint8))
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / os.fsdecode(b"x\xff" + path.suffix.encode()))
    with pytest.raises(DataError, match="not UTF-8; rename it"):
        open_data(tmp_path, "all")


def test_truths_beside_photos_are_taken_and_told(tmp_path: Path) -> None:
    photo(tmp_path / "my_street.jpg")
    photo(tmp_path / "unlabelled_street.jpg")
    write_png(tmp_path / "my_street_depth256.png", np.full((4, 6), 512, np.uint16))
    label(tmp_path / "my_street_label.png", 2)
    write_png(tmp_path / "my_street_mask.png", np.full((4, 6), 255, np.uint8))
    reader = read_folder(tmp_path, "all")
    assert reader.keys == ("my_street",)
    assert reader.truths == ("depth", "mask", "semantic")
    assert reader[0].truths["depth"].values.unique().tolist() == [2]
    assert any(note.startswith("Took NAME_depth256.* beside NAME.* as depth (1 files)") for note in reader.notes)
    assert any("Left out 1 items" in note and "unlabelled_street" in note for note in reader.notes)


def test_millimetres_beside_photos(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    write_png(tmp_path / "a_depth.png", np.full((4, 6), 1500, np.uint16))
    assert read_folder(tmp_path, "all")[0].truths["depth"].values.unique().tolist() == [1.5]


def test_metadata_names_files_and_texts(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.jpg")
    write_png(tmp_path / "far" / "b.png", np.full((4, 6), 1000, np.uint16))
    label(tmp_path / "edges" / "c.png", 255)
    row = {
        "file_name": "photos/a.jpg",
        "depth_file_name": "far/b.png",
        "rims_file_name": "edges/c.png",
        "text": "hi",
    }
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row) + "\n\n")
    reader = read_folder(tmp_path, "all")
    assert reader.keys == ("photos/a",) and reader.truths == ("depth",)
    assert reader[0].query.text == "hi"
    assert any("unknown kind: rims" in note for note in reader.notes)
    (tmp_path / "dataset_info.json").write_text('{"kinds": {"rims": "mask"}, "depth_scale": 500}')
    sample = read_folder(tmp_path, "all")[0]
    assert sample.truths["rims"].probability.min() == 1
    assert sample.truths["depth"].values.unique().tolist() == [2]


@pytest.mark.parametrize("line", ["{", "[]", '{"text": "no file"}'])
def test_a_broken_line_of_metadata_is_numbered(tmp_path: Path, line: str) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.jpg"}\n' + line)
    with pytest.raises(DataError, match="Line 2 of "):
        read_folder(tmp_path, "all")


def test_arrays_win_over_the_pictures_beside_them(tmp_path: Path) -> None:
    photo(tmp_path / "rgb" / "a.png")
    write_png(tmp_path / "depth" / "a.png", np.full((4, 6), 1000, np.uint16))
    np.save(tmp_path / "depth" / "a.npy", np.full((4, 6), 3.25, np.float32))
    assert read_folder(tmp_path, "all")[0].truths["depth"].values.unique().tolist() == [3.25]
    np.savez(tmp_path / "depth" / "a.npz", np.full((4, 6), 4.5, np.float32))
    assert read_folder(tmp_path, "all")[0].truths["depth"].values.unique().tolist() == [4.5]


def test_photos_of_one_stem_keep_their_suffix_in_the_key(tmp_path: Path) -> None:
    photo(tmp_path / "rgb" / "a.png")
    photo(tmp_path / "rgb" / "a.jpg")
    label(tmp_path / "label" / "a.png")
    assert read_folder(tmp_path, "all").keys == ("a.jpg", "a.png")


def test_classes_and_ignored_values(tmp_path: Path) -> None:
    pairs(tmp_path, "a")
    (tmp_path / "classes.json").write_text('{"classes": ["sky", "road"], "ignore": [7]}')
    write_png(tmp_path / "label" / "a.png", np.array([[0, 1, 7, 255, 0, 0]] * 4, np.uint8))
    reader = read_folder(tmp_path, "all")
    assert reader.classes == ("sky", "road")
    assert reader[0].truths["semantic"].ids[0].tolist() == [0, 1, IGNORE, IGNORE, 0, 0]
    label(tmp_path / "label" / "a.png", 2)
    with pytest.raises(DataError, match=r"label values 2.*classes\.json"):
        read_folder(tmp_path, "all")[0]


def test_class_values_may_be_any_numbers(tmp_path: Path) -> None:
    pairs(tmp_path, "a")
    (tmp_path / "classes.json").write_text('{"classes": {"26": "car", "1": "road"}}')
    reader = read_folder(tmp_path, "all")
    assert reader.classes == ("road", "car")
    assert reader[0].truths["semantic"].ids.unique().tolist() == [0]


@pytest.mark.parametrize("content", ["3", '{"classes": []}', "[", '{"classes": {"1": "a"}, "ignore": [1]}'])
def test_a_bad_classes_file_is_named(tmp_path: Path, content: str) -> None:
    pairs(tmp_path, "a")
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(DataError, match=r"classes\.json"):
        read_folder(tmp_path, "all")


def test_unnamed_classes_are_counted_over_all_splits(tmp_path: Path) -> None:
    for split, value in [("train", 1), ("test", 4)]:
        photo(tmp_path / split / "image" / "a.jpg")
        label(tmp_path / split / "label" / "a.png", value)
    assert read_folder(tmp_path, "test").classes == tuple(f"class {i}" for i in range(5))


def test_all_splits_together_keep_their_keys_apart(tmp_path: Path) -> None:
    pairs(tmp_path / "train", "ab")
    pairs(tmp_path / "test", "a")
    assert read_folder(tmp_path, "all").keys == ("train/a", "train/b", "test/a")
    assert read_folder(tmp_path, "test").keys == ("a",)


def test_a_truth_of_another_size_is_refused(tmp_path: Path) -> None:
    pairs(tmp_path, "a")
    label(tmp_path / "label" / "a.png", size=(2, 3))
    with pytest.raises(DataError, match=r"a\.png is 3x2 but .*a\.jpg is 6x4; bring them to one size"):
        read_folder(tmp_path, "all")[0]


def test_a_row_lost_in_rounding_is_cut_and_told(tmp_path: Path) -> None:
    pairs(tmp_path, "a")
    label(tmp_path / "label" / "a.png", size=(3, 6))
    reader = read_folder(tmp_path, "all")
    assert reader[0].size == reader[0].truths["semantic"].size == (3, 6)
    assert any("row or column" in note for note in reader.notes)


def test_asking_for_fewer_truths_finds_more_items(tmp_path: Path) -> None:
    pairs(tmp_path, "abc")
    label(tmp_path / "mask" / "a.png", 255)
    assert read_folder(tmp_path, "all").keys == ("a",)
    assert read_folder(tmp_path, "all", ("semantic",)).keys == ("a", "b", "c")
    with pytest.raises(DataError, match="has no truth depth; it has mask, semantic"):
        read_folder(tmp_path, "all", ("depth",))


def test_splits_from_a_file_beside_or_above(tmp_path: Path) -> None:
    pairs(tmp_path / "set", "abcd")
    above = tmp_path / "splits.json"
    above.write_text('{"set": {"train": ["c", "a"], "validation": ["b"]}}')
    assert read_folder(tmp_path / "set", "train").keys == ("a", "c")
    assert read_folder(tmp_path / "set", "val").keys == ("b",)
    with pytest.raises(DataError, match=r"nothing in split 'test'; it has train \(2\), val \(1\)"):
        read_folder(tmp_path / "set", "test")
    (tmp_path / "set" / "splits.json").write_text('{"train": ["a", "x"], "val": ["b"]}')
    with pytest.raises(DataError, match=r"splits\.json names items that are not in .*: x;"):
        read_folder(tmp_path / "set", "train")


def test_splits_by_folders_within_the_image_folder(tmp_path: Path) -> None:
    for split in ("train", "val"):
        photo(tmp_path / "images" / split / "a.jpg")
        label(tmp_path / "labels" / split / "a.png")
    assert read_folder(tmp_path, "val").keys == ("val/a",)


def test_val_is_held_out_of_train_where_it_is_missing(tmp_path: Path) -> None:
    pairs(tmp_path / "train", "abcdefgh")
    pairs(tmp_path / "test", "x")
    train, val = read_folder(tmp_path, "train"), read_folder(tmp_path, "val")
    assert set(train.keys) | set(val.keys) == set("abcdefgh")
    assert set(train.keys).isdisjoint(val.keys) and len(val) >= 1
    assert any("No val split" in note for note in val.notes)
    assert read_folder(tmp_path, "test").keys == ("x",)


def test_hashed_splits_do_not_move_when_items_are_added(tmp_path: Path) -> None:
    names = [f"{i:03d}" for i in range(100)]
    for name in names:
        photo(tmp_path / "image" / f"{name}.jpg")
        label(tmp_path / "label" / f"{name}.png")
    before = {split: set(read_folder(tmp_path, split).keys) for split in ("train", "val", "test")}
    assert 8 <= len(before["val"]) <= 23 and 8 <= len(before["test"]) <= 23
    photo(tmp_path / "image" / "new.jpg")
    label(tmp_path / "label" / "new.png")
    for split, keys in before.items():
        assert set(read_folder(tmp_path, split).keys) - {"new"} == keys


@pytest.mark.parametrize("names", ["ab", "abc", "xy"])
def test_tiny_folders_have_something_to_learn_and_to_choose_by(tmp_path: Path, names: str) -> None:
    pairs(tmp_path, names)
    assert len(read_folder(tmp_path, "train")) >= 1
    assert len(read_folder(tmp_path, "val")) >= 1


def test_a_folder_without_pairs_says_what_it_holds_and_what_is_accepted(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    (tmp_path / "notes").mkdir()
    with pytest.raises(DataError, match=r"1 pictures and 0 truths .*\(a\.jpg, notes\).*metadata\.jsonl"):
        read_folder(tmp_path, "all")


def test_data_are_found_by_name_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(tmp_path / "mine", "ab")
    monkeypatch.delenv("DENOISIGHT_DATA_DIR", raising=False)
    monkeypatch.setenv("BASE_DATA_DIR", str(tmp_path))
    assert len(open_data("mine", "all")) == 2
    monkeypatch.setenv("DENOISIGHT_DATA_DIR", str(tmp_path))
    assert len(open_data("folder:mine", "all")) == 2
    with pytest.raises(DataError, match="no data at 'yours'.* which has mine"):
        open_data("yours", "all")


@pytest.mark.parametrize(("spec", "says"), [("foder:x", "Did you mean 'folder'"), ("scenes:many", "scenes:500")])
def test_bad_names_are_usage_errors(spec: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_data(spec, "train")


def test_statistics_count_everything(tmp_path: Path) -> None:
    pairs(tmp_path, "ab")
    write_png(tmp_path / "label" / "a.png", np.array([[0, 1, 1, 255, 255, 255]] * 4, np.uint8))
    for name, far in [("a", 1000), ("b", 4000)]:
        depth = np.full((4, 6), far, np.uint16)
        depth[:2] = 0
        write_png(tmp_path / "depth" / f"{name}.png", depth)
        write_png(tmp_path / "mask" / f"{name}.png", np.array([[0, 255] * 3] * 4, np.uint8))
    found = statistics(read_folder(tmp_path, "all"))
    assert found["count"] == 2 and found["sizes"] == {"6x4": 2}
    assert found["mean_colour"] == pytest.approx([1, 0, 0], abs=0.02)
    depth, semantic = found["truths"]["depth"], found["truths"]["semantic"]
    assert depth["valid_share"] == 0.5 and depth["gauge"] == "metres"
    assert depth["quantiles"]["0.25"] == pytest.approx(1, rel=0.003)
    assert depth["quantiles"]["0.75"] == pytest.approx(4, rel=0.003)
    assert semantic["valid_share"] == 0.75
    assert semantic["class_shares"] == {"class 0": 4 / 36, "class 1": 32 / 36}
    assert found["truths"]["mask"]["inside_share"] == 0.5


def test_folders_that_are_linked_to_are_looked_into_once(tmp_path: Path) -> None:
    photo(tmp_path / "rgb" / "x.jpg")
    photo(tmp_path / "elsewhere" / "y.jpg")
    (tmp_path / "rgb" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "rgb")
    assert open_pictures(tmp_path).keys == ("more/y", "x")


def test_numbered_names_are_held_out_by_their_numbers(tmp_path: Path) -> None:
    for i in range(20):
        photo(tmp_path / "rgb" / f"car #{i}.jpg")
    assert len(open_pictures(tmp_path, "val")) < 10 < len(open_pictures(tmp_path, "train")) < 20


def test_photographs_without_segments_are_pictures_and_no_samples(tmp_path: Path) -> None:
    for name in "abc":
        photo(tmp_path / f"{name}.jpg")
        np.savez(tmp_path / f"{name}.npz", seg=np.ones((1, 4, 6), np.uint8))
    (tmp_path / "c.npz").unlink()
    (tmp_path / "b.npz").write_bytes(b"cut short")
    assert open_data(tmp_path, "all").keys == ("a", "b")
    assert any("lack segments: c" in note for note in open_data(tmp_path, "all").notes)
    pictures = open_pictures(tmp_path, annotated=False)
    assert pictures.keys == ("a", "b", "c") and [pictures[i].truths for i in range(3)] == [{}] * 3
    before = outlines(pictures)
    Image.new("RGB", (6, 4), "blue").save(tmp_path / "a.jpg", quality=1)
    assert outlines(open_pictures(tmp_path, annotated=False)) != before
