"""`denoisight improve` as a user meets it: one command for all stages, that goes on, and that says what is wrong."""

import json
import signal
import time
from pathlib import Path

import pytest

from denoisight.data.open import open_data
from denoisight.data.paired import write_pairs
from denoisight.recipes.base import Recipe, override
from denoisight.recipes.improving import warm_up
from denoisight.recipes.launch import train

from .tiny import call, start

TINY = ["--batch", "2", "--res", "32", "--validations", "1", "--validation-images", "2", "--workers", "0"]
TINY += ["--threads", "1", "--per-image", "1", "--creation-steps", "2"]


@pytest.fixture(scope="module")
def creator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that creates, badly."""
    out = tmp_path_factory.mktemp("creator")
    network = {"widths": [16, 32], "text_width": 16, "text_layers": 1}
    own = {"steps": 3, "batch": 4, "res": 32, "validations": 1, "validation_images": 2, "workers": 0, "threads": 1}
    changes = {**own, "model": "new", "network": network, "teaching": {"create": 1.0}, "augment": {"crop": 1.0}}
    train(override(Recipe(data="scenes:4"), changes), out, quiet=True, overwrite=True)
    return out


def words(creator: Path, out: Path, *more: object, **changes: object) -> list[object]:
    flags = {"task": "normals,semantic", "data": "scenes:4", "model": creator, "out": out, "steps": 3, **changes}
    return ["improve", *(word for name, value in flags.items() for word in (f"--{name}", value)), *TINY, *more]


def test_one_command_does_it_all_and_once(creator: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ["--min-confidence", "0.1", "--optim.ema", "0.4", "--adapt-time", "2s", "--captions", "labels"]
    done = call(*words(creator, out, *flags))
    assert done.returncode == 0, done.stderr
    assert "The best is" in done.stderr and (out / "improve.html").exists()
    stages = [json.loads(line)["stage"] for line in (out / "stages.jsonl").read_text().splitlines()]
    assert stages == ["adapt", "warm-up", "created-1", "judged-1", "improved-1"]

    plan = json.loads((out / "plan.json").read_text())
    assert plan["improving"]["self_teaching"]["confidence"] == 0.1 and plan["filters"]["min_confidence"] == 0
    usual = warm_up(("normals",), "").optim.ema
    assert plan["improving"]["optim"]["ema"] == 0.4 and plan["warm_up"]["optim"]["ema"] == usual
    assert plan["filters"]["empty"], "labels that are not learnt from drop nothing"
    assert open_data(out / "created-1", "all")[0].query.text.startswith("a photo of")

    before = (out / "stages.jsonl").read_text()
    assert call(*words(creator, out, *flags)).returncode == 0
    assert (out / "stages.jsonl").read_text() == before
    other = call(*words(creator, out, *flags, steps=4))
    assert other.returncode == 2 and "begun by another plan" in other.stderr
    itself = call(*words(out / "model", out, *flags, "--overwrite"))
    assert itself.returncode == 2 and "would be removed" in itself.stderr and (out / "model").exists()


def test_labels_that_are_made_once_are_masked_when_they_are_made(creator: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = call(*words(creator, out, "--self-teaching.labels", "own", "--min-confidence", "0.01", "--max-time", "60s"))
    assert done.returncode == 0, done.stderr
    plan = json.loads((out / "plan.json").read_text())
    assert plan["filters"]["min_confidence"] == 0.01 and not plan["filters"]["empty"]
    assert plan["improving"]["self_teaching"]["confidence"] == 0 and plan["max_time"] == 60


def test_stopped_it_says_how_to_go_on(creator: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(*words(creator, out, steps=100_000))
    metrics = out / "warm-up" / "metrics.jsonl"
    until = time.monotonic() + 120
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) > 1) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 143 and "go on with the same command" in told
    (line,) = map(json.loads, (out / "stages.jsonl").read_text().splitlines())
    assert line["stage"] == "warm-up" and line["stopped"]


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"recipe": "warm-up"}, 2, "--recipe is set by the stages"),
        ({"noise-level": 1.5}, 2, "1.5"),
        ({"data": "nowhere"}, 3, "nowhere"),
        ({"task": "albedo"}, 2, "albedo"),
        ({"judge": "nowhere"}, 5, "nowhere"),
        ({"captions": "nowhere.csv"}, 3, "nowhere.csv"),
        ({"rounds": 0}, 2, "0 rounds"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_begun(
    creator: Path, tmp_path: Path, changes: dict[str, object], code: int, says: str
) -> None:
    done = call(*words(creator, tmp_path / "run", **changes))
    assert done.returncode == code and says in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()


def test_a_task_without_truth_in_the_data_is_told(creator: Path, tmp_path: Path) -> None:
    scenes = open_data("scenes:6", "train", ["depth"], size=(32, 32))
    write_pairs((scenes[i].only(["depth"]) for i in range(6)), tmp_path / "data")
    done = call(*words(creator, tmp_path / "run", data=tmp_path / "data"))
    assert done.returncode == 3 and "has no truth normals" in done.stderr
    assert not (tmp_path / "run").exists()
