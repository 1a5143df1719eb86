"""Two processes train as one, and end with the weights that one ends with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .tiny import RECIPE, call, config, environment


def final(run: Path) -> dict[str, torch.Tensor]:
    return load_file(max((run / "checkpoints").glob("step-*")) / "weights.safetensors")


def log(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# In float32 and with AdamW, by which a batch and its halves differ least.
# Balancing takes the variance of each process's own share.
EXACT = {"precision": "fp32", "optim": {"name": "adamw", "warmup": 4}, "teaching": {"balance": False}}


def by_two(*words: object) -> subprocess.CompletedProcess:
    called = [*LAUNCHER, "-m", "denoisight", *map(str, words)]
    return subprocess.run(called, capture_output=True, text=True, env=environment(), timeout=280)


def check_equal(alone: Path, both: Path) -> None:
    """A bias before a normalisation has no gradient but rounding, which Adam scales up: so all weights together."""
    a, b = final(alone), final(both)
    assert a.keys() == b.keys()
    joined, other = (torch.cat([w[name].flatten() for name in sorted(w)]) for w in (a, b))
    assert (joined - other).norm() / joined.norm() < 1e-3


@pytest.mark.long
def test_torchrun_equals_one_process(tmp_path: Path) -> None:
    """Labels are valid everywhere, so the mean over two halves of a batch is the mean over the batch."""
    small = {**RECIPE, "batch": 4, "steps": 6, "validations": 1, **EXACT}
    words = ["train", "semantic", "--config", str(config(tmp_path, **small)), "--no-report", "-o"]
    alone = call(*words, tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    both = by_two(*words, tmp_path / "both")
    assert both.returncode == 0, both.stderr
    assert sum("loss" in row for row in log(tmp_path / "both")) == 2, "each step is logged once, by the first process"
    check_equal(tmp_path / "alone", tmp_path / "both")
    losses = [[row["loss"] for row in log(tmp_path / run) if "loss" in row] for run in ("alone", "both")]
    assert losses[1] == pytest.approx(losses[0], rel=0.25), "the second is the loss of half a batch"


@pytest.mark.long
def test_two_processes_teach_themselves_as_one(tmp_path: Path) -> None:
    """Each has an average of its own, which answers for its own share of the pictures; all averages stay equal."""
    own = {**RECIPE, "batch": 4, "steps": 6, "validations": 1, "precision": "fp32"}
    own |= {"augment": {"crop": 1.0, "colour": 0.0}, "optim": {"name": "adamw", "warmup": 2}}
    words = ["normals", "--config", config(tmp_path, **own), "--no-report", "--recipe"]
    warm = call("train", *words, "warm-up", "-o", tmp_path / "warm")
    assert warm.returncode == 0, warm.stderr
    config(tmp_path, **{**own, "model": str(tmp_path / "warm"), "network": {}, "seed": 1})
    again = ["train", *words, "self-improve", "--self-teaching.pictures", "scenes:12", "--optim.ema", 0.5]
    alone, both = call(*again, "-o", tmp_path / "alone"), by_two(*again, "-o", tmp_path / "both")
    assert alone.returncode == 0, alone.stderr
    assert both.returncode == 0, both.stderr
    check_equal(tmp_path / "alone", tmp_path / "both")


@pytest.mark.long
def test_a_batch_that_cannot_be_split_is_refused(tmp_path: Path) -> None:
    words = ["train", "semantic", "--config", str(config(tmp_path, batch=3)), "--no-report", "-o", str(tmp_path / "r")]
    done = by_two(*words)
    assert done.returncode != 0
    assert "cannot be split over 2 processes" in done.stderr
