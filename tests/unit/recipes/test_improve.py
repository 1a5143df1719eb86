"""Warm-up, creation and improvement as one: each stage is done once, and the best average is kept."""

import html
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from denoisight.cli.report import report as report_command
from denoisight.create.pairs import Variation
from denoisight.data.open import open_data
from denoisight.errors import DataError, RecipeError, UsageError
from denoisight.predict.load import load
from denoisight.recipes.base import Recipe, override
from denoisight.recipes.improve import Plan, improve
from denoisight.recipes.improve_page import METRICS, PAGE, PLAN, REPORT, write_improve_page
from denoisight.recipes.improving import adapt_creation, self_improve, warm_up
from denoisight.recipes.launch import _readers, train
from denoisight.recipes.self_teaching import beside
from denoisight.train.validate import CHOOSE_BY

TINY = {"steps": 3, "batch": 4, "res": 32, "validations": 1, "validation_images": 2, "workers": 0, "threads": 1}
TASKS = ("normals", "semantic")


@pytest.fixture(scope="module")
def creator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that creates, badly."""
    out = tmp_path_factory.mktemp("creator")
    network = {"widths": [16, 32], "text_width": 16, "text_layers": 1}
    new = {"model": "new", "network": network, "teaching": {"create": 1.0}, "augment": {"crop": 1.0}}
    train(override(Recipe(data="scenes:4"), {**TINY, **new}), out, quiet=True, overwrite=True)
    return out


def plan(creator: Path, **changes: object) -> Plan:
    own = {**TINY, "model": str(creator), **changes}
    warm, improving = (override(make(TASKS, "scenes:4"), own) for make in (warm_up, self_improve))
    return Plan(warm, improving, Variation(per_image=1, steps=2))


def test_all_stages_in_one_call(creator: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    told = replace(plan(creator), rounds=2)
    done = improve(told, out, quiet=True)
    stages = [json.loads(line) for line in (out / "stages.jsonl").read_text().splitlines()]
    assert [s["stage"] for s in stages] == ["warm-up", "created-1", "improved-1", "created-2", "improved-2"]
    assert all(stage["seconds"] >= 0 and stage["peak_mb"] > 0 for stage in stages)
    assert stages[1]["made"] == 4 and stages[1]["network_passes"] == 8
    first, second = (open_data(out / f"created-{turn}", "all") for turn in (1, 2))
    assert len(first) and (first[0].image != second[0].image).any(), "a second round creates anew"

    report = json.loads((out / "improve.json").read_text())
    worst = {name: row["val/badness"] for name, row in report["last_validation"].items()}
    assert done.best == report["best"] and set(worst) == {"warm-up", "improved-1", "improved-2"}
    assert "raw/normals/mean" in report["validation"]["improved-1"]
    kept, best = load(done.model, "cpu"), load(out / done.best, "cpu")
    assert kept.weights_hash == best.weights_hash and set(kept.reads) == set(TASKS)

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}
    again = improve(told, out, quiet=True)
    assert again.scores == done.scores
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}
    assert len((out / "stages.jsonl").read_text().splitlines()) == 5, "nothing was done twice"
    with pytest.raises(UsageError, match="another plan"):
        improve(replace(told, rounds=1), out, quiet=True)


def test_a_call_goes_on_where_another_stopped(creator: Path, tmp_path: Path) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    told = plan(creator)
    improve(told, whole, quiet=True)
    improve(told, parted, quiet=True)
    lines = (parted / "stages.jsonl").read_text().splitlines(keepends=True)
    (parted / "stages.jsonl").write_text(lines[0])
    for path in (parted / "created-1").glob("created-*.json"):
        path.unlink()
    improve(told, parted, quiet=True)
    assert load(parted, "cpu").weights_hash == load(whole, "cpu").weights_hash


def test_the_network_adapts_to_pictures_without_truths(creator: Path, tmp_path: Path) -> None:
    told = plan(creator)
    adapt = override(adapt_creation(told.warm_up, "30s"), {"steps": 2, "batch": 2})
    improve(replace(told, adapt=adapt), tmp_path / "run", quiet=True)
    before, after = (load(folder, "cpu").parts.backbone.state_dict() for folder in (creator, tmp_path / "run"))
    assert any((before[name] != after[name]).any() for name in before)


def test_a_folder_that_holds_something_else_is_left_alone(creator: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        improve(plan(creator), tmp_path, quiet=True)
    assert (tmp_path / "mine.txt").exists()


def test_rounds_are_at_least_one(creator: Path) -> None:
    with pytest.raises(UsageError, match="0 rounds"):
        replace(plan(creator), rounds=0)


@pytest.mark.parametrize(
    ("own", "count", "labelled"),
    [({}, 6, 4), ({"count": 1}, 5, 4), ({"alone": True}, 2, 0), ({"labels": "own"}, 6, 6)],
)
def test_which_pictures_a_run_learns_from(own: dict[str, object], count: int, labelled: int) -> None:
    recipe = override(self_improve(TASKS, "scenes:4"), {**TINY, "self_teaching": {"pictures": "scenes:2", **own}})
    reader, _ = _readers(recipe)
    samples = [reader[i] for i in range(len(reader))]
    assert len(samples) == count and sum(sample.labelled for sample in samples) == labelled


def test_words_have_no_answer_on_pictures_without_truths() -> None:
    recipe = override(self_improve(("referring",), "scenes:4"), {"self_teaching": {"pictures": "scenes:2"}})
    with pytest.raises(RecipeError, match="referring"):
        beside(recipe, open_data("scenes:4"))


@pytest.fixture(scope="module")
def improved(creator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("improved") / "run"
    improve(plan(creator), out, quiet=True)
    return out


def test_the_page_tells_all_that_was_done(improved: Path) -> None:
    text = (improved / PAGE).read_text()
    report = json.loads((improved / REPORT).read_text())
    for stage in report["stages"]:
        assert stage["stage"] in text and f"{stage['peak_mb']:,} MB" in text
    assert "improved-1, averaged (theta_C)" in text and "improved-1, raw (theta_E)" in text
    assert "warm-up, raw" not in text, "the warm-up never looks at its raw weights"
    assert text.count("<svg viewBox") > len(TASKS) * 2 and "semantic miou (fraction)" in text
    assert all(sign["remedy"] in html.unescape(text) for sign in report["signatures"])
    assert f"Kept: the averaged weights of {report['best']}" in text
    assert f"--model {improved / 'model'}" in text
    made = report["stages"][1]["pairs"]
    for kind in ("source", "created", *TASKS):
        assert sum(f'alt="{kind}: {number}"' in text for number in range(1, 20)) == made, kind


def test_the_page_is_drawn_again_from_files_alone(improved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.html"
    report_command(improved, out=again)
    assert again.read_bytes() == (improved / PAGE).read_bytes()


def test_the_page_does_without_created_images(improved: Path, tmp_path: Path) -> None:
    light = tmp_path / "light"
    shutil.copytree(improved, light)
    shutil.rmtree(light / "created-1")
    text = write_improve_page(light, light / PAGE).read_text()
    assert "Images of created-1 cannot be shown" in text and "theta_C" in text


def test_a_page_that_cannot_be_drawn_loses_nothing(
    creator: Path, improved: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Path:
        raise RuntimeError("no ink")

    monkeypatch.setattr("denoisight.recipes.improve.write_improve_page", broken)
    assert improve(plan(creator), improved, quiet=True).model.is_dir()
    assert "no ink" in caplog.text and f"denoisight report {improved}" in caplog.text


def test_only_an_improvement_that_ended_has_a_page(improved: Path, tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text((improved / PLAN).read_text())
    with pytest.raises(DataError, match="no finished improvement"):
        report_command(tmp_path)


def test_every_task_that_is_validated_has_its_unit() -> None:
    assert all(metric in METRICS[task] for task, (metric, _) in CHOOSE_BY.items())
