"""What a run writes, on a disk that is full."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch import nn

from denoisight.errors import DataError
from denoisight.runtime import append_line
from denoisight.train.checkpoint import drop_later, latest, load_checkpoint, prune, save_checkpoint
from denoisight.train.ema import averaged

FullDisk = Callable[[int], AbstractContextManager[None]]
WEIGHTS, STATES = 10_000, 60_000
"""Bytes: less than the weights below, and enough for them but not for what the optimizer knows of each."""


@pytest.mark.parametrize("most", [WEIGHTS, STATES])
def test_the_last_checkpoint_outlives_a_full_disk(tmp_path: Path, full_disk: FullDisk, most: int) -> None:
    module = nn.Linear(100, 100)
    optimizer, average = torch.optim.AdamW(module.parameters()), averaged(module, 0.9)
    module(torch.ones(1, 100)).sum().backward()
    optimizer.step()
    before = save_checkpoint(tmp_path, 1, module, optimizer, average, {})
    with full_disk(most), pytest.raises(DataError, match=r"Cannot write .*step-000002.*[Ff]ile too large.*Free some"):
        save_checkpoint(tmp_path, 2, module, optimizer, average, {})
    assert latest(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == [before.name]
    assert load_checkpoint(before, module, optimizer, average)["step"] == 1


@pytest.mark.filterwarnings("ignore:.*meta parameter")
def test_a_checkpoint_of_another_device_is_brought_here(tmp_path: Path) -> None:
    """Weights that are nowhere stand for a device that this machine lacks."""
    written, read = nn.Linear(3, 3), nn.Linear(3, 3, device="meta")
    optimizers = [torch.optim.AdamW(module.parameters()) for module in (written, read)]
    averages = [averaged(module, 0.9) for module in (written, read)]
    written(torch.ones(1, 3)).sum().backward()
    optimizers[0].step()
    folder = save_checkpoint(tmp_path, 1, written, optimizers[0], averages[0], {})
    load_checkpoint(folder, read, optimizers[1], averages[1])
    states = [state[name] for state in optimizers[1].state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert {tensor.device.type for tensor in (*averages[1].shadow_params, *states)} == {"meta"}
    averages[1].step(read.parameters())


@pytest.mark.parametrize("content", [b"", b"none of ours"])
def test_a_damaged_checkpoint_is_told(tmp_path: Path, content: bytes) -> None:
    module = nn.Linear(2, 2)
    optimizer, average = torch.optim.AdamW(module.parameters()), averaged(module, 0.9)
    folder = save_checkpoint(tmp_path, 1, module, optimizer, average, {})
    (folder / "average.pt").write_bytes(content)
    with pytest.raises(DataError, match="does not fit this run"):
        load_checkpoint(folder, module, optimizer, average)


def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path, full_disk: FullDisk) -> None:
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"step": 1})
    with full_disk(20), pytest.raises(DataError, match=r"Cannot write .*metrics\.jsonl"):
        append_line(path, {"step": 2, "loss": 0.123456})
    assert path.read_text() == '{"step": 1}\n'


def test_checkpoints_are_in_the_order_of_their_steps(tmp_path: Path) -> None:
    """Names grow a digit at a million."""
    steps = (999750, 999999, 1000000, 1000250)
    for step in steps:
        (tmp_path / f"step-{step:06d}").mkdir()
    assert latest(tmp_path) == tmp_path / "step-1000250"
    drop_later(tmp_path / "step-1000000")
    assert latest(tmp_path) == tmp_path / "step-1000000"
    prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-1000000", "step-999999"]
