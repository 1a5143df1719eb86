"""All that a run needs to go on as if it had never stopped, in one folder that is whole or absent."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from ..errors import DataError
from ..runtime import whole_folder


def save_checkpoint(
    runs: Path, step: int, module: nn.Module, optimizer: Optimizer, average: EMAModel, state: dict[str, Any]
) -> Path:
    """Write `step-000123`; `state` is whatever JSON the run wants back. Raises `DataError` where the disk is full."""
    folder = runs / f"step-{step:06d}"
    with whole_folder(folder) as new:
        save_file({k: v.contiguous() for k, v in module.state_dict().items()}, new / "weights.safetensors")
        _save(optimizer.state_dict(), new / "optimizer.pt")
        _save(average.state_dict(), new / "average.pt")
        (new / "state.json").write_text(json.dumps({"step": step, **state}))
    return folder


def _save(value: Any, path: Path) -> None:
    """Where it cannot be written torch speaks of its file format; here comes the system's own word."""
    with path.open("wb") as file:
        try:
            torch.save(value, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_checkpoint(folder: Path, module: nn.Module, optimizer: Optimizer, average: EMAModel) -> dict[str, Any]:
    """Fill module, optimizer and average in place; returns the state. Raises `DataError` for a damaged folder."""
    try:
        state = json.loads((folder / "state.json").read_text())
        module.load_state_dict(load_file(folder / "weights.safetensors"))
        # It puts what it loads beside its weights, wherever that was before; an average does not.
        optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True))
        here = average.shadow_params[0].device if average.shadow_params else "cpu"
        average.load_state_dict(torch.load(folder / "average.pt", map_location=here, weights_only=True))
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"Checkpoint {folder} does not fit this run ({first}); resume from another.") from error
    return state


def latest(runs: Path) -> Path | None:
    """The checkpoint with the most steps, or None."""
    return max(_steps(runs), default=(0, None))[1]


def drop_later(checkpoint: Path) -> bool:
    """Delete the checkpoints beside this one that have more steps; whether there are any."""
    steps = [path for _, path in _steps(checkpoint.parent)]
    later = steps[steps.index(checkpoint) + 1 :] if checkpoint in steps else []
    for other in later:
        # Another process of the run may do the same.
        shutil.rmtree(other, ignore_errors=True)
    return bool(later)


def prune(runs: Path, keep: int = 2) -> None:
    """Delete all but the last `keep` checkpoints."""
    for _, old in _steps(runs)[:-keep]:
        shutil.rmtree(old)


def _steps(runs: Path) -> list[tuple[int, Path]]:
    """The checkpoints in the order of their steps, whose names grow a digit at a million."""
    told = ((path.name.removeprefix("step-"), path) for path in runs.glob("step-*"))
    return sorted((int(digits), path) for digits, path in told if digits.isdecimal())
