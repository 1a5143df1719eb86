"""Created images as a folder: it goes on where it was stopped, and never mixes two makings."""

import json

import numpy as np
import pytest
from PIL import Image

from denoisight.create.folder import create_folder, draw_sheet, write_sheet
from denoisight.create.synthesize import Creation
from denoisight.data.inputs import find_images
from denoisight.errors import UsageError
from denoisight.predict.model import Model

PROMPTS = ["a red box on a wooden floor in a room", "a pink dome on a spotted ground outdoors"]
HOW = Creation(steps=1)


@pytest.fixture(scope="module")
def creates(make_parts):
    return Model(make_parts(creates=True))


def pixels(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "rgb").iterdir())}


def test_it_is_a_folder_of_images_with_captions(creates, tmp_path):
    assert create_folder(creates, PROMPTS, tmp_path / "out", HOW) == 2
    assert set(pixels(tmp_path / "out")) == {"000001.png", "000002.png"}
    for named, texts in (("out/metadata.jsonl", PROMPTS), ("out", ["", ""])):
        found = find_images([tmp_path / named]).items
        assert [(item.path.name, item.text) for item in found] == [
            (f"00000{i}.png", text) for i, text in enumerate(texts, 1)
        ]
    about = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["source"]
    assert about["weights"] == creates.weights_hash[:16] and about["guidance"] == HOW.guidance


def test_what_is_done_is_skipped_and_more_may_be_asked_for(creates, tmp_path):
    create_folder(creates, PROMPTS, tmp_path / "at once", HOW)
    assert create_folder(creates, PROMPTS[:1], tmp_path / "out", HOW) == 1
    stamp = (tmp_path / "out" / "rgb" / "000001.png").stat().st_mtime_ns
    assert create_folder(creates, PROMPTS, tmp_path / "out", HOW) == 1
    assert create_folder(creates, PROMPTS, tmp_path / "out", HOW) == 0
    assert (tmp_path / "out" / "rgb" / "000001.png").stat().st_mtime_ns == stamp
    first, second = (
        np.stack([np.asarray(Image.open(f), int) for f in sorted((tmp_path / name / "rgb").iterdir())])
        for name in ("out", "at once")
    )
    assert np.abs(first - second).max() <= 1  # the batches differ


@pytest.mark.parametrize(
    ("prompts", "how", "says"),
    [
        (PROMPTS[::-1], HOW, "pink dome"),
        (PROMPTS, Creation(steps=2), "other data"),
        (PROMPTS, Creation(steps=1, seed=1), "other data"),
    ],
)
def test_another_making_does_not_go_into_the_same_folder(creates, tmp_path, prompts, how, says):
    create_folder(creates, PROMPTS, tmp_path / "out", HOW)
    before = pixels(tmp_path / "out")
    with pytest.raises(UsageError, match=says):
        create_folder(creates, prompts, tmp_path / "out", how)
    assert pixels(tmp_path / "out") == before


def test_nor_do_images_of_other_weights(creates, make_parts, tmp_path):
    create_folder(creates, PROMPTS, tmp_path / "out", HOW)
    with pytest.raises(UsageError, match="other data"):
        create_folder(Model(make_parts(seed=1, creates=True)), PROMPTS, tmp_path / "out", HOW)


def test_a_sheet_shows_images_of_one_prompt_side_by_side(creates, tmp_path):
    create_folder(creates, PROMPTS * 3, tmp_path / "out", HOW)
    sheet = draw_sheet(tmp_path / "out")
    assert sheet.shape[1] > 6 * 96 and sheet.shape[0] < 2 * 340
    fewer = draw_sheet(tmp_path / "out", most=2)
    assert fewer.shape[1] > 2 * 300  # one image each, large
    assert write_sheet(tmp_path / "out").read_bytes()[:4] == b"\x89PNG"
