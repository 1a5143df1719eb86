"""A training run on disk: metrics, checkpoints, the best model so far, and leaving in good order."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import nn
from torch.optim import Optimizer
from tqdm.auto import tqdm

from ..annotations import Batch
from ..errors import DenoisightError
from ..runtime import append_line, mend, write_text
from .checkpoint import drop_later, latest, load_checkpoint, prune, save_checkpoint
from .ema import set_decay, swapped_in, trained
from .loop import NotFinite, Record, fit, warmup_cosine

log = logging.getLogger(__name__)

PACED = 21
"""Steps whose middle duration is the pace: one of them may have waited for a validation."""


class Interrupted(DenoisightError):
    """The run was asked to stop, and did so after saving; it ends as shells expect of the signal."""

    def __init__(self, number: int, step: int, remedy: str) -> None:
        self.exit_code, self.number, self.step = 128 + number, number, step
        super().__init__(f"Stopped at step {step} with everything saved; {remedy}")

    def told(self, remedy: str) -> Interrupted:
        """The same to those who go on otherwise."""
        return Interrupted(self.number, self.step, remedy)


@dataclass
class Run:
    """How long a run goes on, what it writes and when. `folder` holds metrics.jsonl and checkpoints/."""

    folder: Path
    steps: int
    seed: int
    lr: float
    warmup: int
    clip: float = 1.0
    accumulate: int = 1
    max_time: float | None = None
    validations: int = 5
    checkpoint_every: int = 250
    log_every: int = 20
    quiet: bool = False
    on_log: Callable[[dict[str, Any]], None] = lambda record: None
    both: bool = False
    """Score the raw weights beside the averaged ones."""
    decay: Callable[[float], float] | None = None
    """The average's decay a step in a run of so many steps; None leaves it as it is."""
    state: dict[str, Any] = field(default_factory=lambda: {"step": 0, "elapsed": 0.0, "validated": 0, "best": None})

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def resume(self, module: nn.Module, optimizer: Optimizer, average: EMAModel, source: Path | None = None) -> None:
        """Go on from a checkpoint (the last one by default); without one the run starts at its beginning.

        Where it is one of this run's, those after it go: what they hold will be made anew. Where validations go with
        them, what was kept may be of one that never comes again, so that what is there now is the first state to beat.
        """
        mend(self.folder)
        source, back = source or latest(self.checkpoints), False
        if source is not None:
            self.state = load_checkpoint(source, module, optimizer, average)
            if source.resolve().parent == self.checkpoints.resolve():
                back = drop_later(source.resolve())
        if self._forget_after(self.state["step"] if source else -1) and back:
            self.state["best"] = None

    def progress(self, step: int) -> float:
        """The share of the run that is done, by steps or by time, whichever is further."""
        by_time = self._elapsed / self.max_time if self.max_time else 0.0
        return max(step / self.steps, by_time)

    def expected(self, step: int) -> float:
        """How many steps the run will take in all, at the pace of the last ones."""
        if not self.max_time or not self._paces:
            return self.steps
        return min(self.steps, step + (self.max_time - self._elapsed) / max(median(self._paces), 1e-9))

    def move_average(self, average: EMAModel, module: nn.Module, step: int) -> None:
        """At a rate for as many steps as the run will take, where that matters."""
        if self.decay:
            set_decay(average, self.decay(self.expected(step)))
        average.step(trained(module))

    def train(
        self,
        objective: nn.Module,
        optimizer: Optimizer,
        average: EMAModel,
        accelerator: Accelerator,
        batches: Callable[[int], Generator[Batch, None, None]],
        validate: Callable[[], dict[str, float]],
        keep: Callable[[dict[str, float], int], None],
    ) -> None:
        """Train to the end. `batches(start)` gives the micro-batches from step `start` on.

        `validate()` scores the averaged weights, before the first step too; where its "badness" is the lowest so
        far, `keep(scores, step)` saves them. Raises `Interrupted` after SIGTERM or SIGINT, also where one came during
        the last validation, and `DenoisightError` for a loss that is no number. A run that has ended stays as it is.
        """
        self._began, self._elapsed = time.monotonic(), self.state["elapsed"]
        self._paces: deque[float] = deque(maxlen=PACED)
        module = accelerator.unwrap_model(objective)
        main = accelerator.is_main_process
        start = self.state["step"]
        # By time it has ended only if it was validated then: the time that is allowed may be another now.
        if start >= self.steps or (self.progress(start) >= 1 and self.state["validated"] >= self.validations):
            return
        bar = tqdm(
            total=self.steps,
            initial=start,
            disable=self.quiet or not main or not sys.stderr.isatty(),
            unit="step",
        )
        stream = batches(start)
        records = fit(
            objective,
            stream,
            optimizer,
            accelerator,
            seed=self.seed,
            start=start,
            lr=warmup_cosine(self.lr, self.warmup, self.progress),
            clip=self.clip,
            accumulate=self.accumulate,
            after=lambda step: self.move_average(average, module, step),
            check_every=self.log_every,
        )
        # Closed whatever happens: its reading processes heed no signal, so one left behind would keep a process that
        # wants to end waiting for ever.
        with signals() as caught, bar, closing(stream):
            if self.state["best"] is None and main:
                # What it started from is the first state to beat.
                self._validate(start, module, average, validate, keep)
            try:
                for record in records:
                    stop = self._agree(accelerator, caught)
                    over = self.progress(record.step) >= 1
                    due = int(self.progress(record.step) * self.validations) > self.state["validated"]
                    saved = over or stop or due or record.step % self.checkpoint_every == 0
                    if saved:
                        # What is no number shall be neither validated nor saved.
                        record.check()
                    if main:
                        self._note(record, bar, over)
                        if due or over:
                            self._validate(record.step, module, average, validate, keep)
                        if saved:
                            self._save(record.step, module, optimizer, average)
                    elif due:
                        self.state["validated"] += 1
                    if over:
                        # A signal that came during the last validation is for those who would go on from here.
                        stop = self._agree(accelerator, caught)
                    if stop:
                        raise Interrupted(stop, record.step, f"go on with: --resume -o {self.folder}")
                    if over:
                        break
            except NotFinite as error:
                good = latest(self.checkpoints)
                raise DenoisightError(
                    f"{error} Last good checkpoint: {good or 'none yet'}. Lower --optim.lr or look at these items."
                ) from error

    def _agree(self, accelerator: Accelerator, caught: list[int]) -> int:
        """The signal to stop for, or 0, and the time that counts: all processes must see the same."""
        elapsed = self.state["elapsed"] + time.monotonic() - self._began
        signal_number = caught[0] if caught else 0
        if accelerator.num_processes > 1:
            seen = torch.tensor([elapsed, float(signal_number)], dtype=torch.float64, device=accelerator.device)
            elapsed, signal_number = accelerator.gather(seen).reshape(-1, 2).amax(0).tolist()
        self._paces.append(elapsed - self._elapsed)
        self._elapsed = elapsed
        return int(signal_number)

    def _note(self, record: Record, bar: tqdm, over: bool) -> None:
        bar.update(1)
        if record.step % self.log_every and not over:
            return
        speed = record.images * (record.step - self.state["step"]) / max(time.monotonic() - self._began, 1e-9)
        losses = {name: float(value) for name, value in record.losses.items()}
        numbers = {
            "step": record.step,
            **losses,
            "lr": record.lr,
            "gradient_norm": float(record.gradient_norm),
        }
        numbers |= {"images_per_s": round(speed, 2), "elapsed_s": round(self._elapsed, 1)}
        self._write(numbers)
        left = max(0.0, self._elapsed * (1 / max(self.progress(record.step), 1e-9) - 1))  # time may be over
        text = f"loss {losses['loss']:.4f} {speed:.1f} img/s ETA {int(left) // 60}:{int(left) % 60:02d}"
        if bar.disable and not self.quiet:
            log.info("step %d/%d %s", record.step, self.steps, text)
        bar.set_postfix_str(text)

    def _validate(
        self,
        step: int,
        module: nn.Module,
        average: EMAModel,
        validate: Callable[[], dict[str, float]],
        keep: Callable[[dict[str, float], int], None],
    ) -> None:
        with swapped_in(average, module):
            scores = validate()
            self.state["validated"] = int(self.progress(step) * self.validations)
            best = self.state["best"]
            if best is None or scores["badness"] < best["badness"]:
                keep(scores, step)
                self.state["best"] = {**scores, "step": step}
        lines = {f"val/{name}": value for name, value in scores.items()}
        if self.both:
            module.eval()
            lines |= {f"raw/{name}": value for name, value in validate().items()}
            module.train()
        self._write({"step": step, **lines})
        shown = " ".join(f"{name} {value:.4f}" for name, value in scores.items() if name != "badness")
        log.info("step %d validation %s", step, shown)

    def _save(self, step: int, module: nn.Module, optimizer: Optimizer, average: EMAModel) -> None:
        state = {**self.state, "step": step, "elapsed": self._elapsed}
        save_checkpoint(self.checkpoints, step, module, optimizer, average, state)
        prune(self.checkpoints)

    def _write(self, numbers: dict[str, Any]) -> None:
        append_line(self.folder / "metrics.jsonl", numbers)
        self.on_log(numbers)

    def _forget_after(self, step: int) -> bool:
        """Lines of steps that will be made again, and a last line that was cut off, go; whether validations do."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return False
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        write_text(path, "".join(line + "\n" for line in kept))
        return any('"val/badness"' in line for line in lines if step < _step_of(line) < inf)


@contextmanager
def signals() -> Iterator[list[int]]:
    """A list that SIGTERM and SIGINT enter instead of ending the process; a second one ends it as usual."""
    caught: list[int] = []

    def enter(number: int, frame: object) -> None:
        caught.append(number)
        signal.signal(number, before[number])

    before: dict[int, Any] = {number: signal.signal(number, enter) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")
