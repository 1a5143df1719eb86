"""What users name on the command line, and the pictures that are meant."""

import json
from pathlib import Path

import pytest
from PIL import Image

from denoisight.data.inputs import find_images
from denoisight.errors import DataError


def photos(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(root / name)
    return [root / name for name in names]


def keys(*inputs: object) -> list[str]:
    return [item.key for item in find_images([str(name) for name in inputs]).items]


def test_files_keep_the_order_in_which_they_were_named(tmp_path: Path) -> None:
    first, second = photos(tmp_path, "b.jpg", "a.png")
    assert keys(first, second) == ["b", "a"]
    assert keys(first, second, first) == ["b", "a"]


def test_folders_are_walked_and_keys_keep_their_folders(tmp_path: Path) -> None:
    photos(tmp_path, "x/b.jpg", "a.png", ".hidden.png")
    (tmp_path / "notes.txt").write_text("")
    assert keys(tmp_path) == ["a", "x/b"]


def test_of_a_data_set_only_the_pictures_are_taken(tmp_path: Path) -> None:
    photos(tmp_path, "rgb/a.png", "depth/a.png", "label/a.png")
    assert keys(tmp_path) == ["a"]


def test_truth_folders_below_photos_are_left_alone(tmp_path: Path) -> None:
    photos(tmp_path, "a.jpg", "holiday/b.jpg", "depth/a.png")
    assert keys(tmp_path) == ["a", "holiday/b"]


def test_globs(tmp_path: Path) -> None:
    photos(tmp_path, "a1.png", "a2.jpg", "b.png", "deep/a3.png")
    (tmp_path / "a.csv").write_text("")
    assert keys(tmp_path / "a*") == ["a1", "a2"]
    assert keys(tmp_path / "**" / "a?.png") == ["a1", "a3"]
    with pytest.raises(DataError, match="Nothing matches"):
        find_images([str(tmp_path / "*.bmp")])


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    (path,) = photos(tmp_path, "a[1].png")
    assert keys(path) == ["a[1]"]


def test_lists_are_relative_to_themselves_and_carry_texts(tmp_path: Path) -> None:
    photos(tmp_path, "in/a.png", "in/b.png")
    (tmp_path / "list.txt").write_text("in/b.png\n\nin/a.png\n")
    rows = [{"file_name": "in/a.png", "text": "the red one"}, {"file_name": "in/b.png"}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert keys(tmp_path / "list.txt") == ["b", "a"]
    assert [item.text for item in find_images([tmp_path / "list.jsonl"]).items] == ["the red one", ""]
    (tmp_path / "list.jsonl").write_text('{"name": "a.png"}')
    with pytest.raises(DataError, match=r'Line 1 .* no "file_name"'):
        find_images([tmp_path / "list.jsonl"])


def test_truths_beside_photos_are_left_out_and_told(tmp_path: Path) -> None:
    photos(tmp_path, "a.jpg", "a_depth256.png", "a_label.png", "lonely_depth.png")
    found = find_images([tmp_path])
    assert [item.key for item in found.items] == ["a", "lonely_depth"]
    assert found.notes == ("Left out 2 truths beside photos: a_depth256.png, a_label.png.",)


def test_keys_stay_unique_where_names_collide(tmp_path: Path) -> None:
    one, two, three, four = photos(tmp_path, "x/a.png", "y/a.png", "x/a.jpg", "x/b.png")
    found = keys(one, two, three, four)
    assert len(set(found)) == 4 and found[3] == "b"
    assert found == keys(four, three, two, one)[::-1]


def test_all_that_is_missing_is_counted(tmp_path: Path) -> None:
    (there,) = photos(tmp_path, "a.png")
    missing = [tmp_path / f"{i}.png" for i in range(7)]
    with pytest.raises(DataError, match=r"0\.png, .*4\.png and 2 more; check the paths"):
        find_images([there, *missing])


@pytest.mark.parametrize("inputs", [[], ["."]])
def test_nothing_to_work_on_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="No images in"):
        find_images(inputs)
