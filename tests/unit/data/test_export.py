"""What is exported says what the source says: read back by us, by COCO's own package, and by Hugging Face datasets."""

import json
import os
import signal
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from denoisight.annotations import IGNORE, Boxes, Depth, Labels, Mask, Query, Sample
from denoisight.cli import main
from denoisight.data.check import validate
from denoisight.data.export import export
from denoisight.data.open import open_data
from denoisight.data.paired import write_pairs
from denoisight.data.readers.shards import provenance
from denoisight.data.scenes import Scenes
from denoisight.data.segments import find_segments, picture_of
from denoisight.data.shards import read_lines
from denoisight.errors import DataError, MissingExtraError, UsageError

CLASSES = ("sky", "dog", "cat")
SEMANTIC = torch.tensor([[0, 0, 0, 0, 255], [1, 1, 0, 1, 1], [1, 1, 2, 1, 1], [2, 2, 2, 1, 255]])
INSTANCES = torch.tensor([[0, 0, 0, 0, 255], [1, 1, 0, 3, 3], [1, 1, 7, 3, 3], [255, 255, 7, 3, 255]])
"""Two dogs, a cat, a crowd of cats, and two pixels of which nothing is known."""


class Pictures:
    """A reader of samples in memory."""

    notes = ()

    def __init__(self, samples, name="pictures"):
        self.samples, self.name = list(samples), name
        self.keys = tuple(sample.key for sample in self.samples)
        self.truths = tuple(self.samples[0].truths)
        semantic = self.samples[0].truths.get("semantic")
        self.classes = semantic.classes if semantic else ()

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


def picture(key="a", text="", semantic=SEMANTIC, instances=INSTANCES, **truths):
    generator = torch.Generator().manual_seed(len(key))
    size = SEMANTIC.shape if semantic is None else semantic.shape
    image = torch.randint(0, 256, (3, *size), generator=generator) / 255
    if semantic is not None:
        truths["semantic"] = Labels(semantic, CLASSES)
    if instances is not None:
        truths["instances"] = Labels(instances, ())
    return Sample(Query(image, text, key), truths)


def exported(reader, folder):
    assert export(reader, folder, "coco") == len(reader)
    return open_data(folder, "all")


def renumbered(ids):
    """Things by their order: the numbers are no truth."""
    known = [k for k in ids.unique().tolist() if k not in (0, IGNORE)]
    numbers = {0: 0, IGNORE: IGNORE, **{k: n for n, k in enumerate(known, 1)}}
    return ids.clone().apply_(numbers.__getitem__)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def loaded(folder, name="instances"):
    return json.loads((folder / "annotations" / f"{name}.json").read_text())


def test_scenes_come_back_from_coco_with_equal_truths(tmp_path):
    scenes = open_data("scenes:6", "val")
    reader = exported(scenes, tmp_path / "out")
    assert reader.name == "coco" and reader.classes == scenes.classes and reader.keys == tuple(scenes.keys)
    for i in range(len(scenes)):
        back, scene = reader[i], scenes[i]
        torch.testing.assert_close(back.image, scene.image, rtol=0, atol=1e-6)
        assert back.query.text == scene.query.text
        assert torch.equal(back.truths["semantic"].ids, scene.truths["semantic"].ids)
        assert torch.equal(back.truths["instances"].ids, renumbered(scene.truths["instances"].ids))
        assert torch.equal(back.truths["boxes"].xyxy, scene.truths["boxes"].xyxy)
    assert validate(tmp_path / "out") == []


def test_crowds_and_unknown_pixels_come_back(tmp_path):
    sample = exported(Pictures([picture()]), tmp_path / "out")[0]
    assert torch.equal(sample.truths["semantic"].ids, SEMANTIC)
    assert torch.equal(sample.truths["instances"].ids, renumbered(INSTANCES))
    boxes = sample.truths["boxes"]
    assert boxes.xyxy.tolist() == [[0, 1, 2, 3], [3, 1, 5, 4], [2, 2, 3, 4]]
    assert [boxes.classes[i] for i in boxes.ids] == ["dog", "dog", "cat"]


def test_real_photographs_come_back(tmp_path, shared_data):
    photos = open_data(shared_data / "coco_panoptic_320", "val")
    reader = exported(photos, tmp_path / "out")
    assert reader.keys == photos.keys and reader.coco.categories == photos.coco.categories
    for i in range(len(photos)):
        for truth in ("semantic", "instances"):
            assert torch.equal(reader[i].truths[truth].ids, photos[i].truths[truth].ids), (i, truth)
        assert torch.equal(reader[i].truths["boxes"].xyxy, photos[i].truths["boxes"].xyxy)


def test_the_coco_package_loads_the_same_masks(tmp_path):
    library = pytest.importorskip("faster_coco_eval")
    scenes = open_data("scenes:4", "val")
    export(scenes, tmp_path, "coco")
    coco = library.COCO(str(tmp_path / "annotations" / "instances.json"))
    assert {row["name"] for row in coco.loadCats(coco.getCatIds())} <= set(scenes.classes[4:])
    for i, image in enumerate(coco.loadImgs(sorted(coco.getImgIds()))):
        semantic, instances = (scenes[i].truths[truth].ids for truth in ("semantic", "instances"))
        rows = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        assert (image["height"], image["width"]) == tuple(semantic.shape)
        assert len(rows) == len(set(instances.unique().tolist()) - {0})
        for row in rows:
            mask = torch.from_numpy(np.asarray(coco.annToMask(row))).bool()
            (number,) = instances[mask].unique().tolist()
            assert torch.equal(mask, instances == number) and row["area"] == int(mask.sum()) and not row["iscrowd"]
            x, y, w, h = row["bbox"]
            assert mask[y : y + h, x : x + w].sum() == mask.sum()
            assert mask[y].any() and mask[y + h - 1].any() and mask[:, x].any() and mask[:, x + w - 1].any()
            assert scenes.classes[int(semantic[mask][0])] == coco.loadCats([row["category_id"]])[0]["name"]


def test_perfect_answers_to_an_export_are_judged_perfect(tmp_path):
    library = pytest.importorskip("faster_coco_eval")
    export(Pictures([picture("a"), picture("bb")]), tmp_path, "coco")
    coco = library.COCO(str(tmp_path / "annotations" / "instances.json"))
    rows = [row for row in coco.loadAnns(coco.getAnnIds()) if not row["iscrowd"]]
    assert len(rows) == 6 and sum(row["iscrowd"] for row in coco.loadAnns(coco.getAnnIds())) == 2
    found = [{**{k: row[k] for k in ("image_id", "category_id", "segmentation")}, "score": 1.0} for row in rows]
    judge = library.COCOeval_faster(coco, coco.loadRes(found), "segm", print_function=lambda *text: None)
    judge.evaluate()
    judge.accumulate()
    # Of all sizes of things and as many answers as there are.
    precision = np.asarray(judge.eval["precision"])[..., 0, -1]
    assert (precision[precision > -1] == 1).all() and (precision > -1).any()


def test_what_two_truths_disagree_about_is_in_no_segment(tmp_path, caplog):
    semantic = torch.tensor([[1, 1, 1, 0], [0, 0, 2, 2], [0, 0, 0, 0]])
    instances = torch.tensor([[4, 4, 4, 4], [0, 0, 0, 9], [0, 0, 5, 5]])
    found = find_segments(Labels(semantic, CLASSES), Labels(instances, ()))
    assert found.categories == {4: 1, 5: 0, 9: 2} and found.stray == 1
    assert picture_of(found.segments, (3, 4))[0, 3] == 0
    with caplog.at_level("INFO"):
        reader = exported(Pictures([picture(semantic=semantic, instances=instances)]), tmp_path / "out")
    assert "2 instances are of no class, or one that is mostly no thing" in caplog.text
    assert "1 pixels of instances are labelled as another class" in caplog.text
    back = reader[0]
    # A thing of the sky is sky. A cat that is no instance is, beside as much of one that is, no thing but stuff, too.
    assert torch.equal(back.truths["semantic"].ids, torch.where(instances == 4, torch.tensor([1, 1, 1, 255]), semantic))
    assert back.truths["instances"].ids.tolist() == [[1, 1, 1, 255], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert [row["name"] for row in loaded(tmp_path / "out")["categories"]] == ["dog"]


def test_labels_alone_are_stuff(tmp_path):
    sample = exported(Pictures([picture(instances=None, text="dogs")]), tmp_path)[0]
    assert torch.equal(sample.truths["semantic"].ids, SEMANTIC) and sample.query.text == "dogs"
    assert {path.name for path in (tmp_path / "annotations").iterdir()} == {"panoptic.json", "captions.json"}
    assert not any(row["isthing"] for row in loaded(tmp_path, "panoptic")["categories"])
    assert loaded(tmp_path, "captions")["annotations"] == [{"id": 1, "image_id": 1, "caption": "dogs"}]


def test_things_alone_have_no_class(tmp_path, caplog):
    with caplog.at_level("INFO"):
        export(Pictures([picture(semantic=None)]), tmp_path, "coco")
    assert "no panoptic.json" in caplog.text and not (tmp_path / "panoptic").exists()
    content = loaded(tmp_path)
    assert content["categories"] == [{"id": 1, "name": "thing", "supercategory": ""}]
    assert [row["area"] for row in content["annotations"]] == [4, 5, 2]


def test_boxes_alone_have_no_mask_but_the_ids_of_their_classes(tmp_path):
    xyxy, yes = torch.tensor([[0.0, 1, 2, 3], [1, 1, 4.5, 4]]), torch.tensor([True, True])
    boxes = Boxes(xyxy, torch.tensor([0, 1]), torch.ones(2), yes, (4, 5), ("cat", "bird"))
    export(Pictures([picture(instances=None, boxes=boxes)]), tmp_path, "coco")
    content = loaded(tmp_path)
    assert [(row["id"], row["name"]) for row in content["categories"]] == [(3, "cat"), (5, "bird")]
    assert [row["bbox"] for row in content["annotations"]] == [[0, 1, 2, 2], [1, 1, 3.5, 3]]
    assert [row["category_id"] for row in content["annotations"]] == [3, 5]


def test_boxes_of_no_class_are_things(tmp_path):
    boxes = Boxes.of([[0, 1, 2, 3], [1, 1, 4.5, 4]], [0, 7], (4, 5))
    export(Pictures([picture(semantic=None, instances=None, boxes=boxes)]), tmp_path, "coco")
    content = loaded(tmp_path)
    assert content["categories"] == [{"id": 1, "name": "thing", "supercategory": ""}]
    assert [row["category_id"] for row in content["annotations"]] == [1, 1]


@pytest.mark.parametrize("format", ["coco", "folder", "shards"])
def test_splits_are_told_by_the_keys(tmp_path, format):
    for split, keys in {"train": "abc", "val": "de"}.items():
        write_pairs([picture(key) for key in keys], tmp_path / "in" / split)
    export(open_data(tmp_path / "in", "all"), tmp_path / "out", format)
    assert {s: len(open_data(tmp_path / "out", s)) for s in ("train", "val")} == {"train": 3, "val": 2}


@pytest.mark.parametrize("format", ["folder", "shards"])
def test_our_own_forms_hold_every_truth(tmp_path, format):
    scenes = Scenes("val", 5, (16, 24))
    reader = Pictures([scenes[i] for i in range(5)], "scenes")
    export(reader, tmp_path / "out", format, exact=True, shard_size=2)
    back = open_data(tmp_path / "out", "all")
    assert back.name == format and list(back.keys) == [scene.key for scene in reader.samples]
    for sample, scene in zip((back[i] for i in range(5)), reader.samples, strict=True):
        assert set(sample.truths) == set(scene.truths) and sample.phrases == scene.phrases
        for truth, annotation in scene.truths.items():
            for name, tensor in annotation.tensors().items():
                torch.testing.assert_close(sample.truths[truth].tensors()[name], tensor, rtol=0, atol=0)
    if format == "shards":
        assert [line.pairs for line in read_lines(tmp_path / "out")] == [2, 2, 1]


@pytest.mark.parametrize("format", ["folder", "shards"])
def test_truths_of_any_name_come_back(tmp_path, format):
    export(Pictures([picture(rims=Mask.of(SEMANTIC == 1))]), tmp_path, format)
    sample = open_data(tmp_path, "all")[0]
    assert torch.equal(sample.truths["rims"].inside, SEMANTIC == 1)


@pytest.mark.parametrize("format", ["coco", "folder", "shards"])
def test_where_created_pairs_are_from_goes_along(tmp_path, format, monkeypatch):
    told = {"source": "a", "seed": 5, "avoid": ["x", "y"], "confidence": {"semantic": 0.5}}
    reader = Pictures([picture("a#1", "a dog"), picture("a#2", "a dog")])
    with monkeypatch.context() as patch:
        patch.setattr("denoisight.data.export._provenance", lambda reader, i: told)
        export(reader, tmp_path / "created", "shards")
    export(open_data(tmp_path / "created", "all"), tmp_path / "out", format)
    match format:
        case "shards":
            found = provenance(tmp_path / "out")["a#2"]
        case "coco":
            found = loaded(tmp_path / "out")["images"][1]["provenance"]
        case "folder":
            found = json.loads((tmp_path / "out" / "metadata.jsonl").read_text().splitlines()[1])
            told = {"source": "a", "seed": 5, "avoid": "x; y", "confidence_semantic": 0.5}
    assert {name: found.get(name) for name in told} == told and found["text"] == "a dog"
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert info["source"]["origin"]["exported_from"] == "pictures"


@pytest.mark.parametrize("format", ["folder", "shards"])
def test_created_folders_keep_their_own_files_in_another_order(tmp_path, format):
    scenes = Scenes("val", 12, (16, 24))
    samples = {f"k{i}": replace(scenes[i], query=replace(scenes[i].query, key=f"k{i}")) for i in range(12)}
    columns = {key: {"verdict": "keep", "source": key[1:]} for key in samples}
    write_pairs(samples.values(), tmp_path / "own", exact=True, columns=columns)
    reader = open_data(tmp_path / "own", "all")
    assert list(reader.keys) != list(samples)
    export(reader, tmp_path / "out", format, exact=True)
    back = open_data(tmp_path / "out", "all")
    for sample in (back[i] for i in range(12)):
        wanted = samples[sample.key].truths["normals"].vectors
        torch.testing.assert_close(sample.truths["normals"].vectors, wanted, rtol=0, atol=1e-3)
    again = tmp_path / "again"
    export(back, again, "coco")
    told = {row["key"]: row["provenance"] for row in loaded(again)["images"]}
    assert {key: row["source"] for key, row in told.items()} == {key: key[1:] for key in samples}
    assert not any(name.endswith(("_exact", "file_name")) for row in told.values() for name in row)


def test_created_folders_of_splits_tell_where_their_pairs_are_from(tmp_path):
    write_pairs([picture("a")], tmp_path / "in" / "test")
    for split in ("train", "val"):
        write_pairs([picture("a")], tmp_path / "in" / split, columns={"a": {"verdict": "keep", "source": split}})
    export(open_data(tmp_path / "in", "all"), tmp_path / "out", "coco")
    told = {row["key"]: row.get("provenance", {}).get("source") for row in loaded(tmp_path / "out")["images"]}
    assert told == {"train/a": "train", "val/a": "val", "test/a": None}


def test_columns_of_others_are_no_provenance(tmp_path):
    write_pairs([picture("a")], tmp_path / "own", columns={"a": {"camera": "left"}})
    export(open_data(tmp_path / "own", "all"), tmp_path / "out", "coco")
    assert "provenance" not in loaded(tmp_path / "out")["images"][0]


@pytest.mark.parametrize("format", ["coco", "folder", "shards"])
def test_no_two_samples_are_held_at_once(tmp_path, format):
    alive = weakref.WeakSet()

    class Counted(Pictures):
        def __getitem__(self, i):
            assert len(alive) <= 1, "the sample before the last is still held"
            sample = super().__getitem__(0)
            sample = Sample(Query(sample.image.clone(), "", self.keys[i]), sample.truths)
            alive.add(sample.query)
            return sample

    reader = Counted([picture()])
    reader.keys = tuple(f"{i}" for i in range(12))
    reader.samples *= 12
    export(reader, tmp_path / "out", format)
    assert len(open_data(tmp_path / "out", "all")) == 12


@pytest.fixture(scope="module", params=["coco", "folder", "shards"])
def whole(request, tmp_path_factory):
    """A format, what is exported, and the finished folder's bytes."""
    reader = Pictures([picture(key, "a dog", depth=Depth.of(torch.ones(4, 5))) for key in "abcde"])
    folder = tmp_path_factory.mktemp(request.param) / "out"
    export(reader, folder, request.param, shard_size=2)
    return request.param, reader, content(folder)


@pytest.mark.parametrize("event", [1, 3, 9, 24, 40, 53])
def test_a_kill_loses_nothing(whole, tmp_path, event):
    """The export kills itself at so many openings, movings and removals of files in its folder."""
    format, reader, done = whole
    child = os.fork()
    if child == 0:
        left = [event]

        def count(name, given):
            if name in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir") and str(tmp_path) in str(given[0]):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        export(reader, tmp_path / "out", format, shard_size=2)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    export(reader, tmp_path / "out", format, shard_size=2)
    assert content(tmp_path / "out") == done


def test_the_same_again_changes_nothing(whole, tmp_path):
    format, reader, done = whole
    for _ in range(2):
        assert export(reader, tmp_path / "out", format, shard_size=2) == 5
        assert content(tmp_path / "out") == done


def test_a_full_disk_is_told_and_gone_on_from(whole, tmp_path, monkeypatch):
    format, reader, done = whole
    real, left = Path.replace, [4]

    def full(self, target):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(DataError, match="No space left"):
            export(reader, tmp_path / "out", format, shard_size=2)
    export(reader, tmp_path / "out", format, shard_size=2)
    assert content(tmp_path / "out") == done


def test_other_data_do_not_go_into_the_same_folder(whole, tmp_path):
    format, reader, done = whole
    export(reader, tmp_path / "out", format, shard_size=2)
    with pytest.raises(UsageError, match="from other data"):
        export(Pictures(reader.samples[:3]), tmp_path / "out", format, shard_size=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not ours"):
        export(reader, tmp_path / "full", format)
    assert content(tmp_path / "out") == done


def test_what_coco_cannot_hold_is_refused_in_one_sentence(tmp_path, capsys, monkeypatch):
    write_pairs([picture(semantic=None, instances=None, depth=Depth.of(torch.ones(4, 5)))], tmp_path / "in")
    with pytest.raises(SystemExit) as left:
        main(["data", "export", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--format", "coco"])
    said = "folder has depth, and COCO holds semantic, instances, boxes alone; take --format folder or shards."
    assert left.value.code == 3 and said in capsys.readouterr().err and not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="no depth to keep exact"):
        export(Pictures([picture()]), tmp_path / "out", "coco", exact=True)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match=r"denoisight\[eval\]"):
        export(Pictures([picture()]), tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()


def test_the_command_exports_whatever_can_be_read(tmp_path, capsys):
    for data, format in [("scenes:3", "shards"), (tmp_path / "shards", "folder"), (tmp_path / "folder", "coco")]:
        with pytest.raises(SystemExit) as left:
            main(["data", "export", str(data), "-o", str(tmp_path / format), "--format", format])
        assert not left.value.code and capsys.readouterr().out == f"3 samples in {tmp_path / format}\n"
    reader, scenes = open_data(tmp_path / "coco", "all"), open_data("scenes:3")
    assert torch.equal(reader[2].truths["semantic"].ids, scenes[2].truths["semantic"].ids)


def test_hugging_face_datasets_opens_both_forms(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    reader = Pictures([picture(key, "a dog", mask=Mask.of(SEMANTIC == 1)) for key in "ab"])
    for format in ("folder", "shards"):
        export(reader, tmp_path / format, format)
    cache = str(tmp_path / "cache")
    files = str(tmp_path / "shards" / "*.tar")
    rows = list(datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=cache))
    assert [row["json"]["key"] for row in rows] == ["a", "b"]
    assert np.array_equal(np.array(rows[0]["seg.png"]), SEMANTIC.numpy())
    opened = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "folder"), split="train", cache_dir=cache)
    assert [row["key"] for row in opened] == ["a", "b"] and opened[0]["text"] == "a dog"
    assert np.array_equal(np.array(opened[0]["semantic"]), SEMANTIC.numpy())
