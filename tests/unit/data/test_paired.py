"""Our own folder format: exact, resumable, and open to others."""

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from denoisight.annotations import IGNORE, Batch, Boxes, Depth, Labels, Mask, Normals, Query, Sample
from denoisight.data.check import validate
from denoisight.data.open import open_data
from denoisight.data.paired import write_pairs, written
from denoisight.data.readers.coco import read_coco
from denoisight.data.readers.folder import read_folder
from denoisight.data.render import render_scenes
from denoisight.data.scenes import Scenes
from denoisight.errors import DataError, UsageError

CLASSES = ("floor", "wall")


def some_sample(number: int, side: int = 8) -> Sample:
    draw = torch.Generator().manual_seed(number)
    image = torch.randint(0, 256, (3, side, side), generator=draw) / 255
    millimetres = torch.randint(0, 60000, (side, side), generator=draw)
    ids = torch.randint(0, 2, (side, side), generator=draw)
    ids[0, 0] = IGNORE
    xyxy = torch.rand(2, 4, generator=draw)
    boxes = Boxes(xyxy, torch.tensor([0, 1]), torch.ones(2), torch.ones(2, dtype=torch.bool), (side, side), CLASSES)
    truths = {
        "depth": Depth.of(millimetres / 1000),
        "normals": Normals.of(torch.randn(3, side, side, generator=draw)),
        "semantic": Labels(ids, CLASSES),
        "parts": Labels(ids, (*CLASSES, "handle")),
        "boundary": Mask.of(ids == 1),
        "boxes": boxes,
    }
    return Sample(Query(image, f"item\u2028{number}", f"made/{number}"), truths)


def assert_same(sample: Sample, other: Sample) -> None:
    assert sample.key == other.key and sample.query.text == other.query.text
    assert torch.equal(sample.image, other.image)
    assert set(sample.truths) == set(other.truths)
    for truth, annotation in sample.truths.items():
        for name, tensor in annotation.tensors().items():
            assert torch.equal(tensor, other.truths[truth].tensors()[name]), (truth, name)
        assert getattr(annotation, "classes", ()) == getattr(other.truths[truth], "classes", ())


def test_pairs_come_back_exactly(tmp_path: Path) -> None:
    samples = [some_sample(i) for i in range(3)]
    assert write_pairs(samples, tmp_path / "train") == 3
    reader = open_data(str(tmp_path / "train"), "all")
    assert list(reader.keys) == ["made/0", "made/1", "made/2"]
    assert reader.classes == CLASSES
    for sample, back in zip(samples, reader, strict=True):
        assert_same(sample, back)
    assert validate(tmp_path) == []


def test_exact_depth_keeps_its_floats_and_the_gauge_is_kept(tmp_path: Path) -> None:
    values = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    valid = values > 0.3
    metres = Sample(Query(torch.zeros(3, 4, 4), key="m"), {"depth": Depth(values * valid, valid)})
    affine = Sample(Query(torch.zeros(3, 4, 4), key="a"), {"depth": Depth(values * valid, valid, "affine")})
    for sample, exact in [(metres, True), (affine, False)]:
        folder = tmp_path / sample.key
        write_pairs([sample], folder, exact=exact)
        back = read_folder(folder, "all")[0].truths["depth"]
        assert isinstance(back, Depth)
        assert back.gauge == sample.truths["depth"].gauge
        assert torch.equal(back.values, values * valid) and torch.equal(back.valid, valid)


def test_a_second_call_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    write_pairs([some_sample(0)], tmp_path)
    before = (tmp_path / "rgb" / "000001.png").stat().st_mtime_ns
    assert write_pairs([some_sample(0), some_sample(1)], tmp_path) == 2
    assert (tmp_path / "rgb" / "000001.png").stat().st_mtime_ns == before
    assert written(tmp_path) == {"made/0", "made/1"}


def test_a_line_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    samples = [some_sample(0), some_sample(1)]
    write_pairs(samples, tmp_path)
    lines = tmp_path / "metadata.jsonl"
    lines.write_bytes(lines.read_bytes()[:-20])
    with pytest.raises(DataError, match="Line 2 of .* is not JSON"):
        read_folder(tmp_path, "all")
    assert write_pairs(samples, tmp_path) == 2
    for sample, back in zip(samples, read_folder(tmp_path, "all"), strict=True):
        assert_same(sample, back)


def test_a_full_disk_keeps_finished_items_and_nothing_half(tmp_path: Path) -> None:
    small, large = some_sample(0), some_sample(1, side=64)
    # The picture still fits when the truths do not.
    large = replace(large, query=replace(large.query, image=torch.zeros(3, 64, 64)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DataError, match="Free some space"):
            write_pairs([small, large], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_same(small, read_folder(tmp_path, "all")[0])
    assert not list(tmp_path.rglob("000002.*")) and not list(tmp_path.rglob(".*"))
    assert write_pairs([small, large], tmp_path) == 2


def test_a_disk_that_fills_up_within_a_line_keeps_the_lines_before(tmp_path: Path) -> None:
    write_pairs([some_sample(0)], tmp_path)
    lines = tmp_path / "metadata.jsonl"
    before = lines.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    long = some_sample(1, side=2)
    long = replace(long, query=replace(long.query, text="x" * 9000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DataError, match="run again to go on"):
            write_pairs([some_sample(0), long], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert lines.read_bytes() == before


def test_other_data_do_not_mix_into_a_folder(tmp_path: Path) -> None:
    write_pairs([some_sample(0)], tmp_path, source={"seed": 0})
    with pytest.raises(UsageError, match="from other data"):
        write_pairs([some_sample(0)], tmp_path, source={"seed": 1})


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "key": "a"}\n{"file_name": "b.png", "key": "b"}')
    before = (tmp_path / "metadata.jsonl").read_bytes()
    with pytest.raises(UsageError, match="choose an empty folder"):
        write_pairs([some_sample(0)], tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_key_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'made/0'"):
        write_pairs([some_sample(0), some_sample(0)], tmp_path)


def test_scenes_are_rendered_once(tmp_path: Path) -> None:
    assert render_scenes(tmp_path, "val", 2, (16, 24)) == 2
    assert render_scenes(tmp_path, "val", 3, (16, 24)) == 3
    reader, scenes = open_data(str(tmp_path), "val"), Scenes("val", 3, (16, 24))
    for sample, scene in zip(reader, (scenes[i] for i in range(3)), strict=True):
        assert sample.key == scene.key and sample.query.text == scene.query.text
        assert sample.phrases == scene.phrases
        for truth, annotation in scene.truths.items():
            for name, tensor in annotation.tensors().items():
                off = (sample.truths[truth].tensors()[name].float() - tensor.float()).abs().max()
                assert off <= (0.0005 if truth == "depth" else 0), (truth, name)
    with pytest.raises(UsageError):
        render_scenes(tmp_path, "val", 2, (24, 16))


def test_what_a_mask_answers_to_comes_back(tmp_path: Path) -> None:
    """Also that nothing is asked, as where no phrase is clear, which is no fault of the folder."""
    asked, caption = some_sample(0), "a red box and a blue box on a floor"
    mask, nothing = asked.truths["boundary"], torch.zeros(8, 8, dtype=torch.bool)
    asked = Sample(replace(asked.query, text=caption), {"mask": mask}, {"mask": "the red box", "parts": "not written"})
    unasked = Sample(Query(asked.image, caption, "un"), {"mask": Mask(nothing.float(), nothing)}, {"mask": ""})
    silent = Sample(Query(asked.image, caption, "silent"), {"mask": mask})
    write_pairs([asked, unasked, silent], tmp_path)
    back = {sample.key: sample for sample in read_folder(tmp_path, "all")}
    assert {sample.query.text for sample in back.values()} == {caption}
    assert [back[s.key].phrases for s in (asked, unasked, silent)] == [{"mask": "the red box"}, {"mask": ""}, {}]
    batch = Batch.of([back["silent"], back[asked.key], back["un"]])
    assert batch.words("mask") == (caption, "the red box", "")
    assert validate(tmp_path) == []
    lines = tmp_path / "metadata.jsonl"
    lines.write_text(lines.read_text().replace('"mask_text": ""', '"mask_text": "the box"'))
    assert [problem.kind for problem in validate(tmp_path)] == ["all invalid"]


def test_phrases_of_scenes_and_photographs_are_kept(tmp_path: Path, shared_data: Path) -> None:
    photos = read_coco(shared_data / "coco_panoptic_320", "val", ("mask",))
    for name, samples in {"scenes": Scenes("val", 12, (32, 32)), "photos": [photos[i] for i in range(6)]}.items():
        samples = list(samples)
        write_pairs(samples, tmp_path / name)
        assert validate(tmp_path / name) == []
        reader = read_folder(tmp_path / name, "all", ("mask",))
        back = {sample.key: sample for sample in reader}
        for sample in samples:
            assert back[sample.key].asked("mask").text == sample.asked("mask").text
            assert torch.equal(back[sample.key].truths["mask"].inside, sample.truths["mask"].inside)


def test_phrases_about_one_picture_stay_in_one_split(tmp_path: Path) -> None:
    samples = [some_sample(i) for i in range(8)]
    asked = [replace(s, query=replace(s.query, key=f"{s.key}#{n}")).only(["parts"]) for s in samples for n in range(3)]
    write_pairs(asked, tmp_path)
    splits = {split: read_folder(tmp_path, split).keys for split in ("train", "val")}
    pictures = [{key.partition("#")[0] for key in keys} for keys in splits.values()]
    assert all(pictures) and pictures[0].isdisjoint(pictures[1])


def test_hugging_face_datasets_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    samples = [some_sample(i) for i in range(2)]
    write_pairs(samples, tmp_path / "data" / "train")
    opened = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert opened.keys() == {"train"}
    for sample, row in zip(samples, opened["train"], strict=True):
        depth = np.array(row["depth"])
        assert depth.dtype == np.uint16
        assert np.array_equal(depth, (sample.truths["depth"].values * 1000).round().numpy())
        assert np.array_equal(np.array(row["image"]), (sample.image * 255).round().byte().permute(1, 2, 0).numpy())
        assert row["text"] == sample.query.text
        assert row["normals_exact"] == f"normals/{int(sample.key[-1]) + 1:06d}.npz"
