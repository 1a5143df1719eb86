"""`denoisight analyze` on tiny models of every shape: what it writes, what it keeps, what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from denoisight.cli import main
from denoisight.errors import DataError
from denoisight.models.folder import TaskEntry, read_config
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.recipes import analyze
from denoisight.recipes.analysis import Analysis, CausesFound, Shape
from denoisight.recipes.analyze import verdict
from denoisight.train.contribution import read_law

from .stock_folders import stock_folder

FEW = {"--protocol": "scenes/val", "--limit": "3", "--steps": "3", "--seeds": "2", "--batch": "4", "--threads": "1"}


@pytest.fixture(autouse=True)
def few_training_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze, "BASELINE_IMAGES", 2)


@pytest.fixture(scope="module")
def marigold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stock_folder(tmp_path_factory.mktemp("stock") / "depth", "depth")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Calls the command; returns the analysis and what it said, or the message and nothing on failure."""

    def run(model: object, *words: str, code: int = 0) -> tuple[Analysis | None, str]:
        flags = FEW | dict(zip(words[::2], words[1::2], strict=True))
        asked = [word for flag, value in flags.items() for word in (flag, value) if word]
        with pytest.raises(SystemExit) as left:
            main(["analyze", str(model), "-o", str(tmp_path / "out"), "--quiet", *asked])
        said = capsys.readouterr()
        assert (left.value.code or 0) == code, said.err
        return (None, said.err) if code else (Analysis.read(tmp_path / "out"), said.out)

    return run


def test_a_model_of_ours_keeps_what_is_recommended(run, make_parts, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "model"
    Model(make_parts()).save_pretrained(folder)
    weights = (folder / "unet" / "diffusion_pytorch_model.safetensors").stat().st_mtime_ns
    found, said = run(tmp_path / "run")
    assert [walk.steps for walk in found.walks] == [1, 2, 3]
    assert found.walks[-1].timesteps == (999, 666, 332) and set(found.metrics) == {"abs_rel", "delta1"}
    assert np.array(found.walks[-1].by_seed["delta1"]).shape == (2, 3)
    assert all(walk.seconds > 0 for walk in found.walks)
    assert len(found.candidates) == 6 and found.num_images == 3 and found.seeds == (0, 1)
    assert found.shape.trivial_name == "mean training map"
    assert found.shape.late_loss.value >= 0 and found.shape.startup_gain.value >= 0
    assert found.stored == "" and "own from now on" in said and found.verdict in said

    chosen, kept = found.recommended, load(tmp_path / "run")
    assert (kept.steps("depth"), kept.stop_at("depth")) == (chosen.steps, chosen.stop_at)
    assert kept.steps("normals") == 3 and kept.stop_at("normals") == 0
    assert (folder / "unet" / "diffusion_pytorch_model.safetensors").stat().st_mtime_ns == weights

    law = read_law(tmp_path / "out" / "law.json", 1000)
    assert float(law.sum()) == pytest.approx(1)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg viewBox") >= 7 and "step 3" in page and "recommended" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_no_store_leaves_the_model_as_it_is(run, make_parts, tmp_path: Path) -> None:
    Model(make_parts()).save_pretrained(tmp_path / "model")
    before = (tmp_path / "model" / "model.json").read_bytes()
    found, said = run(tmp_path / "model", "--task", "referring", "--no-store", "")
    assert (tmp_path / "model" / "model.json").read_bytes() == before
    assert "--no-store" in found.stored and "not stored" in said
    assert found.metric == "miou" and set(found.walks[0].scores) == {"miou"}


def test_a_stock_marigold_folder(run, marigold: Path) -> None:
    found, said = run(marigold)
    assert "model.json" in found.stored and not (marigold / "model.json").exists()
    assert found.causes.varying is not None and found.causes.detail[-1] is not None
    assert "Recommended" in said


def test_an_editing_folder_that_learnt_a_task(run, tmp_path: Path) -> None:
    plain = stock_folder(tmp_path / "edit", "edit")
    _, said = run(plain, code=2)
    assert "denoises no task" in said
    learnt = load(plain).parts.with_config(denoises=(TaskEntry(name="depth"),))
    Model(learnt).save_pretrained(tmp_path / "taught")
    found, _ = run(tmp_path / "taught", "--seeds", "1")
    assert found.stored == "" and found.causes.varying is None
    assert read_config(tmp_path / "taught").denoises[0].steps == found.recommended.steps


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--steps", "1"], 2, "at least 2"),
        (["--seeds", "0"], 2, "seeds is 0"),
        (["--limit", "0"], 2, "limit is 0"),
        (["--steps", "1001"], 2, "1001 steps"),
        (["--task", "dept"], 2, "'dept'"),
        (["--task", "instruct"], 2, "'instruct'"),
        (["--sampler", "dim"], 2, "ddim"),
        (["--protocol", "camvid-240/val"], 2, "judges semantic"),
        (["--protocol", "scenes/vla"], 2, "scenes/val"),
    ],
)
def test_wrong_calls(run, words: list[str], code: int, says: str, tmp_path: Path) -> None:
    _, said = run("embedded", *words, code=code)
    assert says in said and not (tmp_path / "out").exists()


def test_a_task_that_is_read_out_has_no_steps(run, make_parts, tmp_path: Path) -> None:
    parts = make_parts()
    Model(parts.with_config(denoises=parts.config.denoises[:1])).save_pretrained(tmp_path / "model")
    _, said = run(tmp_path / "model", "--task", "normals", code=2)
    assert "no steps to analyse" in said


def test_a_damaged_analysis_is_refused(tmp_path: Path) -> None:
    (tmp_path / "analysis.json").write_text(json.dumps({"schema_version": 1}))
    with pytest.raises(DataError, match="analyse again"):
        Analysis.read(tmp_path)


def shape(loss: float, low: float, best: int = 2) -> Shape:
    score = {"value": 0.1, "low": 0.09, "high": 0.11}
    late = {"value": loss, "low": low, "high": 2 * loss}
    last = {"value": 0.1 + loss, "low": 0.1, "high": 0.2}
    return Shape(
        trivial=0.3, trivial_name="ramp", first=score, best_step=best, best=score, last=last, startup_gain=score,
        late_loss=late, relative_loss=loss / 0.1,
    )  # fmt: skip


def causes(fed: tuple[float, ...], detail: tuple[float, ...], varying: tuple[float, ...] | None) -> CausesFound:
    own, error = (0.2, 0.1, 0.12, 0.15), (0.02, 0.01, 0.012, 0.02)
    return CausesFound(
        num_images=3, own=own, fed=fed, detail=detail, fed_detail=detail, error=error, varying=varying
    )  # fmt: skip


def test_the_verdict_follows_the_numbers() -> None:
    fine, noisy, seeds = (0.5, 0.6, 0.7, 0.8), (0.5, 0.8, 1.5, 2.0), (0.0, 0.001, 0.002, 0.009)
    drift = verdict(shape(0.05, 0.03), causes((0.2, 0.1, 0.09, 0.05), fine, seeds), "abs_rel", 4)
    assert "50.0% worse" in drift and "the loss is drift" in drift
    assert "Residual noise has none" in drift and "80% is variance" in drift
    weak = verdict(shape(0.05, 0.03), causes((0.2, 0.1, 0.12, 0.14), noisy, None), "abs_rel", 4)
    assert "weak at low noise" in weak and "has a part in it" in weak and "variance" not in weak
    assert "within" not in drift and "beyond the spread" in verdict(
        shape(0.05, -0.01), causes((0.2, 0.1, 0.1, 0.1), fine, seeds), "abs_rel", 4
    )
    assert "last of 4 steps is the best" in verdict(
        shape(0.0, 0.0, 4), causes((0.2, 0.1, 0.1, 0.1), fine, seeds), "abs_rel", 4
    )
