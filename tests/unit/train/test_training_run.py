"""What a run keeps, and how it ends, where things go wrong."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from small_objective import Line

from denoisight.annotations import Batch
from denoisight.errors import DenoisightError
from denoisight.train.ema import averaged
from denoisight.train.run import Interrupted, Run


class Trial:
    """A run of some steps in `folder`, of which one may have no number."""

    def __init__(self, folder: Path, steps: int, bad: int = 0, **more: object) -> None:
        folder.mkdir(exist_ok=True)
        self.run = Run(folder, steps, 0, 0.1, 0, validations=1, checkpoint_every=2, quiet=True, **more)
        self.bad = bad
        self.module = Line()
        self.optimizer = torch.optim.SGD(self.module.parameters(), 0.1)
        self.average = averaged(self.module, 0.9)
        self.validated = 0

    def train(
        self, validate: Callable[[], object] = lambda: None, keep: Callable[..., object] = lambda *best: None
    ) -> None:
        accelerator = Accelerator(cpu=True)
        wrapped, optimizer = accelerator.prepare(self.module, self.optimizer)

        def scores() -> dict[str, float]:
            self.validated += 1
            validate()
            return {"badness": 1.0}

        self.run.train(wrapped, optimizer, self.average, accelerator, self._batches, scores, keep)

    def resume(self, source: Path | None = None) -> None:
        self.run.resume(self.module, self.optimizer, self.average, source)

    @property
    def saved(self) -> list[int]:
        return sorted(int(path.name.removeprefix("step-")) for path in self.run.checkpoints.iterdir())

    def _batches(self, start: int) -> Iterator[Batch]:
        for step in range(start + 1, self.run.steps + 1):
            value = float("nan") if step == self.bad else 0.5
            yield Batch(torch.full((1, 3, 4, 4), value), ("",), (f"item {step}",), {})


def test_a_checkpoint_is_saved_only_where_all_losses_were_numbers(tmp_path: Path) -> None:
    """Of those that were not looked at yet, too: here they are looked at every twenty steps."""
    trial = Trial(tmp_path, steps=30, bad=5)
    with pytest.raises(DenoisightError, match=r"at step 5, on the items item 5\. Last good checkpoint: .*step-000004"):
        trial.train()
    assert trial.saved == [2, 4]


def test_a_loss_that_is_no_number_near_the_end_fails_the_run(tmp_path: Path) -> None:
    trial = Trial(tmp_path, steps=7, bad=7)
    with pytest.raises(DenoisightError, match="at step 7"):
        trial.train()
    assert trial.saved == [4, 6] and trial.validated == 1, "not again in the end"


def test_who_goes_back_leaves_the_later_checkpoints_behind(tmp_path: Path) -> None:
    Trial(tmp_path / "run", steps=6).train()
    Trial(tmp_path / "other", steps=8).train()
    elsewhere, again = Trial(tmp_path / "run", steps=8), Trial(tmp_path / "run", steps=8)
    elsewhere.resume(tmp_path / "other" / "checkpoints" / "step-000006")
    assert elsewhere.saved == [4, 6]
    damaged = tmp_path / "run" / "checkpoints" / "step-000003"
    damaged.mkdir()
    with pytest.raises(DenoisightError, match="step-000003"):
        again.resume(damaged)
    assert again.saved == [3, 4, 6]
    again.resume(tmp_path / "run" / "checkpoints" / "step-000004")
    assert again.run.state["step"] == 4 and again.saved == [3, 4]


def test_a_signal_during_the_last_validation_is_heard_when_all_is_saved(tmp_path: Path) -> None:
    trial = Trial(tmp_path, steps=3)

    def stop_at_the_end() -> None:
        if trial.validated == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="Stopped at step 3 with everything saved") as caught:
        trial.train(stop_at_the_end)
    assert caught.value.exit_code == 143 and trial.saved == [2, 3]
    again = Trial(tmp_path, steps=3)
    again.resume()
    again.train()
    assert again.run.state["best"] and again.validated == 0


def test_a_run_that_time_ended_stays_as_it_is(tmp_path: Path) -> None:
    Trial(tmp_path, steps=1000, max_time=1e-6).train()
    again, longer = (Trial(tmp_path, steps=3, max_time=time) for time in (1e-6, 3600.0))
    again.resume()
    again.train()
    assert again.saved == [1] and again.validated == 0
    longer.resume()
    longer.train()
    assert longer.saved == [2, 3] and longer.validated == 1


def test_who_goes_back_behind_a_validation_has_a_first_state_to_beat_anew(tmp_path: Path) -> None:
    """What was kept may be of steps that are forgotten."""
    Trial(tmp_path, steps=6).train()
    again, same = Trial(tmp_path, steps=6), Trial(tmp_path, steps=6)
    same.resume()
    assert same.run.state["best"]["step"] == 0, "nothing was better"
    again.resume(again.run.checkpoints / "step-000004")
    assert again.run.state["best"] is None
    kept: list[int] = []
    again.train(keep=lambda scores, step: kept.append(step))
    assert kept == [4] and again.run.state["best"]["step"] == 4
