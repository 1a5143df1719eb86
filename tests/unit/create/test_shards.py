"""Shards: equal bytes whoever makes them, whole or absent whatever stops the making, and read like any folder."""

import json
import os
import random
import shutil
import signal
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from denoisight.annotations import Query, Sample
from denoisight.create.annotate import Annotating
from denoisight.create.captions import Caption, Words
from denoisight.create.engines import make_locally, make_on_ray
from denoisight.create.filters import Filters
from denoisight.create.folder import pairs_folder
from denoisight.create.pairs import Maker
from denoisight.create.shards import Slices
from denoisight.create.sheet import write_pairs_sheet
from denoisight.create.variation import Variation
from denoisight.data.check import validate
from denoisight.data.images import write_image
from denoisight.data.open import open_data, subset
from denoisight.data.paired import write_pairs
from denoisight.data.readers import shards
from denoisight.data.readers.folder import read_pictures
from denoisight.data.readers.shards import provenance
from denoisight.data.shards import read_lines, reasons, write_manifest
from denoisight.errors import DataError, MissingExtraError, UsageError
from denoisight.models.folder import TaskEntry
from denoisight.predict.model import Model
from denoisight.runtime import writer

TASKS = ("depth", "normals", "semantic", "saliency", "detection")
PER_SHARD = 4


class Source:
    """Five pictures of two sizes; the last but one has no caption."""

    name, truths, classes, notes = "pictures", (), (), ()
    keys = ("a", "b", "c/d.e", "f", "g")

    def __len__(self):
        return len(self.keys)

    def __getitem__(self, i):
        image = torch.rand(3, *((16, 24) if i % 2 else (16, 16)), generator=torch.Generator().manual_seed(i))
        return Sample(Query(image, "" if i == 3 else f"a box {i}", self.keys[i]))


@pytest.fixture(scope="module")
def maker(make_parts):
    model = Model(make_parts(creates=True, resolution=16))
    # Random weights mark anything: nothing is dropped for being empty.
    filters = Filters(min_distance=0, min_valid=0, min_confidence=0.3, empty=True)
    annotating = Annotating(TASKS, "readout")
    return Maker(model, Source(), Variation(per_image=2, noise_level=(0.4, 0.6), steps=1), annotating, filters)


@pytest.fixture(scope="module")
def whole(maker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "created"
    make_locally(maker, folder, PER_SHARD)
    return folder


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_every_image_is_in_a_shard_or_dropped_with_a_reason(whole, maker):
    lines = read_lines(whole)
    assert [line.name for line in lines] == [f"created-00000{i}.tar" for i in range(3)]
    assert [line.sources for line in lines] == [(0, 2), (2, 4), (4, 5)]
    assert [line.made for line in lines] == [4, 4, 2]
    assert lines[1].dropped == {"f#1": "no caption", "f#2": "no caption"}
    assert reasons(lines) == {"no caption": 2}
    told = provenance(whole)
    assert set(told) == {f"{key}#{turn}" for key in ("a", "b", "c/d.e", "g") for turn in (1, 2)}
    assert told["c/d.e#2"]["source"] == "c/d.e" and told["a#1"]["seed"] != told["a#2"]["seed"]
    assert set(told["a#1"]["confidence"]) == set(TASKS)
    assert sum(line.masked for line in lines) == sum(pair["verdict"] == "mask" for pair in told.values())


def test_an_archive_says_nothing_of_when_and_by_whom(whole):
    with tarfile.open(whole / "created-000000.tar") as tar:
        infos = tar.getmembers()
    assert {(i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode) for i in infos} == {(0, 0, 0, "", "", 0o644)}
    first = [i.name.partition(".")[2] for i in infos if i.name.startswith("00000000.")]
    assert first[0] == "rgb.png" and first[-1] == "json" and {"depth.npy", "normals.npz", "seg.png"} <= set(first)


def test_what_is_read_is_what_was_made(whole, maker):
    reader = open_data(whole, "all")
    made = {pair.sample.key: pair.sample for pair in maker.make(range(2))}
    found = {key: reader[i] for i, key in enumerate(reader.keys) if key in made}
    assert set(found) == set(made) == {"a#1", "a#2", "b#1", "b#2"}
    for key, sample in found.items():
        torch.testing.assert_close(sample.image, made[key].image, rtol=0, atol=1e-6)
        assert sample.query.text == made[key].query.text
        for name, truth in made[key].truths.items():
            for field, tensor in truth.tensors().items():
                torch.testing.assert_close(sample.truths[name].tensors()[field], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_workers", [2, 3])
def test_workers_write_the_same_bytes_as_one(whole, maker, tmp_path, num_workers):
    for worker in reversed(range(num_workers)):
        make_locally(maker, tmp_path / "out", PER_SHARD, worker, num_workers)
    assert content(tmp_path / "out") == content(whole)


class Speechless(Source):
    """Only the first shard's pictures have captions."""

    def __getitem__(self, i):
        sample = super().__getitem__(i)
        return sample if i < 2 else replace(sample, query=replace(sample.query, text=""))


def speechless(maker):
    return Maker(maker.model, Speechless(), maker.variation, maker.annotating, maker.filters)


def test_a_first_shard_without_labels_leaves_a_folder_that_is_ours(maker, tmp_path):
    making = speechless(maker)
    make_locally(making, tmp_path / "one", PER_SHARD)
    (line,) = make_locally(making, tmp_path / "two", PER_SHARD, 1, 2)
    assert line.pairs == 0 and set(line.dropped.values()) == {"no caption"}
    with pytest.raises(UsageError, match=r"variation\.seed"):
        other = Variation(per_image=2, noise_level=(0.4, 0.6), steps=1, seed=1)
        make_locally(Maker(maker.model, Speechless(), other, maker.annotating, maker.filters), tmp_path / "two", 4)
    make_locally(making, tmp_path / "two", PER_SHARD, 0, 2)
    assert content(tmp_path / "two") == content(tmp_path / "one")


class LastSpeaks(Source):
    """Of all but the last nothing is kept."""

    def __getitem__(self, i):
        sample = super().__getitem__(i)
        return sample if i == 4 else replace(sample, query=replace(sample.query, text=""))


def test_a_shard_without_a_pair_is_a_line_alone(maker, tmp_path):
    datasets = pytest.importorskip("datasets")
    making = Maker(maker.model, LastSpeaks(), maker.variation, maker.annotating, maker.filters)
    out = tmp_path / "out"
    lines = make_locally(making, out, PER_SHARD)
    assert [(line.pairs, line.num_bytes > 0) for line in lines] == [(0, False), (0, False), (2, True)]
    assert [path.name for path in out.glob("*.tar")] == ["created-000002.tar"] and len(open_data(out, "all")) == 2
    before = {path: path.stat().st_mtime_ns for path in out.glob("created-*")}
    make_locally(making, out, PER_SHARD)
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("created-*")} and not validate(out)
    rows = datasets.load_dataset("webdataset", data_files=str(out / "*.tar"), split="train", cache_dir=str(tmp_path))
    assert len(rows) == 2

    (out / "created-000002.tar").unlink()
    (out / "created-000002.json").unlink()
    (out / "manifest.jsonl").unlink()
    with pytest.raises(DataError, match="No image in .* was kept"):
        open_data(out, "all")


def test_nor_do_first_pictures_without_labels_close_a_folder(maker, tmp_path):
    making = Maker(maker.model, LastSpeaks(), maker.variation, maker.annotating, maker.filters)
    assert len(pairs_folder(making, tmp_path / "out", PER_SHARD)) == 8
    before = content(tmp_path / "out")
    (tmp_path / "out" / "metadata.jsonl").unlink()
    pairs_folder(making, tmp_path / "out", PER_SHARD)
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("write", [make_locally, pairs_folder])
def test_metric_depth_may_be_kept_exact(make_parts, tmp_path, write):
    parts = make_parts(creates=True, resolution=16, reads=(TaskEntry(name="depth", loss="silog"),))
    found = []
    for exact in (False, True):
        annotating = Annotating(("depth",), "readout", exact=exact)
        making = Maker(Model(parts), Source(), Variation(1, steps=1), annotating, Filters(min_distance=0))
        write(making, tmp_path / str(exact), PER_SHARD)
        assert json.loads((tmp_path / str(exact) / "dataset_info.json").read_text())["exact"] is exact
        reader = open_data(tmp_path / str(exact), "all")
        found.append({key: reader[i].truths["depth"].values for i, key in enumerate(reader.keys)})
    made = {pair.sample.key: pair.sample.truths["depth"] for pair in making.make(range(3))}
    for key, depth in made.items():
        assert depth.gauge == "metres" and torch.equal(found[1][key], depth.values)
        assert not torch.equal(found[0][key], depth.values)
    with pytest.raises(UsageError, match=r"annotating\.exact False, not True"):
        write(making, tmp_path / "False", PER_SHARD)


def test_ranks_share_the_shards(whole, maker, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        made = make_locally(maker, tmp_path / "out", PER_SHARD)
        assert len(made) == (2 if rank == "0" else 1)
    assert content(tmp_path / "out") == content(whole)


def test_a_folder_holds_the_same_pairs(whole, maker, tmp_path):
    assert pairs_folder(maker, tmp_path / "out", PER_SHARD) == {"f#1": "no caption", "f#2": "no caption"}
    shards, folder = (open_data(each, "all") for each in (whole, tmp_path / "out"))
    assert folder.name == "folder" and set(folder.keys) == set(shards.keys) and folder.truths == shards.truths
    places = {key: i for i, key in enumerate(shards.keys)}
    for i, key in enumerate(folder.keys):
        torch.testing.assert_close(folder[i].truths["depth"].values, shards[places[key]].truths["depth"].values)
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert rows[0]["source"] == "a" and rows[0]["noise_level"] in (0.4, 0.45, 0.5, 0.55, 0.6)
    before = content(tmp_path / "out")
    assert pairs_folder(maker, tmp_path / "out", PER_SHARD) == {"f#1": "no caption", "f#2": "no caption"}
    assert content(tmp_path / "out") == before


def test_the_facts_of_a_pair_are_held_until_it_is_written_and_no_longer(maker, tmp_path, monkeypatch):
    held = []

    def write(samples, *given, columns, **named):
        return write_pairs(
            (held.append(len(columns)) or sample for sample in samples), *given, columns=columns, **named
        )

    monkeypatch.setattr("denoisight.create.folder.write_pairs", write)
    pairs_folder(maker, tmp_path / "out", PER_SHARD)
    assert held == [1] * 8


def test_what_was_dropped_may_have_any_name(maker, tmp_path):
    (tmp_path / "out").mkdir()
    row = {"key": "a\u2028b\x85c", "reason": "blank"}
    pairs_folder(maker, tmp_path / "out", PER_SHARD)
    with (tmp_path / "out" / "dropped.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    assert pairs_folder(maker, tmp_path / "out", PER_SHARD)[row["key"]] == "blank"


def test_both_are_drawn(whole, maker, tmp_path):
    pairs_folder(maker, tmp_path / "out", PER_SHARD)
    for folder in (whole, tmp_path / "out"):
        before = content(folder)
        assert write_pairs_sheet(folder, maker.source).read_bytes()[:4] == b"\x89PNG"
        (folder / "sheet.png").unlink()
        assert content(folder) == before


def copied(whole, folder):
    folder.mkdir()
    for name, data in content(whole).items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    "harm",
    [
        "cut short", "another byte", "no line", "no archive", "no manifest", "stale rests", "half a line", "no text",
        "another's line", "half a manifest",
    ],
)  # fmt: skip
def test_what_is_not_whole_is_made_again(whole, maker, tmp_path, harm):
    folder = copied(whole, tmp_path / "out")
    archive, line = folder / "created-000001.tar", folder / "created-000001.json"
    match harm:
        case "cut short":
            archive.write_bytes(archive.read_bytes()[:700])
        case "another byte":
            data = bytearray(archive.read_bytes())
            data[600] ^= 1
            archive.write_bytes(data)
        case "no line":
            line.unlink()
        case "no archive":
            archive.unlink()
        case "half a line":
            line.write_bytes(line.read_bytes()[:99])
        case "no text":
            line.write_bytes(b"\xff\xfe\x00")
        case "another's line":
            line.write_text("[]")
        case "half a manifest":
            (folder / "manifest.jsonl").write_bytes((folder / "manifest.jsonl").read_bytes()[:-99])
        case "no manifest":
            (folder / "manifest.jsonl").unlink()
        case "stale rests":
            # A process of this number cannot be: it is above the largest.
            dead = f"{writer().partition('-')[0]}-99999999"
            (folder / f".created-000001.{dead}.tmp").mkdir()
            (folder / f".created-000001.{dead}.tmp.tar").write_bytes(b"half")
            line.unlink()
    make_locally(maker, folder, PER_SHARD)
    assert content(folder) == content(whole)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_finished_shards_are_left_alone(whole, maker, tmp_path, monkeypatch):
    folder = copied(whole, tmp_path / "out")
    monkeypatch.setattr(Maker, "make", lambda self, sources: pytest.fail("made again"))
    assert len(make_locally(maker, folder, PER_SHARD)) == 3


def test_a_reader_refuses_a_shard_cut_short_and_passes_over_unfinished_ones(whole, tmp_path):
    folder = copied(whole, tmp_path / "out")
    (folder / "created-000002.json").unlink()
    (folder / "manifest.jsonl").unlink()
    reader = open_data(folder, "all")
    assert len(reader) == 6 and "Left out 1 shards that are not finished." in reader.notes
    archive = folder / "created-000001.tar"
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"created-000001\.tar is missing or cut short"):
        open_data(folder, "all")
    assert validate(folder)[0].kind == "damaged file"


def test_a_damaged_line_counts_whatever_the_manifest_tells(whole, maker, tmp_path, caplog):
    folder = copied(whole, tmp_path / "out")
    (folder / "created-000001.json").write_text("{")
    assert [line.name for line in read_lines(folder)] == ["created-000000.tar", "created-000002.tar"]
    make_locally(maker, folder, PER_SHARD)
    assert content(folder) == content(whole)


def test_a_shard_cut_short_is_made_again_which_is_said(whole, maker, tmp_path, caplog):
    folder = copied(whole, tmp_path / "out")
    archive = folder / "created-000001.tar"
    archive.write_bytes(archive.read_bytes()[:-100])
    make_locally(maker, folder, PER_SHARD)
    assert content(folder) == content(whole) and f"{archive} is not what it was" in caplog.text


def test_a_look_at_a_few_opens_no_other_shards(whole, monkeypatch):
    opened, open_one = [], shards.members
    monkeypatch.setattr(shards, "members", lambda path: opened.append(path.name) or open_one(path))
    every = open_data(whole, "all").keys
    opened.clear()
    few, facts = shards.read_few(whole, 2)
    assert few.keys == (every[0], every[len(every) // 2]) and set(few.keys) <= set(facts)
    assert len(set(opened)) == 2 < len(list(whole.glob("*.tar")))
    assert shards.read_few(whole, 99)[0].keys == every


def test_a_look_at_a_few_passes_over_damaged_archives(whole, tmp_path):
    folder = copied(whole, tmp_path / "out")
    harmed = [folder / f"created-00000{i}.tar" for i in (1, 0, 2)]
    harmed[0].write_bytes(harmed[0].read_bytes()[:-100])
    harmed[1].unlink()
    assert shards.read_few(folder, 99)[0].keys == ("g#1", "g#2")
    harmed[2].unlink()
    with pytest.raises(DataError, match=r"created-000000\.tar is missing or cut short"):
        shards.read_few(folder, 99)


def test_the_manifest_alone_tells_of_the_shards(whole, tmp_path):
    folder = copied(whole, tmp_path / "out")
    lines = read_lines(folder)
    for path in folder.glob("created-*.json"):
        path.unlink()
    assert read_lines(folder) == lines and len(open_data(folder, "all")) == 8
    assert write_manifest(folder) == lines


def test_other_settings_do_not_go_into_the_same_folder(whole, maker, tmp_path):
    folder = copied(whole, tmp_path / "out")
    other = Maker(
        maker.model, Source(), Variation(per_image=2, noise_level=(0.4, 0.6), steps=2), maker.annotating, maker.filters
    )
    with pytest.raises(UsageError, match=r"made with variation\.steps 1, not 2"):
        make_locally(other, folder, PER_SHARD)
    with pytest.raises(UsageError, match="sources_per_shard 2, not 1"):
        make_locally(maker, folder, 2)
    assert content(folder) == content(whole)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not ours"):
        make_locally(maker, tmp_path / "full", PER_SHARD)


@pytest.mark.parametrize("changed", ["file", "prompt", "own"])
def test_other_captions_do_not_go_into_the_same_folder(maker, tmp_path, changed):
    def making(text):
        (tmp_path / "c.csv").write_text("".join(f"{key},{text}\n" for key in Source.keys))
        level = (1.0, 1.0) if changed == "prompt" else (0.4, 0.6)
        source = {"file": Source(), "prompt": Words((text, text), (16, 16)), "own": written(text)}[changed]
        captions = str(tmp_path / "c.csv") if changed == "file" else "text"
        variation = Variation(1, noise_level=level, steps=1)
        return Maker(maker.model, source, variation, maker.annotating, maker.filters, captions)

    def written(text):
        write_pairs([replace(Source()[0], query=Query(Source()[0].image, text, "a"))], tmp_path / "own")
        path = tmp_path / "own" / "metadata.jsonl"
        path.write_text(json.dumps({**json.loads(path.read_text()), "text": text}) + "\n")
        return subset(read_pictures(tmp_path / "own", "all"), [0])

    make_locally(making("a red box"), tmp_path / "out", PER_SHARD, 0, 2)
    assert "a red box" in {told["text"] for told in provenance(tmp_path / "out").values()}
    with pytest.raises(UsageError, match="captions c.csv" if changed == "file" else r"data\.hash"):
        make_locally(making("a blue ball"), tmp_path / "out", PER_SHARD)


def test_nor_do_other_pictures_under_the_same_names(maker, tmp_path):
    def making(size):
        image = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0))
        write_image(tmp_path / "photos" / "rgb" / "a.png", image)
        source = read_pictures(tmp_path / "photos", "all")
        variation = Variation(1, steps=1)
        return Maker(maker.model, source, variation, maker.annotating, maker.filters, "none")

    first = making(16).settings
    assert first == making(16).settings and first["data"] != making(24).settings["data"]


def test_a_full_disk_keeps_finished_shards(whole, maker, tmp_path, monkeypatch):
    folder, real = tmp_path / "out", Path.replace

    def full(self, target):
        if Path(target).name == "created-000001.tar":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match=r"created-000001\.tar: No space left"):
        make_locally(maker, folder, PER_SHARD)
    assert {path.name for path in folder.glob("created-*")} == {"created-000000.tar", "created-000000.json"}
    assert len(open_data(folder, "all")) == 4
    monkeypatch.undo()
    make_locally(maker, folder, PER_SHARD)
    assert content(folder) == content(whole)


def test_slices_cover_all_sources_once():
    for num_sources, per_shard, num_workers in [(10, 3, 2), (9, 3, 4), (1, 5, 3)]:
        slices = Slices(num_sources, per_shard)
        shards = [shard for worker in range(num_workers) for shard in slices.share(worker, num_workers)]
        assert sorted(shards) == list(range(len(slices)))
        assert sorted(i for shard in shards for i in slices.sources(shard)) == list(range(num_sources))
    with pytest.raises(UsageError, match="0 to 1"):
        slices.share(2, 2)


def killed_at(maker, folder, event, make=make_locally):
    """Make pairs in a process that kills itself at so many openings, movings and removals of files in the folder;
    returns whether it came so far."""
    child = os.fork()
    if child == 0:
        left = [event]

        def count(name, given):
            if name in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir") and str(folder) in str(given[0]):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            make(maker, folder, PER_SHARD)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("event", [1, 8, 60, 107])
def test_a_kill_loses_nothing(whole, maker, tmp_path, event):
    assert killed_at(maker, tmp_path / "out", event)
    make_locally(maker, tmp_path / "out", PER_SHARD)
    assert content(tmp_path / "out") == content(whole)


@pytest.mark.parametrize("event", [1, 9, 30, 61])
def test_a_kill_loses_nothing_of_a_folder(maker, tmp_path, event):
    """Nor do more kills of those who go on."""
    pairs_folder(maker, tmp_path / "whole", PER_SHARD)
    assert killed_at(maker, tmp_path / "out", event, pairs_folder)
    for later in (7, 19, 37):
        killed_at(maker, tmp_path / "out", event + later, pairs_folder)
    pairs_folder(maker, tmp_path / "out", PER_SHARD)
    whole, out = (content(tmp_path / name) for name in ("whole", "out"))
    for name in ("metadata.jsonl", "dropped.jsonl"):
        lines = [sorted(folder.pop(name, b"").splitlines()) for folder in (whole, out)]
        assert lines[0] == lines[1], "no pair is lost or doubled"
    assert whole == out


def test_a_damaged_line_of_anothers_shard_stops_nobody(whole, maker, tmp_path, caplog):
    folder = copied(whole, tmp_path / "out")
    (folder / "created-000001.json").write_text("{")
    (folder / "manifest.jsonl").unlink()
    assert len(make_locally(maker, folder, PER_SHARD, 0, 2)) == 2
    assert "created-000001.json holds a damaged line" in caplog.text
    reader = open_data(folder, "all")
    assert len(reader) == 6 and "Left out 1 shards that are not finished." in reader.notes


@pytest.mark.parametrize("event", [8, 60])
def test_who_reads_before_the_first_shard_is_finished_is_told_so(whole, maker, tmp_path, event):
    assert killed_at(maker, tmp_path / "out", event)
    with pytest.raises(DataError, match=r"No shard in .* is finished yet; run the command .* goes on where it"):
        open_data(tmp_path / "out", "train")
    (tmp_path / "out" / "created-000000.tar").write_bytes(b"half")
    assert "is finished yet" in validate(tmp_path / "out")[0].sentence


@pytest.mark.long
def test_twenty_random_kills_lose_nothing(whole, maker, tmp_path):
    draw, folders, kills = random.Random(0), [tmp_path / "0"], 0
    while kills < 20:
        if killed_at(maker, folders[-1], draw.randint(1, 220)):
            kills += 1
        else:  # it ended before its time had come
            folders.append(tmp_path / str(len(folders)))
    make_locally(maker, folders[-1], PER_SHARD)
    assert all(content(folder) == content(whole) for folder in folders)


def test_ray_is_asked_for_by_name(maker, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    with pytest.raises(MissingExtraError, match=r"denoisight\[ray\]"):
        make_on_ray(lambda: maker, tmp_path / "out", Slices.of(maker, PER_SHARD))


def test_datasets_reads_the_archives(whole, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = str(whole / "created-*.tar")
    rows = list(datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path)))
    assert [row["json"]["key"] for row in rows][:2] == ["a#1", "a#2"] and len(rows) == 8
    assert rows[0]["rgb.png"].size == (16, 16)


def test_datasets_reads_what_few_pairs_avoid(maker, tmp_path):
    """It takes the types of the first pairs for those of all."""
    datasets = pytest.importorskip("datasets")
    last = Source.keys[-1]

    def captions(sample):
        return Caption("a box", ("a cone", "a dome") if sample.key == last else ())

    making = Maker(maker.model, Source(), maker.variation, maker.annotating, maker.filters, captions)
    make_locally(making, tmp_path / "out", PER_SHARD)
    files = str(tmp_path / "out" / "created-*.tar")
    rows = datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["avoid"] for row in rows["json"]] == [""] * 8 + ["a cone; a dome"] * 2


def test_webdataset_reads_the_archives(whole):
    webdataset = pytest.importorskip("webdataset")
    rows = list(webdataset.WebDataset(str(whole / "created-000000.tar"), shardshuffle=False).decode("pil"))
    assert [row["json"]["key"] for row in rows] == ["a#1", "a#2", "b#1", "b#2"]


def test_pairs_of_one_form_are_not_gone_on_with_in_another(whole, maker, tmp_path):
    """Readers would see the shards alone."""
    shards, folder = tmp_path / "shards", tmp_path / "folder"
    shutil.copytree(whole, shards)
    pairs_folder(maker, folder, PER_SHARD)
    for write, there in ((pairs_folder, shards), (make_locally, folder)):
        before = content(there)
        with pytest.raises(UsageError, match="another --format"):
            write(maker, there, PER_SHARD)
        assert content(there) == before
