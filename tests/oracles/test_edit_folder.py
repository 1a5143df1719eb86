"""`denoisight create --image`: a folder of edits by a tiny InstructPix2Pix folder with random weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from denoisight.cli import main
from denoisight.create.edit import edit_images
from denoisight.create.folder import draw_sheet
from denoisight.data.images import read_image
from denoisight.predict.load import load

from .stock_folders import stock_folder
from .test_pix2pix import SETTINGS


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stock_folder(tmp_path_factory.mktemp("stock") / "edit", "edit", **SETTINGS)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A red and a blue one, of different sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(folder / "red.png")
    Image.new("RGB", (48, 64), (30, 30, 200)).save(folder / "blue.png")
    return folder


@pytest.fixture
def run(editor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(*words: object, code: int = 0, model: object = editor) -> str:
        with pytest.raises(SystemExit) as left:
            main(["create", "--model", str(model), "--steps", "1", "-o", str(tmp_path / "out"), *map(str, words)])
        assert (left.value.code or 0) == code
        return capsys.readouterr().err

    return run


def rows(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def test_every_photograph_is_changed_by_every_instruction(run, photos: Path, tmp_path: Path) -> None:
    run("--image", photos, "--prompt", "a b", "--prompt", "c")
    told = [(row["text"], Path(row["source"]).name) for row in rows(tmp_path / "out")]
    assert told == [("a b", "blue.png"), ("c", "blue.png"), ("a b", "red.png"), ("c", "red.png")]
    made = [Image.open(tmp_path / "out" / row["file_name"]) for row in rows(tmp_path / "out")]
    assert [picture.size for picture in made] == [(48, 64), (48, 64), (64, 48), (64, 48)]
    assert (tmp_path / "out" / "sheet.png").exists()
    about = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["source"]
    assert about["image_guidance"] == 0.5 and about["guidance"] == 6.5


def test_an_edit_is_that_of_edit_images(run, editor: Path, photos: Path, tmp_path: Path) -> None:
    run("--image", photos / "red.png", "--prompt", "b", "--image-guidance", "1", "--guidance", "2", "--num", "2")
    (made,) = edit_images(load(editor, "cpu"), [photos / "red.png"], ["b"], steps=1, image_guidance=1, guidance=2)
    first, second = (read_image(tmp_path / "out" / "rgb" / f"00000{i}.png") for i in (1, 2))
    assert (first - made.image).abs().max() < 1 / 255
    assert (second - made.image).abs().max() > 0.1, "another noise"


def test_what_is_done_is_skipped_and_more_may_be_asked_for(run, photos: Path, tmp_path: Path) -> None:
    run("--image", photos / "red.png", "--prompt", "b")
    stamp = (tmp_path / "out" / "rgb" / "000001.png").stat().st_mtime_ns
    run("--image", photos / "*.png", "--prompt", "b", "--prompt", "c")
    assert len(rows(tmp_path / "out")) == 4
    run("--image", photos / "blue.png", photos / "red.png", "--prompt", "c", "--prompt", "b")
    assert len(rows(tmp_path / "out")) == 4
    assert (tmp_path / "out" / "rgb" / "000001.png").stat().st_mtime_ns == stamp
    assert "other data" in run("--image", photos, "--prompt", "b", "--seed", "1", code=2)


def test_another_photograph_of_the_same_name_is_refused(run, photos: Path, tmp_path: Path) -> None:
    run("--image", photos / "red.png", "--prompt", "b")
    (tmp_path / "others").mkdir()
    (photos / "blue.png").rename(tmp_path / "others" / "red.png")
    assert "choose another folder" in run("--image", tmp_path / "others", "--prompt", "b", code=2)


def test_photographs_that_cannot_be_read_are_named_and_the_others_edited(run, photos: Path, tmp_path: Path) -> None:
    (photos / "red.png").write_bytes(b"no picture")
    assert "red.png" in run("--image", photos, "--prompt", "b", "--prompt", "c", code=3)
    assert [row["text"] for row in rows(tmp_path / "out")] == ["b", "c"]
    (photos / "blue.png").write_bytes(b"none, too")
    shutil.rmtree(tmp_path / "out")
    assert "2 photographs" in run("--image", photos, "--prompt", "b", code=3)
    assert not (tmp_path / "out").exists()


def test_a_sheet_shows_the_photograph_beside_its_edits(run, photos: Path, tmp_path: Path) -> None:
    run("--image", photos / "red.png", "--prompt", "b", "--num", "2")
    with_photo = draw_sheet(tmp_path / "out")
    red = np.abs(with_photo.astype(int) - (200, 30, 30)).max(-1) == 0
    assert red[:, : with_photo.shape[1] // 3].sum() > 1000 and not red[:, with_photo.shape[1] // 2 :].any()
    (photos / "red.png").unlink()
    assert draw_sheet(tmp_path / "out").shape[1] < with_photo.shape[1] * 1.5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--prompt", "b"], "--image"),
        (["--prompt", "b", "--image-guidance", "1"], "name the photographs with --image"),
        (["--image", "{photos}"], "--prompt"),
        (["--image", "{photos}", "--prompt", "b", "--image-guidance", "-1"], "0 for none"),
        (["--image", "{photos}", "--prompt", "b " * 20], "more words"),
    ],
)
def test_wrong_combinations_get_a_remedy(run, photos: Path, tmp_path: Path, words: list[str], says: str) -> None:
    assert says in run(*(word.format(photos=photos) for word in words), code=2)
    assert not (tmp_path / "out").exists()


def test_a_model_that_only_creates_says_so(run, photos: Path, tmp_path: Path) -> None:
    assert "does not edit" in run("--image", photos, "--prompt", "a red box", code=2, model="embedded")
    assert "nowhere.png" in run("--image", "nowhere.png", "--prompt", "b", code=3)
    assert not (tmp_path / "out").exists()


def test_instructions_that_are_alike_but_for_a_hyphen_are_two(run, photos: Path, tmp_path: Path) -> None:
    run("--image", photos / "red.png", "--prompt", "a b", "--prompt", "a-b")
    run("--image", photos / "red.png", "--prompt", "a-b")
    assert [row["text"] for row in rows(tmp_path / "out")] == ["a b", "a-b"]


def test_other_settings_are_refused_where_the_first_photograph_cannot_be_read(
    run, photos: Path, tmp_path: Path
) -> None:
    (photos / "blue.png").write_bytes(b"no picture")
    run("--image", photos, "--prompt", "b", code=3)
    assert "other data" in run("--image", photos, "--prompt", "b", "--seed", "5", code=2)
