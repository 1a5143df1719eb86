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


@pytest.mark.long
def test_torchrun_equals_one_process(tmp_path: Path) -> None:
    """Labels are valid everywhere, so the mean over two halves of a batch is the mean over the batch."""
    # In float32 and with AdamW: bfloat16, in passes and in Muon, rounds a batch and its halves differently.
    # Balancing takes the variance of each process's own share.
    exact = {"precision": "fp32", "optim": {"name": "adamw", "warmup": 4}, "teaching": {"balance": False}}
    small = {**RECIPE, "batch": 4, "steps": 6, "validations": 1, **exact}
    words = ["train", "semantic", "--config", str(config(tmp_path, **small)), "--no-report", "-o"]
    alone = call(*words, tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    both = subprocess.run(
        [*launcher, "-m", "denoisight", *words, str(tmp_path / "both")],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=280,
    )
    assert both.returncode == 0, both.stderr
    assert sum("loss" in row for row in log(tmp_path / "both")) == 2, "each step is logged once, by the first process"
    a, b = final(tmp_path / "alone"), final(tmp_path / "both")
    assert a.keys() == b.keys()
    # A bias before a normalisation has no gradient but rounding, which Adam scales up: so all weights together.
    joined, other = (torch.cat([w[name].flatten() for name in sorted(w)]) for w in (a, b))
    assert (joined - other).norm() / joined.norm() < 1e-3
    losses = [[row["loss"] for row in log(tmp_path / run) if "loss" in row] for run in ("alone", "both")]
    assert losses[1] == pytest.approx(losses[0], rel=0.25), "the second is the loss of half a batch"


@pytest.mark.long
def test_a_batch_that_cannot_be_split_is_refused(tmp_path: Path) -> None:
    words = ["train", "semantic", "--config", str(config(tmp_path, batch=3)), "--no-report", "-o", str(tmp_path / "r")]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "denoisight", *words], capture_output=True, text=True, env=environment(), timeout=280
    )
    assert done.returncode != 0
    assert "cannot be split over 2 processes" in done.stderr
