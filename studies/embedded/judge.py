"""A judge that reads which (colour, kind) pairs of things a picture of a scene shows.

A small convolutional network, trained apart from every model that it judges, on scenes that none of them learns
from: it tells for each cell of 4 x 4 pixels which share of it each pair covers. A pair is read where its share
passes a threshold in some cell; the threshold, fixed on scenes of their own, has the best F1.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from denoisight.data.scenes import VERSION, Scenes
from denoisight.data.scenes.bodies import BODIES
from denoisight.data.scenes.language import describe
from denoisight.data.scenes.materials import COLOURS
from denoisight.data.scenes.render import render
from denoisight.data.scenes.truths import observe
from denoisight.runtime import whole_file, write_json

PAIRS = tuple((colour, kind) for colour in COLOURS for kind in BODIES)
SIDE_PX, CELL_PX = 64, 4
STEPS, BATCH, RATE = 1600, 32, 3e-3
FOR_THRESHOLD = 500
SAVE_EVERY = 200


class Judge(nn.Module):
    """Pictures [b 3 64 64] in [0, 1] -> logits [b 1+63 16 16] over nothing and the pairs."""

    def __init__(self) -> None:
        super().__init__()
        widths = (
            (3, 32, 1, 1),
            (32, 64, 2, 1),
            (64, 64, 1, 1),
            (64, 128, 2, 1),
            *[(128, 128, 1, d) for d in (1, 2, 1)],
        )
        layers = [
            nn.Sequential(nn.Conv2d(i, o, 3, s, d, d, bias=False), nn.BatchNorm2d(o), nn.ReLU())
            for i, o, s, d in widths
        ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(128, 1 + len(PAIRS), 1)
        self.threshold = nn.Parameter(torch.tensor(0.5), requires_grad=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images * 2 - 1))

    @torch.no_grad()
    def look(self, images: Tensor, batch: int = 100) -> tuple[Tensor, Tensor]:
        """The greatest share of each pair in any cell [n 63], and the mean features [n 128]."""
        shares, features = [], []
        for part in images.split(batch):
            found = self.body(part * 2 - 1)
            shares.append(self.head(found).float().softmax(1)[:, 1:].amax((2, 3)))
            features.append(found.float().mean((2, 3)))
        return torch.cat(shares), torch.cat(features)


def stated(caption: str) -> list[int]:
    """The pairs that a caption states, in its order: the largest first."""
    colours, kinds = "|".join(COLOURS), "|".join(BODIES)
    return [PAIRS.index(pair) for pair in re.findall(rf"\b({colours}) ({kinds})(?:s|es)?\b", caption)]


def table(captions: Sequence[str]) -> Tensor:
    """Which pairs each caption states, [n 63]."""
    rows = torch.zeros(len(captions), len(PAIRS), dtype=torch.bool)
    for row, caption in zip(rows, captions, strict=True):
        row[stated(caption)] = True
    return rows


def open_judge(folder: Path) -> tuple[Judge, dict]:
    """The judge kept in `folder`, trained first where there is none; a training that was stopped goes on."""
    weights, about = folder / "judge.safetensors", folder / "judge.json"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = Judge()
    if not about.exists():
        seconds = _train(judge, folder / "part.pt")
        best = _fix_threshold(judge)
        with whole_file(weights) as temporary:
            save_file({k: v.contiguous() for k, v in judge.state_dict().items()}, temporary)
        parameters = sum(p.numel() for p in judge.parameters())
        told = {"scenes": VERSION, "trained_on": STEPS * BATCH, "train_s": round(seconds), "parameters": parameters}
        write_json(about, {**told, "threshold": round(judge.threshold.item(), 3), "f1_at_threshold": round(best, 4)})
        (folder / "part.pt").unlink()
    judge.load_state_dict(load_file(weights))
    return judge.eval(), json.loads(about.read_text())


def _train(judge: Judge, part: Path) -> float:
    """One pass over scenes from the end of the training split, each beside its mirror image."""
    optimizer = torch.optim.AdamW(judge.parameters(), RATE, weight_decay=0.05)
    warm = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
    done, spent, began = 0, 0.0, time.monotonic()
    if part.exists():
        kept = torch.load(part, weights_only=True)
        done, spent = kept["step"], kept["seconds"]
        for thing, name in ((judge, "judge"), (optimizer, "optimizer"), (warm, "warm")):
            thing.load_state_dict(kept[name])
    judge.train()
    scenes = Scenes("train")
    for step in range(done, STEPS):
        first = len(scenes) - (step + 1) * BATCH
        images, shares = _batch(scenes, range(first, first + BATCH))
        with torch.autocast("cpu", torch.bfloat16):
            logits = judge(images)
        loss = F.cross_entropy(logits.float(), shares)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warm.step()
        if (step + 1) % SAVE_EVERY == 0:
            seconds = spent + time.monotonic() - began
            print(f"judge: step {step + 1} of {STEPS}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
            states = {"judge": judge.state_dict(), "optimizer": optimizer.state_dict(), "warm": warm.state_dict()}
            with whole_file(part) as temporary:
                torch.save({"step": step + 1, "seconds": seconds, **states}, temporary)
    return spent + time.monotonic() - began


def _batch(scenes: Scenes, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Pictures and, cell by cell, the share of nothing and of each pair; then all of them mirrored."""
    images, ids = [], []
    for i in indices:
        scene = scenes.scene(i)
        view = render(scene, SIDE_PX, SIDE_PX)
        of_thing = [1 + PAIRS.index((thing.colour, thing.kind)) for thing in scene.things]
        of_surface = np.zeros(int(view.surface.max()) + 1, np.int64)
        of_surface[: len(of_thing)] = of_thing[: len(of_surface)]
        images.append(torch.from_numpy(view.rgb))
        ids.append(torch.from_numpy(of_surface[view.surface]))
    cells = F.pixel_unshuffle(torch.stack(ids)[:, None].float(), CELL_PX).long()
    shares = torch.zeros(len(ids), 1 + len(PAIRS), *cells.shape[2:])
    shares.scatter_add_(1, cells, torch.full(cells.shape, 1 / CELL_PX**2))
    both = [torch.cat([t, t.flip(-1)]) for t in (torch.stack(images), shares)]
    return both[0].contiguous(memory_format=torch.channels_last), both[1]


def captioned(split: str, indices: Sequence[int]) -> tuple[Tensor, list[str]]:
    """Pictures [n 3 64 64] of scenes, with their captions."""
    return _stack(_views(Scenes(split), indices))


def _views(scenes: Scenes, indices: Sequence[int]) -> Iterator[tuple[Tensor, str]]:
    for i in indices:
        scene = scenes.scene(i)
        view = render(scene, SIDE_PX, SIDE_PX)
        yield torch.from_numpy(view.rgb), describe(scene, observe(scene, view))


def _stack(views: Iterator[tuple[Tensor, str]]) -> tuple[Tensor, list[str]]:
    images, captions = zip(*views, strict=True)
    return torch.stack(images), list(captions)


def _fix_threshold(judge: Judge) -> float:
    first = len(Scenes("train")) - STEPS * BATCH - FOR_THRESHOLD
    images, captions = captioned("train", range(first, first + FOR_THRESHOLD))
    shares, truth = judge.eval().look(images)[0], table(captions)
    scores = {}
    for threshold in torch.arange(0.05, 0.95, 0.025).tolist():
        read = shares > threshold
        scores[threshold] = (2 * (read & truth).sum() / (read.sum() + truth.sum())).item()
    best = max(scores, key=lambda threshold: scores[threshold])
    judge.threshold.fill_(best)
    return scores[best]
