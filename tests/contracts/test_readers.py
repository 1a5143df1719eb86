"""What every reader promises, on small folders made here and on real ones where they lie at hand."""

import json
import os
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from denoisight.annotations import IGNORE, Depth, Labels, Normals
from denoisight.data.archive import sha256_of, write_archive
from denoisight.data.check import validate
from denoisight.data.files import write_annotation
from denoisight.data.images import write_png
from denoisight.data.open import open_data, subset
from denoisight.data.readers import READERS, Reader
from denoisight.data.readers.camvid import CLASSES
from denoisight.data.shards import ShardLine, line_path
from denoisight.errors import DataError, UsageError

SHARED = Path(os.environ.get("DENOISIGHT_SHARED_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
REAL = {
    "camvid_240x180": "camvid",
    "kitchen_rgbd_272x208": "rgbd",
    "kitti_object": "folder",
    "coco_panoptic_320": "coco",
    "bsds500_half_train": "bsds",
}
SIZE = (6, 8)


def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def make_photo(path: Path) -> None:
    write_png(path, draw().integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def make_folder(root: Path) -> None:
    for i in range(40):
        make_photo(root / "rgb" / f"{i:03d}.png")
        write_annotation(root / "depth", f"{i:03d}", Depth.of(torch.full(SIZE, 1.0 + i)))
        write_annotation(root / "normals", f"{i:03d}", Normals.of(torch.ones(3, *SIZE)))
        write_png(root / "label" / f"{i:03d}.png", np.full(SIZE, i % 3, np.uint8))


def make_camvid(root: Path) -> None:
    for split, clip in [("train", "0001TP_0"), ("val", "0016E5_0"), ("test", "0006R0_f0")]:
        for i in range(5):
            make_photo(root / split / "image" / f"{clip}{i}.png")
            write_png(root / split / "label" / f"{clip}{i}.png", draw().integers(0, 12, SIZE, dtype=np.uint8))


def make_rgbd(root: Path) -> None:
    for i in range(40):
        make_photo(root / "image" / f"{i:06d}.png")
        write_png(root / "depth" / f"{i:06d}.png", np.full(SIZE, 5000 * (i % 2 + 1), np.uint16))
    (root / "meta.json").write_text(json.dumps({"depth_scale": 5000}))


SEGMENTS = [
    {"id": 1, "category_id": 1, "iscrowd": 0},
    {"id": 2, "category_id": 1, "iscrowd": 0},
    {"id": 3, "category_id": 18, "iscrowd": 0},
    {"id": 4, "category_id": 199, "iscrowd": 0},
]
CATEGORIES = [
    {"id": 199, "name": "wall-other-merged", "isthing": 0},
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 18, "name": "dog", "isthing": 1},
]


def draw_segments() -> np.ndarray:
    """Two people to the left and right of a dog before a wall, and two pixels that nobody labelled."""
    picture = np.full(SIZE, 4, np.uint8)
    picture[1:6, 0:2], picture[2:6, 6:8], picture[4:6, 3:5], picture[0, :2] = 1, 2, 3, 0
    return picture


def make_jpeg(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw().integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)


def make_coco(root: Path) -> None:
    for i in range(40):
        make_jpeg(root / "image" / f"{i:03d}.jpg")
        write_png(root / "segment" / f"{i:03d}.png", draw_segments())
    images = [{"file": f"{i:03d}", "segments": SEGMENTS} for i in range(40)]
    (root / "segments.json").write_text(json.dumps({"images": images, "categories": CATEGORIES}))


def make_bsds(root: Path) -> None:
    for i in range(40):
        make_jpeg(root / f"{i:03d}.jpg")
        np.savez(root / f"{i:03d}.npz", seg=np.stack([draw_segments(), draw_segments() > 3]).astype(np.uint16))


def make_shards(root: Path) -> None:
    """Four archives of ten pairs, as `create` writes them, made of two images each."""
    root.mkdir(exist_ok=True)
    for shard in range(4):
        made: list[tuple[str, bytes]] = []
        for i in range(10 * shard, 10 * shard + 10):
            stage = root / ".stage"
            make_photo(stage / f"{i:08d}.rgb.png")
            write_annotation(stage, f"{i:08d}.depth", Depth.of(torch.full(SIZE, 1.0 + i)))
            write_annotation(stage, f"{i:08d}.seg", Labels(torch.full(SIZE, i % 3), ("a", "b", "c")))
            (stage / f"{i:08d}.json").write_text(json.dumps({"key": f"photo{i // 2}#{i % 2 + 1}", "text": "a box"}))
            made += [(path.name, path.read_bytes()) for path in sorted(stage.iterdir())]
            shutil.rmtree(stage)
        archive = root / f"created-{shard:06d}.tar"
        write_archive(archive, made)
        line = ShardLine(
            name=archive.name, pairs=10, made=10, masked=0, dropped={}, sources=(5 * shard, 5 * shard + 5),
            num_bytes=archive.stat().st_size, sha256=sha256_of(archive), settings="", versions={},
        )  # fmt: skip
        line_path(archive).write_text(json.dumps(line.model_dump()))
    (root / "classes.json").write_text(json.dumps({"semantic": {"classes": ["a", "b", "c"]}}))


MADE: dict[str, Callable[[Path], None]] = {
    "shards": make_shards,
    "folder": make_folder,
    "camvid": make_camvid,
    "rgbd": make_rgbd,
    "coco": make_coco,
    "bsds": make_bsds,
}
TRUTH_FILES = ("*.tar", "depth/*.png", "*/label/*.png", "segment/*.png", "*.npz")


@pytest.fixture(scope="module", params=[*MADE, "scenes", *REAL])
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "scenes":
        return "scenes:5"
    if request.param in REAL:
        if not (SHARED / request.param).is_dir():
            pytest.skip(f"{request.param} is not in DENOISIGHT_SHARED_DATA")
        return str(SHARED / request.param)
    root = tmp_path_factory.mktemp(request.param)
    MADE[request.param](root)
    return str(root)


def test_the_made_folders_cover_the_table() -> None:
    assert set(MADE) == set(READERS)


def test_samples_are_what_the_reader_says(spec: str) -> None:
    reader = open_data(spec, "train")
    assert isinstance(reader, Reader)
    assert len(reader) == len(reader.keys) > 0
    for i in (0, len(reader) - 1):
        sample = reader[i]
        assert sample.key == reader.keys[i]
        assert 0 <= sample.image.min() <= sample.image.max() <= 1
        assert set(sample.truths) == set(reader.truths)
        for annotation in sample.truths.values():
            assert annotation.size == sample.size
        if isinstance(labels := sample.truths.get("semantic"), Labels):
            assert labels.classes == reader.classes
            assert set(labels.ids.unique().tolist()) <= {*range(len(reader.classes)), IGNORE}
        else:
            assert reader.classes == ()


def test_keys_are_unique_and_stay(spec: str) -> None:
    keys = list(open_data(spec, "train").keys)
    assert len(set(keys)) == len(keys)
    assert keys == list(open_data(spec, "train").keys)


def test_splits_share_nothing(spec: str) -> None:
    keys = {split: set(open_data(spec, split).keys) for split in ("train", "val", "test")}
    assert all(keys.values())
    for one, other in combinations(keys, 2):
        assert keys[one].isdisjoint(keys[other])


def test_subsets_are_nested_and_keep_their_samples(spec: str) -> None:
    reader = open_data(spec, "train")
    larger, smaller = subset(reader, 4), subset(reader, 2)
    assert isinstance(larger, Reader)
    assert len(larger) == 4 and set(smaller.keys) < set(larger.keys) < set(reader.keys)
    assert smaller[1].key == smaller.keys[1]
    assert subset(reader, [1, 0]).keys == (reader.keys[1], reader.keys[0])
    assert list(larger.keys) == [key for key in reader.keys if key in set(larger.keys)]
    with pytest.raises(UsageError, match="1 to that many"):
        subset(reader, len(reader) + 1)


def test_a_subset_does_not_hang_on_the_order(tmp_path: Path) -> None:
    make_folder(tmp_path)
    reader = open_data(str(tmp_path), "all")
    turned = subset(reader, range(len(reader))[::-1])
    assert set(subset(turned, 5).keys) == set(subset(reader, 5).keys)


@pytest.mark.parametrize("name", MADE)
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    MADE[name](tmp_path)
    victim = next(path for pattern in TRUTH_FILES for path in sorted(tmp_path.glob(pattern)))
    victim.write_bytes(victim.read_bytes()[:40])
    with pytest.raises(DataError, match=victim.name):
        for sample in open_data(str(tmp_path), "all"):
            assert sample.truths
    assert [problem.kind for problem in validate(tmp_path)] == ["damaged file"]


@pytest.mark.parametrize("name", MADE)
def test_each_reader_recognises_its_folder_and_can_be_named(tmp_path: Path, name: str) -> None:
    MADE[name](tmp_path)
    assert open_data(str(tmp_path), "train").name == name
    assert open_data(f"{name}:{tmp_path}", "train").name == name


def test_camvid_has_eleven_classes_and_ignores_the_twelfth(tmp_path: Path) -> None:
    make_camvid(tmp_path)
    reader = open_data(str(tmp_path), "test")
    assert reader.classes == CLASSES and len(CLASSES) == 11
    values = torch.from_numpy(draw().integers(0, 12, SIZE, dtype=np.uint8)).long()
    assert torch.equal(reader[0].truths["semantic"].ids, torch.where(values == 11, IGNORE, values))


def test_rgbd_takes_its_scale_from_the_description(tmp_path: Path) -> None:
    make_rgbd(tmp_path)
    assert open_data(str(tmp_path), "all")[1].truths["depth"].values.unique().tolist() == [2]
    (tmp_path / "meta.json").write_text('{"depth_scale": "mm"}')
    with pytest.raises(DataError, match=r"meta\.json gives depth_scale 'mm'"):
        open_data(str(tmp_path), "all")


@pytest.mark.parametrize(
    ("folder", "counts"),
    [
        ("camvid_240x180", (266, 101, 101)),
        ("kitchen_rgbd_272x208", (96, 9, 39)),
        ("coco_panoptic_320", (42, 8, 20)),
        ("bsds500_half_train", (130, 20, 50)),
    ],
)
def test_real_folders_have_their_known_splits(folder: str, counts: tuple[int, ...]) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{folder} is not in DENOISIGHT_SHARED_DATA")
    readers = [open_data(str(SHARED / folder), split) for split in ("train", "val", "test")]
    assert tuple(map(len, readers)) == counts
    assert {reader.name for reader in readers} == {REAL[folder]}
    if folder == "camvid_240x180":
        assert {key[:6] for key in readers[2].keys} == {"0006R0"}


def test_kitti_depth_is_in_metres_and_validates() -> None:
    if not (SHARED / "kitti_object").is_dir():
        pytest.skip("kitti_object is not in DENOISIGHT_SHARED_DATA")
    reader = open_data(str(SHARED / "kitti_object"), "all")
    depth = reader[0].truths["depth"]
    assert 3 < depth.values[depth.valid].median() < 40
    assert any("NAME_depth256" in note for note in reader.notes)
    assert validate(SHARED / "kitti_object") == []


def test_coco_gives_classes_things_and_boxes(tmp_path: Path) -> None:
    make_coco(tmp_path)
    sample = open_data(str(tmp_path), "train")[0]
    drawn = torch.from_numpy(draw_segments()).long()
    semantic, instances, boxes = (sample.truths[name] for name in ("semantic", "instances", "boxes"))
    assert semantic.classes == ("person", "dog", "wall-other-merged")
    assert torch.equal(semantic.ids, torch.tensor([IGNORE, 0, 0, 1, 2])[drawn])
    assert torch.equal(instances.ids, torch.tensor([IGNORE, 1, 2, 3, 0])[drawn])
    assert boxes.xyxy.tolist() == [[0, 1, 2, 6], [6, 2, 8, 6], [3, 4, 5, 6]]
    assert [boxes.classes[i] for i in boxes.ids] == ["person", "person", "dog"]


def test_coco_phrases_are_items_whose_mask_is_what_they_mean(tmp_path: Path) -> None:
    make_coco(tmp_path)
    reader = open_data(str(tmp_path), "train", ("mask", "instances"))
    first = [reader[i] for i, key in enumerate(reader.keys) if key.split("#")[0] == reader.keys[0].split("#")[0]]
    meant = {s.asked("mask").text: s.truths["instances"].ids[s.truths["mask"].inside].unique().tolist() for s in first}
    assert meant == {
        "the leftmost person": [1],
        "the person left of the dog": [1],
        "the rightmost person": [2],
        "the person right of the dog": [2],
        "the dog": [3],
    }
    assert first[0].key.endswith("#the-leftmost-person")
    assert first[0].asked("instances").text == ""


def test_coco_speaks_of_no_kind_that_stands_in_crowds(tmp_path: Path) -> None:
    make_coco(tmp_path)
    content = json.loads((tmp_path / "segments.json").read_text())
    for image in content["images"]:
        image["segments"][1]["iscrowd"] = 1
    (tmp_path / "segments.json").write_text(json.dumps(content))
    reader = open_data(str(tmp_path), "train", ("mask", "instances"))
    assert {key.split("#")[1] for key in reader.keys} == {"the-dog"}
    assert (reader[0].truths["instances"].ids == IGNORE).sum() == 2 + 8


def test_coco_reads_its_published_layout(tmp_path: Path) -> None:
    for split in ("train", "val"):
        make_jpeg(tmp_path / f"{split}2017" / "000007.jpg")
        numbers = draw_segments().astype(np.int64) * 70_001
        coded = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1).astype(np.uint8)
        write_png(tmp_path / "annotations" / f"panoptic_{split}2017" / "000007.png", coded)
        rows = [segment | {"id": segment["id"] * 70_001} for segment in SEGMENTS]
        content = {
            "images": [{"id": 7, "file_name": "000007.jpg"}],
            "annotations": [{"image_id": 7, "file_name": "000007.png", "segments_info": rows}],
            "categories": CATEGORIES,
        }
        (tmp_path / "annotations" / f"panoptic_{split}2017.json").write_text(json.dumps(content))
    sample = open_data(str(tmp_path), "val")[0]
    assert (sample.key, open_data(str(tmp_path), "val").name) == ("000007", "coco")
    drawn = torch.from_numpy(draw_segments()).long()
    assert torch.equal(sample.truths["instances"].ids, torch.tensor([IGNORE, 1, 2, 3, 0])[drawn])
    assert open_data(str(tmp_path), "all").keys == ("train/000007", "val/000007")
    with pytest.raises(DataError, match="train"):
        open_data(str(tmp_path), "test")


def test_coco_files_that_disagree_are_named(tmp_path: Path) -> None:
    make_coco(tmp_path)
    write_png(tmp_path / "segment" / "000.png", draw_segments() + 5)
    with pytest.raises(DataError, match=r"000\.png has the segments 5, 6, 7"):
        open_data(str(tmp_path), "all")[0]
    write_png(tmp_path / "segment" / "000.png", draw_segments()[:, :5])
    with pytest.raises(DataError, match=r"000\.png is 5x6 but"):
        open_data(str(tmp_path), "all")[0]
    (tmp_path / "segments.json").write_text('{"images": []}')
    with pytest.raises(DataError, match="panoptic form"):
        open_data(str(tmp_path), "all")


def test_bsds_draws_a_line_where_annotators_saw_one(tmp_path: Path) -> None:
    make_bsds(tmp_path)
    sample = open_data(str(tmp_path), "train")[0]
    boundary, instances = sample.truths["boundary"].probability, sample.truths["instances"].ids
    assert set(boundary.unique().tolist()) == {0.0, 0.5, 1.0}
    # Between the unlabelled corner and the person below it only the first annotator saw a line.
    assert boundary[0, 0] == 0.5 and boundary[2, 1] == 1 and boundary[1, 0] == 0
    areas = instances.flatten().bincount().tolist()
    assert areas[0] == 0 and len(areas) == 6
    assert areas[1:] == sorted(areas[1:], reverse=True)


def test_readers_name_the_truths_that_they_have(tmp_path: Path) -> None:
    make_coco(tmp_path / "coco")
    make_bsds(tmp_path / "bsds")
    with pytest.raises(DataError, match="no truth depth; it has semantic"):
        open_data(str(tmp_path / "coco"), "train", ("depth",))
    with pytest.raises(DataError, match="no truth depth; it has boundary"):
        open_data(str(tmp_path / "bsds"), "train", ("depth",))


def test_real_phrases_mean_things_of_their_kind() -> None:
    if not (SHARED / "coco_panoptic_320").is_dir():
        pytest.skip("coco_panoptic_320 is not in DENOISIGHT_SHARED_DATA")
    reader = open_data(str(SHARED / "coco_panoptic_320"), "test", ("mask", "semantic"))
    for sample in subset(reader, 12):
        semantic, inside = sample.truths["semantic"], sample.truths["mask"].inside
        kind = semantic.classes[int(semantic.ids[inside].mode().values)]
        assert kind in sample.asked("mask").text
        assert (semantic.ids[inside] == semantic.classes.index(kind)).all()


def test_images_of_one_source_stay_in_one_split(tmp_path: Path) -> None:
    make_shards(tmp_path)
    parts = [
        {key.partition("#")[0] for key in open_data(str(tmp_path), split).keys} for split in ("train", "val", "test")
    ]
    assert not parts[0] & parts[1] and not parts[1] & parts[2] and sum(map(len, parts)) == 20


def test_a_damaged_picture_in_an_archive_is_named(tmp_path: Path) -> None:
    make_shards(tmp_path)
    archive = tmp_path / "created-000001.tar"
    data = archive.read_bytes()
    place = data.index(b"\x89PNG")
    archive.write_bytes(data[:place] + bytes(8) + data[place + 8 :])
    with pytest.raises(DataError, match=r"created-000001\.tar/00000010\.depth\.png is not an image"):
        list(open_data(str(tmp_path), "all"))
    assert [problem.kind for problem in validate(tmp_path)] == ["damaged file"]
