"""What the data of a run are: procedural scenes, or a folder whatever it is called."""

from pathlib import Path

import pytest

from denoisight.data.open import open_data
from denoisight.data.render import render_scenes
from denoisight.recipes.base import Recipe
from denoisight.recipes.launch import _readers
from denoisight.recipes.pages import run as pages
from denoisight.recipes.record import data_name, is_scenes


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with data in the folders "scenes" and "scenes_real"."""
    for name, count in (("scenes", 2), ("scenes_real", 3)):
        for split in ("train", "val"):
            render_scenes(tmp_path / name, split, count, (16, 16), 0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_that_are_called_like_scenes_are_folders(here: Path) -> None:
    told = {data: is_scenes(data) for data in ("scenes:8", "scenes", "scenes_real", "nowhere/scenes", "folder:scenes")}
    assert [data for data, procedural in told.items() if procedural] == ["scenes:8"]
    assert is_scenes("scenes:8") and data_name("scenes:8") == "scenes:8"
    assert data_name(str(here / "scenes_real")) == "scenes_real"


def test_without_such_a_folder_scenes_are_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_scenes("scenes") and data_name("scenes") == "scenes" and not is_scenes("scenes_that_went")


@pytest.mark.parametrize("data", ["scenes", "scenes_real", "scenes:2"])
def test_a_run_is_validated_on_its_own_data(here: Path, data: str) -> None:
    reader, held_out = _readers(Recipe(tasks=("depth",), data=data, validation_images=4))
    assert reader.name == held_out.name == open_data(data).name
    assert [*held_out.keys] == [*open_data("scenes:4" if data == "scenes:2" else here / data, "val").keys]


def test_a_run_is_reported_on_its_own_data(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def judged(*_: object, protocol: str, **__: object) -> None:
        asked.append(protocol)
        raise KeyboardInterrupt

    monkeypatch.setattr(pages, "judge", judged)
    monkeypatch.setattr(pages, "load", lambda folder: None)
    (here / "run" / "model").mkdir(parents=True)
    for data in ("scenes_real", "scenes:2"):
        (here / "run" / "config.yaml").write_text(Recipe(tasks=("depth",), data=data).to_yaml())
        with pytest.raises(KeyboardInterrupt):
            pages.write_run_report(here / "run", here / "report.html")
    assert asked == ["", "scenes/test"]
