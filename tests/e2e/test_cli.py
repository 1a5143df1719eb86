"""The command line as a user meets it: exit codes, one sentence that helps, nothing half-written."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .tiny import call, config, environment, train_words


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good pictures of different sizes."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 255, (48, 80, 3), dtype=np.uint8)).save(folder / "wide.png")
    Image.fromarray(draw.integers(0, 255, (90, 60, 3), dtype=np.uint8)).save(folder / "tall.jpg")
    return folder


def test_help_is_quick_and_imports_no_torch() -> None:
    code = "import sys\nfrom denoisight.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules and 'pydantic' not in sys.modules"
    times = []
    for _ in range(3):
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
        times.append(time.monotonic() - began)
        assert done.returncode == 0, done.stderr
        assert "predict" in done.stdout
    # The promise is 0.4 s on a free machine (benchmarks/cli.py measures it); a busy one gets slack.
    assert min(times) < 2.0


def test_the_help_of_a_verb_is_all_that_it_says_and_no_default_of_another_recipe() -> None:
    told = " ".join(call("improve", "--help").stdout.replace("│", " ").split())
    assert "The same command goes on where it was stopped." in told
    assert "Pictures created of each labelled one. [default: 2]" in told
    assert "Optimiser steps. --max-time" in told
    assert "Create images like yours" in call("--help").stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nonsense"], 2, "Unknown command"),
        (["predict", "a.png", "--stepz", "3"], 2, "--steps"),
        (["predict"], 2, "No pictures"),
        (["predict", "nowhere.png"], 3, "nowhere.png"),
        (["train", "--data", "x"], 2, "No task"),
        (["train", "dept", "--data", "scenes:8"], 2, "depth"),
        (["train", "depth"], 2, "--data"),
        (["train", "depth", "--data", "/nowhere"], 3, "/nowhere"),
        (["train", "depth", "--data", "scenes:8", "--recipe", "adap"], 2, "adapt"),
        (["train", "depth", "--data", "scenes:8", "--optim.lr", "fast"], 2, "optim.lr"),
        (["train", "depth", "--data", "scenes:8", "--max-time", "soon"], 2, "10m"),
        (["train", "depth", "--data", "scenes:8", "--config", "none.yaml"], 2, "none.yaml"),
        (["evaluate", "/nowhere", "--protocol", "scenes/val"], 5, "/nowhere"),
        (["evaluate", "embedded", "--protocol", "scenes/tset"], 2, "scenes/test"),
        (["evaluate", "embedded"], 2, "--protocol"),
        (["report", "/nowhere"], 3, "/nowhere"),
        (["data", "validate", "/nowhere"], 3, "/nowhere"),
        (["data", "export", "/nowhere", "-o", "x"], 3, "/nowhere"),
        (["data", "render", "-o", "x", "--res", "huge"], 2, "320x240"),
    ],
)
def test_a_wrong_call_gets_its_code_and_a_remedy(words: list[str], code: int, says: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "denoisight", *words], capture_output=True, text=True, env=environment(), cwd=tmp_path
    )
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_predict_writes_exact_values_and_skips_what_is_done(photos: Path, tmp_path: Path) -> None:
    first = call("predict", photos, "--task", "depth", "--steps", "1", "-o", tmp_path)
    assert first.returncode == 0, first.stderr
    assert Image.open(tmp_path / "wide_depth.png").mode.startswith("I")
    assert np.load(tmp_path / "wide_depth.npy").shape == (48, 80)
    assert Image.open(tmp_path / "tall_depth_colour.png").size == (60, 90)
    stamp = (tmp_path / "wide_depth.npy").stat().st_mtime_ns
    again = call("predict", photos, "--task", "depth", "--steps", "1", "-o", tmp_path, "--json")
    assert json.loads(again.stdout) == {"written": [], "skipped": 2, "failed": {}}
    assert (tmp_path / "wide_depth.npy").stat().st_mtime_ns == stamp


def test_bad_pictures_are_named_and_good_ones_finished(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    shutil.copytree(photos, folder)
    whole = (folder / "tall.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    Image.fromarray(np.full((1, 1), 40000, dtype=np.uint16)).save(folder / "dot.png")
    Image.new("CMYK", (20, 10)).save(folder / "print.jpg")
    Image.new("LA", (10, 20)).save(folder / "glass.png")
    Image.new("L", (20000, 20)).save(folder / "strip.png")
    done = call("predict", folder, "--task", "normals", "--steps", "1", "-o", tmp_path / "out")
    assert done.returncode == 3, done.stderr
    assert "cut.jpg" in done.stderr
    assert "empty.png" in done.stderr
    made = {path.name.removesuffix("_normals_colour.png") for path in (tmp_path / "out").glob("*_colour.png")}
    assert made == {"wide", "tall", "dot", "print", "glass", "strip"}
    assert np.load(tmp_path / "out" / "strip_normals.npz")["normals"].shape == (20, 20000, 3)


def test_a_full_disk_leaves_nothing_half_written(photos: Path, tmp_path: Path) -> None:
    """No file may grow beyond 8 kB: as on a full disk, writing fails in the middle."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192));"
        f"from denoisight.cli import main; main(['predict', {str(photos)!r}, '--steps', '1', '-o', {str(tmp_path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.returncode == 3, done.stderr
    assert "Cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    left = {path.name for path in tmp_path.iterdir()}
    assert not any("tmp" in name or "colour" in name for name in left)


def test_no_permission_to_write(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = call("predict", photos, "--steps", "1", "-o", tmp_path / "file")
    assert done.returncode == 3
    assert "Cannot write" in done.stderr


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    from denoisight.models.embedded import embedded_folder

    shutil.copytree(embedded_folder(), tmp_path / "model")
    weights = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    done = call("predict", "x.png", "--model", tmp_path / "model", "-o", tmp_path / "out")
    assert done.returncode in (3, 5)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    done = call("predict", tmp_path / "x.png", "--model", tmp_path / "model", "-o", tmp_path / "out")
    assert done.returncode == 5, done.stderr
    assert "safetensors" in done.stderr


def test_what_only_creates_is_trained_and_not_judged(tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = config(tmp_path, recipe="embedded-create", data="scenes:8", steps=2, batch=2, validations=1, res=32)
    done = call("train", "--config", small, "-o", run)
    assert done.returncode == 0, done.stderr
    assert "perceives nothing" in done.stderr and "denoisight create" in done.stderr
    assert (run / "model").is_dir() and not (run / "report.html").exists()
    asked = call("report", run)
    assert asked.returncode == 2 and "denoisight judge CREATED --real DIR" in asked.stderr


def test_train_on_ones_own_folder_then_evaluate_and_report(tmp_path: Path) -> None:
    """A folder as a user brings it: images beside labels, class names in classes.json."""
    data = tmp_path / "mine"
    for split, count in (("train", 8), ("val", 3), ("test", 4)):
        done = call("data", "render", "-o", tmp_path / "raw", "--split", split, "--num", count, "--res", "48x32")
        assert done.returncode == 0, done.stderr
        (data / split / "image").mkdir(parents=True)
        (data / split / "label").mkdir()
        for path in sorted((tmp_path / "raw" / split / "rgb").glob("*.png")):
            shutil.copy(path, data / split / "image")
            shutil.copy(tmp_path / "raw" / split / "semantic" / path.name, data / split / "label")
    shutil.copy(tmp_path / "raw" / "train" / "classes.json", data)
    assert call("data", "validate", data).returncode == 0
    run = tmp_path / "run"
    small = config(
        tmp_path, recipe="adapt", data=str(data), model="new", steps=6, validations=1, log_with=["tensorboard"]
    )
    done = call("train", "semantic", "--config", small, "-o", run)
    assert done.returncode == 0, done.stderr
    wanted = {"config.yaml", "env.json", "metrics.jsonl", "model", "report.html", "results.json"}
    assert wanted <= {path.name for path in run.iterdir()}
    assert list(run.rglob("events.out.tfevents*"))
    assert "denoisight predict" in done.stderr
    judged = call("evaluate", run, "--json", "-o", tmp_path / "judged")
    assert judged.returncode == 0, judged.stderr
    rows = json.loads(judged.stdout)["results"]
    assert {row["predictor"] for row in rows} == {
        "adapt",
        "most frequent class",
        "most frequent class per pixel",
    }
    assert all(row["num_images"] == 4 for row in rows)
    page = (run / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    partly = call("evaluate", run, "--limit", "2", "-o", tmp_path / "partly")
    assert partly.returncode == 3
    assert "partial" in partly.stderr


def test_config_show_is_a_config_file(tmp_path: Path) -> None:
    shown = call("config", "show", "depth", "--data", "scenes:8", "--optim.lr", "0.01")
    (tmp_path / "shown.yaml").write_text(shown.stdout)
    again = call("config", "show", "--config", tmp_path / "shown.yaml")
    assert again.stdout == shown.stdout
    assert "lr: 0.01" in shown.stdout


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    done = call(*train_words(tmp_path, optim={"lr": 1e30, "clip": 1e30, "warmup": 0}))
    assert done.returncode == 1, done.stderr
    assert "step" in done.stderr
    assert "scenes/train/" in done.stderr
    assert "Last good checkpoint" in done.stderr


def test_doctor_finds_nothing_wrong() -> None:
    done = call("doctor", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["troubles"] == []
