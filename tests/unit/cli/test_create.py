"""`denoisight create` as a user meets it."""

import json
import os
import shutil

import pytest
import torch

from denoisight.annotations import Labels
from denoisight.cli import main
from denoisight.data.export import export
from denoisight.data.files import write_annotation
from denoisight.data.images import write_image
from denoisight.data.open import open_data
from denoisight.data.readers.shards import provenance
from denoisight.errors import DataError, UsageError
from denoisight.models.folder import save
from denoisight.recipes.create import Order, check_made


@pytest.fixture(scope="module")
def model(make_parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("creator") / "model"
    save(make_parts(creates=True), folder)
    return folder


@pytest.fixture
def run(model, tmp_path, capsys):
    def run(*words, code=0):
        with pytest.raises(SystemExit) as left:
            main(["create", "--model", str(model), "--steps", "1", "-o", str(tmp_path / "out"), *map(str, words)])
        assert (left.value.code or 0) == code
        return capsys.readouterr().err

    return run


def captions(folder):
    return [json.loads(line)["text"] for line in (folder / "metadata.jsonl").read_text().splitlines()]


def test_captions_from_flags_and_a_file(run, tmp_path):
    (tmp_path / "captions.txt").write_text(
        "a blue cone on a plain floor in a room\n\n  two red boxes on a plain ground outdoors \n"
    )
    run("--prompt", "a red box", "--prompts", tmp_path / "captions.txt", "--num", "2")
    told = ["a red box", "a blue cone on a plain floor in a room", "two red boxes on a plain ground outdoors"]
    assert captions(tmp_path / "out") == told * 2
    assert (tmp_path / "out" / "sheet.png").exists()
    assert len(list((tmp_path / "out" / "rgb").glob("*.png"))) == 6


def test_a_file_of_prompts_may_be_of_a_spreadsheet(run, tmp_path):
    (tmp_path / "captions.txt").write_text("a red\u2028box\na dome\n", encoding="utf-8-sig")
    run("--prompts", tmp_path / "captions.txt", "--res", "16")
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().split("\n") if line]
    assert [row["text"] for row in rows] == ["a red\u2028box", "a dome"]


@pytest.mark.parametrize(
    "words",
    [
        ("--min-confidence", "0.5"),
        ("--max-saturated", "1"),
        ("--keep-empty",),
        ("--num-shards", "2", "--shard", "0"),
        ("--exact",),
    ],
)
def test_what_is_about_labels_needs_labels(run, tmp_path, words):
    told = run("--prompt", "a red box", *words, code=2)
    assert "is about labelled pictures; name --task" in told and not (tmp_path / "out").exists()


def test_more_images_are_added_to_those_there(run, tmp_path):
    run("--prompt", "a red box", "--res", "16")
    one = (tmp_path / "out" / "rgb" / "000001.png").read_bytes()
    run("--prompt", "a red box", "--res", "16", "--num", "3")
    assert len(captions(tmp_path / "out")) == 3
    assert (tmp_path / "out" / "rgb" / "000001.png").read_bytes() == one


def test_a_caption_says_what_to_avoid(run, tmp_path):
    run("--prompt", "a red box, not a sphere, not a cone", "--prompt", "a dome", "--res", "16")
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert [(row["text"], row.get("avoid")) for row in rows] == [("a red box", "a sphere; a cone"), ("a dome", None)]
    run("--prompt", "a red box, not a sphere, not a cone", "--prompt", "a dome", "--res", "16")
    assert "a red box, not a sphere; a cone' where one of 'a red box'" in run("--prompt", "a red box", code=2)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "--prompt"),
        (["--data", "scenes:2", "--prompt", "a red box"], 2, "both words and data"),
        (["--prompt", "a red box", "--noise-level", "0.5"], 2, "name one with --data"),
        (["--data", "scenes:2", "--num", "3"], 2, "give --per-image"),
        (["--prompt", "a red box", "--per-image", "3", "--task", "depth"], 2, "give --num"),
        (["--prompt", "make it snow", "--image", "a.png", "--task", "depth"], 2, "leave --task out"),
        (["--data", "scenes:2", "--noise-level", "1.5"], 2, "1.5"),
        (["--data", "scenes:2", "--noise-level", "much"], 2, "'much'"),
        (["--data", "scenes:2", "--task", "albedo"], 2, "albedo"),
        (["--data", "scenes:2", "--shard", "1"], 2, "--num-shards"),
        (["--data", "scenes:2", "--shard", "1", "--num-shards", "2", "--engine", "ray"], 2, "Ray divides the shards"),
        (["--data", "scenes:2", "--captions", "none", "--engine", "ray", "--workers", "0"], 2, "0 workers"),
        (["--data", "scenes:2", "--shard", "2", "--num-shards", "2"], 2, "0 to 1"),
        (["--data", "scenes:2", "--task", "depth", "--consistency"], 2, "label both (--task depth,normals)"),
        (["--data", "nowhere"], 3, "nowhere"),
        (["--data", "scenes:2", "--captions", "nowhere.csv"], 3, "nowhere.csv"),
        (["--data", "scenes:2", "--format", "folder", "--shard", "0", "--num-shards", "2"], 2, "one process"),
        (["--prompt", "a red box", "--num", "0"], 2, "--num 0"),
        (["--prompts", "nowhere.txt"], 3, "nowhere.txt"),
        (["--prompt", "a red box", "--sampler", "dmpp"], 2, "dpmpp-2m"),
        (["--prompt", "a red box", "--guidance", "-1"], 2, "guidance"),
        (["--prompt", "a red box", "--eta", "2"], 2, "eta is 2"),
        (["--data", "scenes:2", "--eta", "0.5", "--sampler", "ddpm"], 2, "take ddim"),
        (["--image", "photo.jpg", "--prompt", "make it snow", "--eta", "0.5"], 2, "not edits"),
        (["--prompt", "box " * 200], 2, "words"),
    ],
)
def test_a_wrong_call_gets_its_code_and_a_remedy(run, tmp_path, words, code, says):
    assert says in run(*words, code=code)
    assert not (tmp_path / "out").exists()


def test_words_it_never_learnt_are_named(run, caplog):
    run("--prompt", "a red zeppelin")
    assert "zeppelin" in caplog.text


VARY = [
    "--data",
    "scenes:2",
    "--per-image",
    "2",
    "--task",
    "depth,normals",
    "--shard-size",
    "2",
    "--noise-level",
    "0.4:0.6",
]


def test_a_worker_without_captions_is_no_failure(run, tmp_path, caplog):
    caplog.set_level("INFO")
    reader = open_data("scenes:2", size=(32, 32))
    (tmp_path / "c.csv").write_text(f"{reader.keys[0]},a red box\n")
    words = [*VARY, "--captions", tmp_path / "c.csv", "--num-shards", "2"]
    run(*words, "--shard", "1")
    assert "1 of 2 shards are finished" in caplog.text and "no labelled images yet" in caplog.text
    run(*words, "--shard", "0")
    assert "2 of 2" not in caplog.text and "holds 2 labelled images; 2 were dropped: 2 no caption" in caplog.text


def test_a_damaged_shard_of_another_worker_is_no_failure(run, tmp_path, caplog):
    caplog.set_level("INFO")
    words = [*VARY, "--num-shards", "2"]
    for shard in (0, 1):
        run(*words, "--shard", shard)
    archive = tmp_path / "out" / "created-000000.tar"
    archive.write_bytes(archive.read_bytes()[:-100])
    caplog.clear()
    run(*words, "--shard", "1")
    assert "1 of 2 shards are finished; the others are other workers'" in caplog.text
    assert "holds 2 labelled images" in caplog.text and "sheet.png" in caplog.text
    run(*words, "--shard", "0")
    assert len(open_data(tmp_path / "out", "all")) == 4


def test_a_data_set_is_varied_and_labelled(run, tmp_path, caplog):
    caplog.set_level("INFO")
    run(*VARY)
    assert "holds 4 labelled images" in caplog.text and (tmp_path / "out" / "sheet.png").exists()
    assert {path.name for path in (tmp_path / "out").glob("*.tar")} == {"created-000000.tar", "created-000001.tar"}
    assert open_data(tmp_path / "out", "all").truths == ("depth", "normals")
    before = (tmp_path / "out" / "manifest.jsonl").read_text()
    run(*VARY)
    assert (tmp_path / "out" / "manifest.jsonl").read_text() == before
    assert "made with variation.seed 0, not 1" in run(*VARY, "--seed", "1", code=2)


def test_depth_and_normals_may_be_held_against_each_other(run, tmp_path):
    run(*VARY, "--consistency")
    told = provenance(tmp_path / "out").values()
    assert all(pair["consistency"] and pair["confidence"]["depth"] < 1 for pair in told)
    assert "annotating.consistency True, not False" in run(*VARY, code=2)


def test_fresh_noise_is_told_of(run, tmp_path):
    run(*VARY, "--eta", "0.5")
    assert {pair["eta"] for pair in provenance(tmp_path / "out").values()} == {0.5}
    assert "variation.eta 0.5, not 0.0" in run(*VARY, "--sampler", "ddim", code=2)


def test_pairs_may_be_a_folder(run, tmp_path):
    run(*VARY, "--format", "folder")
    created = open_data(tmp_path / "out", "all")
    assert len(captions(tmp_path / "out")) == 4 and created.name == "folder"
    export(created, tmp_path / "shards", "shards")
    told = provenance(tmp_path / "shards")
    assert {pair["source"] for pair in told.values()} == set(open_data("scenes:2").keys)
    assert {pair["verdict"] for pair in told.values()} == {"keep"} and all("seed" in pair for pair in told.values())
    info = json.loads((tmp_path / "shards" / "dataset_info.json").read_text())
    assert info["source"]["origin"]["variation"]["per_image"] == 2


def test_filters_may_be_loosened(run, tmp_path):
    run(*VARY, "--min-contrast", "1", code=3)
    shutil.rmtree(tmp_path / "out")
    flags = {"min_confidence": 0.0, "min_valid": 0.1, "min_distance": 0.01, "min_contrast": 0.0, "max_saturated": 0.9}
    run(*VARY, *(word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)))
    told = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["source"]["filters"]
    assert told == {**flags, "empty": False, "balance": 0.0} and len(provenance(tmp_path / "out")) == 4


def test_images_without_labels_are_for_one_process(run, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "2 processes were started" in run("--prompt", "a red box", code=2)


def test_images_from_captions_are_labelled_when_asked(run, tmp_path):
    run("--prompt", "a red box", "--task", "depth", "--num", "2")
    assert len(open_data(tmp_path / "out", "all")) == 2
    shutil.rmtree(tmp_path / "out")
    run("--prompt", "", "--task", "depth", "--num", "2")
    assert {pair["text"] for pair in provenance(tmp_path / "out").values()} == {""}


def test_pictures_that_nobody_labelled_are_varied(run, tmp_path):
    for i in range(2):
        image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(i))
        write_image(tmp_path / "photos" / f"{i}.png", image)
    words = ["--data", tmp_path / "photos", "--split", "all", "--task", "depth"]
    assert "or none, to create without words" in run(*words, code=3)
    run(*words, "--captions", "none", "--per-image", "2")
    assert len(open_data(tmp_path / "out", "all")) == 4


def test_pictures_without_captions_say_so(run, tmp_path):
    for i in range(2):
        image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(i))
        write_image(tmp_path / "photos" / "rgb" / f"{i}.png", image)
        write_annotation(
            tmp_path / "photos" / "label", f"{i}", Labels(torch.arange(256).reshape(16, 16) // 128, ("sky", "road"))
        )
    words = ["--data", tmp_path / "photos", "--split", "all", "--task", "depth"]
    assert "has no caption by 'text', nor have the next ones; give --captions labels" in run(*words, code=3)
    run(*words, "--captions", "labels")
    told = provenance(tmp_path / "out")
    assert {pair["text"] for pair in told.values()} == {"a photo of class 0 and class 1"}


def test_pictures_are_varied_whatever_is_known_of_them(run, tmp_path, caplog):
    """Truths are looked for only where captions are made of them; who leaves something out says so."""
    caplog.set_level("INFO")
    for i in range(3):
        image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(i))
        write_image(tmp_path / "photos" / "rgb" / f"{i}.png", image)
    labels = Labels(torch.arange(256).reshape(16, 16) // 128, ("sky", "road"))
    write_annotation(tmp_path / "photos" / "label", "1", labels)
    words = ["--data", tmp_path / "photos", "--split", "all", "--task", "depth", "--per-image", "1", "--keep-empty"]
    run(*words, "--captions", "labels")
    assert {pair["source"] for pair in provenance(tmp_path / "out").values()} == {"1"}
    assert "Left out 2 items that lack semantic" in caplog.text
    shutil.rmtree(tmp_path / "out")
    run(*words, "--captions", "none")
    assert {pair["source"] for pair in provenance(tmp_path / "out").values()} == {"0", "1", "2"}


def test_no_steps_are_not_as_many_as_usual(model):
    with pytest.raises(UsageError, match="steps is 0"):
        Order(str(model), "cpu", data="scenes:2", steps=0).maker()


def test_an_order_may_be_carried_out_in_another_folder(model, tmp_path, monkeypatch):
    write_image(tmp_path / "base" / "photos" / "a.png", torch.rand(3, 16, 16))
    (tmp_path / "words.csv").write_text("a,a red box\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(model.parent)
    monkeypatch.setenv("DENOISIGHT_DATA_DIR", os.path.relpath(tmp_path / "base"))
    words = os.path.relpath(tmp_path / "words.csv")
    for spec in ("photos", os.path.relpath(tmp_path / "base" / "photos")):
        monkeypatch.chdir(model.parent)
        order = Order("model", "cpu", data=spec, split="all", captions=words, per_image=1, steps=1).absolute()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert order.maker().source.keys == ("a",)
    assert Order("embedded", data="scenes:3").absolute() == Order("embedded", data="scenes:3")
    assert Order("embedded", data=f"folder:{tmp_path / 'base'}").absolute().data == f"folder:{tmp_path / 'base'}"


@pytest.mark.parametrize(
    ("pairs", "dropped", "says"),
    [
        (2, {"saturated": 9, "blank": 1}, "Most images are blank, or black and white. The model has not learnt"),
        (2, {"near copy of its source": 9}, ""),
        (12, {"saturated": 10}, ""),
    ],
)
def test_pictures_that_show_nothing_are_warned_of(pairs, dropped, says, caplog):
    check_made(pairs, dropped)
    assert caplog.text == "" if not says else says in caplog.text


def test_it_is_told_why_nothing_is_left():
    with pytest.raises(DataError, match="2 blank. The model has not learnt how such images look"):
        check_made(0, {"blank": 2})
    with pytest.raises(DataError, match="2 near copy of its source. Take another noise level"):
        check_made(0, {"near copy of its source": 2})
