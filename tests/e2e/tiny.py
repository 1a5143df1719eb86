"""A training run that is whole but tiny, and the command line as a subprocess."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

RECIPE = {
    "recipe": "embedded",
    "model": "new",
    "data": "scenes:48",
    "network": {"widths": [16, 32], "text_width": 16, "text_layers": 1},
    "batch": 2,
    "steps": 24,
    "max_time": "",
    "res": 32,
    "optim": {"warmup": 4},
    "augment": {"flip": 0.5, "crop": 0.8, "colour": 0.2},
    "predict_steps": 1,
    "validations": 3,
    "validation_images": 2,
    "checkpoint_every": 4,
    "workers": 0,
    "log_every": 4,
    "threads": 1,
}


def config(folder: Path, **changes: object) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return path


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **more}


def start(*words: object, **more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "denoisight", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
        start_new_session=True,
    )


def call(*words: object, **more: str) -> subprocess.CompletedProcess:
    process = start(*words, **more)
    out, err = process.communicate(timeout=280)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def train_words(folder: Path, **changes: object) -> list[object]:
    return [
        "train",
        "depth,semantic",
        "--config",
        config(folder, **changes),
        "--no-report",
        "-o",
        folder / "run",
    ]
