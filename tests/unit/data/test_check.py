"""Every bad item is listed with its kind; a folder of good ones has nothing to list."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denoisight.data.check import validate
from denoisight.data.images import write_png
from denoisight.errors import DataError, UsageError


def good_folder(root: Path) -> None:
    for name in ("a", "b"):
        (root / "rgb").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), "red").save(root / "rgb" / f"{name}.png")
        write_png(root / "depth" / f"{name}.png", np.full((4, 6), 1000, np.uint16))
        write_png(root / "label" / f"{name}.png", np.ones((4, 6), np.uint8))
        (root / "normals").mkdir(exist_ok=True)
        np.save(root / "normals" / f"{name}.npy", np.full((4, 6, 3), [0, 0, 1], np.float32))
    (root / "classes.json").write_text('["sky", "road"]')


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def spoil(root: Path) -> dict[str, str]:
    """Break one file in every way there is; return the kind of problem by file."""
    good_folder(root)
    for name in "cdefghijklmn":
        for folder in ("rgb", "depth", "label", "normals"):
            source = next((root / folder).glob("a.*"))
            (root / folder / f"{name}{source.suffix}").write_bytes(source.read_bytes())
    truncate(root / "rgb" / "c.png")
    truncate(root / "label" / "d.png")
    (root / "depth" / "e.png").unlink()
    (root / "rgb" / "f.png").unlink()
    write_png(root / "label" / "g.png", np.ones((2, 6), np.uint8))
    write_png(root / "depth" / "h.png", np.ones((4, 6), np.uint8))
    write_png(root / "depth" / "i.png", np.zeros((4, 6), np.uint16))
    write_png(root / "label" / "j.png", np.full((4, 6), 2, np.uint8))
    np.save(root / "normals" / "k.npy", np.full((4, 6, 3), np.nan, np.float32))
    (root / "depth" / "l.png").unlink()
    np.save(root / "depth" / "l.npy", np.array([[1, np.nan, 2, 2, 2, 2]] * 4, np.float32))
    (root / "label" / "m.png").write_text("not a picture")
    (root / "normals" / "n.npy").unlink()
    np.savez(root / "normals" / "n.npz", normals=np.full((4, 6, 3), 2.0), valid=np.ones((4, 6), bool))
    return {
        "rgb/c.png": "damaged file",
        "label/d.png": "damaged file",
        "rgb/e.png": "missing pair",
        "depth/f.png": "missing pair",
        "label/f.png": "missing pair",
        "normals/f.npy": "missing pair",
        "label/g.png": "wrong size",
        "depth/h.png": "wrong dtype",
        "depth/i.png": "all invalid",
        "label/j.png": "label out of range",
        "normals/k.npy": "NaN",
        "depth/l.npy": "NaN",
        "label/m.png": "damaged file",
        "normals/n.npz": "not a unit vector",
    }


def test_a_good_folder_has_no_problem(tmp_path: Path) -> None:
    good_folder(tmp_path)
    assert validate(tmp_path) == []


def test_every_bad_item_is_listed(tmp_path: Path) -> None:
    expected = spoil(tmp_path)
    problems = validate(tmp_path)
    found = {(problem.file.relative_to(tmp_path).as_posix(), problem.kind) for problem in problems}
    # normals of nothing but NaN also have no valid pixel
    assert found == {*expected.items(), ("normals/k.npy", "all invalid")}
    for problem in problems:
        assert str(problem.file) in problem.sentence and problem.remedy
        assert str(problem).endswith(".") and "; " in str(problem)


def test_one_split_being_bad_does_not_hide_another(tmp_path: Path) -> None:
    for split in ("train", "val"):
        good_folder(tmp_path / split)
        truncate(tmp_path / split / "rgb" / "b.png")
    assert {problem.file.parts[-3] for problem in validate(tmp_path)} == {"train", "val"}


def test_all_bad_lines_and_missing_files_of_metadata_are_listed(tmp_path: Path) -> None:
    good_folder(tmp_path)
    row = {"file_name": "rgb/a.png", "depth_file_name": "depth/a.png"}
    rows = [
        row,
        {**row, "file_name": "rgb/gone.png"},
        {**row, "key": "x", "depth_file_name": "depth/gone.png"},
    ]
    twice = [{**row, "key": "twice"}] * 2
    lines = [json.dumps(line) for line in rows + twice] + ["{", '{"text": "?"}']
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    problems = validate(tmp_path)
    assert sorted(problem.kind for problem in problems) == ["metadata"] * 3 + ["missing file"] * 2
    assert {p.file.name for p in problems if p.kind == "missing file"} == {"gone.png"}
    text = " ".join(map(str, problems))
    assert "Line 6" in text and "Line 7" in text and "twice" in text


def test_a_folder_without_pairs_is_one_problem(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg")
    (problem,) = validate(tmp_path)
    assert problem.kind == "missing pair" and "no pairs" in problem.sentence


@pytest.mark.parametrize("name", ["classes.json", "dataset_info.json", "splits.json"])
def test_a_broken_description_is_a_problem(tmp_path: Path, name: str) -> None:
    good_folder(tmp_path)
    (tmp_path / name).write_text("{")
    (problem,) = validate(tmp_path)
    assert problem.kind == "metadata" and name in problem.sentence


def test_there_must_be_a_folder_and_a_known_reader(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        validate(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="Unknown reader"):
        validate(tmp_path, "kiti")
