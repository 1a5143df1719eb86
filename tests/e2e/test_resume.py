"""A run that is stopped at any moment and resumed ends with the same bits."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .tiny import call, start, train_words


def weights(run: Path) -> dict[str, torch.Tensor]:
    """The last checkpoint's weights and the best model's."""
    last = max((run / "checkpoints").glob("step-*"))
    model = load_file(run / "model" / "unet" / "diffusion_pytorch_model.safetensors")
    return {**load_file(last / "weights.safetensors"), **{f"best.{k}": v for k, v in model.items()}}


def assert_same_bits(a: Path, b: Path) -> None:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different


def losses(run: Path) -> list[str]:
    """The log without its times."""
    import json

    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [str({k: v for k, v in row.items() if k not in ("elapsed_s", "images_per_s")}) for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    done = call(*train_words(folder))
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_sigterm_saves_and_says_how_to_go_on(whole: Path, tmp_path: Path) -> None:
    """The signal goes to every process of the job, as from a scheduler or a terminal, the one that reads ahead too."""
    words = train_words(tmp_path, workers=1)
    process = start(*words)
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert "--resume" in err
    done = call(*words, "--resume", "latest")
    assert done.returncode == 0, done.stderr
    assert_same_bits(whole, tmp_path / "run")
    assert losses(whole) == losses(tmp_path / "run")


def test_a_used_folder_is_refused(whole: Path) -> None:
    done = call(*train_words(whole.parent))
    assert done.returncode == 2
    assert "--resume" in done.stderr
    assert "--overwrite" in done.stderr


@pytest.mark.long
def test_twenty_random_kills(whole: Path, tmp_path: Path) -> None:
    words = [*train_words(tmp_path), "--resume", "latest"]
    draw = random.Random(0)
    kills = 0
    while kills < 20:
        process = start(*words)
        # Kill some while they start, most while they train, validate or write.
        began = time.monotonic()
        while process.poll() is None and not (tmp_path / "run" / "env.json").exists() and time.monotonic() - began < 60:
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 4) ** 1.5)
        if process.poll() is not None:
            # Finished before the kill: begin again from an earlier checkpoint by starting anew.
            assert process.returncode == 0, process.communicate()[1]
            assert_same_bits(whole, tmp_path / "run")
            process.communicate()
            words = [*train_words(tmp_path), "--overwrite"]
            continue
        process.kill()
        process.communicate()
        kills += 1
        words = [*train_words(tmp_path), "--resume", "latest"]
    done = call(*words)
    assert done.returncode == 0, done.stderr
    assert_same_bits(whole, tmp_path / "run")
    assert losses(whole) == losses(tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.tmp*"))
