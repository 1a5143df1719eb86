"""Where the pictures of a study of self-improvement are from: procedural scenes, or a folder of real photographs."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from studies.scenes import scenes

ROOT = Path("runs/studies/teaching")
SIDE = 64
ALL, MOST_LABELS, VAL = 8192, 400, 128


def photographs(folder: str) -> Path:
    """A set of real photographs."""
    return Path(os.environ.get("DENOISIGHT_SHARED_DATA", "../shared/data")) / folder


class World(Protocol):
    """Folders of labelled, of unlabelled and of test pictures; `adapt` steps of learning to create pictures like them
    come before everything else."""

    adapt: int

    def labelled(self, seed: int, labels: int) -> Path:
        """With the training pictures of a seed, from which `labels` are taken (0: all there are), and val."""
        ...

    def unlabelled(self, seed: int) -> Path: ...

    @property
    def whole(self) -> Path:
        """With all training pictures."""
        ...

    @property
    def tested(self) -> Path: ...

    def prepare(self, seed: int, everything: bool) -> None:
        """Make what is missing of these folders; of `whole` only if `everything` is needed."""
        ...


@dataclass(frozen=True)
class SceneWorld:
    """Training scenes are other ones for each seed, those to validate and to test on are the same."""

    test: int = 512
    adapt: int = 0

    def labelled(self, seed: int, labels: int) -> Path:
        return ROOT / f"labelled-{seed}" if labels else self.whole

    def unlabelled(self, seed: int) -> Path:
        return ROOT / f"unlabelled-{seed}"

    @property
    def whole(self) -> Path:
        return Path("runs/studies") / f"scenes{SIDE}-{ALL}"

    @property
    def tested(self) -> Path:
        return ROOT / f"tested-{self.test}"

    def prepare(self, seed: int, everything: bool) -> None:
        from denoisight.data.render import render_scenes

        size = (SIDE, SIDE)
        render_scenes(self.labelled(seed, 1), "train", MOST_LABELS, size, 1 + 2 * seed)
        # As many as `whole` has, so that the same ones are chosen of both.
        render_scenes(self.labelled(seed, 1), "val", 2 * VAL, size, 0)
        render_scenes(self.unlabelled(seed), "train", 4 * MOST_LABELS, size, 2 + 2 * seed)
        render_scenes(self.tested, "test", self.test, size, 0)
        if everything:
            scenes(ALL, SIDE, val=2 * VAL)


@dataclass(frozen=True)
class PhotoWorld:
    """A folder in DENOISIGHT_SHARED_DATA: `few` of its training photographs, other ones for each seed, are labelled,
    and the others are not."""

    folder: str
    few: int = 100
    adapt: int = 1500

    @property
    def whole(self) -> Path:
        return photographs(self.folder)

    @property
    def tested(self) -> Path:
        return self.whole

    def labelled(self, seed: int, labels: int) -> Path:
        return ROOT / f"{self.folder}-labelled-{seed}" if 0 < labels <= self.few else self.whole

    def unlabelled(self, seed: int) -> Path:
        return ROOT / f"{self.folder}-unlabelled-{seed}"

    def prepare(self, seed: int, everything: bool) -> None:
        from denoisight.data.open import open_data

        keys = list(open_data(str(self.whole), "train").keys)
        random.Random(seed).shuffle(keys)
        for folder, train in ((self.labelled(seed, 1), keys[: self.few]), (self.unlabelled(seed), keys[self.few :])):
            if not folder.exists():
                _linked(self.whole, folder, set(train))


def _linked(whole: Path, folder: Path, train: set[str]) -> None:
    """A folder of links to the files of another, whose train split is a part of the other's.

    Splits are folders, as in CamVid, or lists: then the list of train is written anew.
    """
    from denoisight.data.open import open_data
    from denoisight.runtime import whole_folder

    with whole_folder(folder) as new:
        for path in sorted(path for path in whole.rglob("*") if path.is_file() and path.name != "splits.json"):
            inside = path.relative_to(whole)
            if inside.parts[0] != "train" or path.stem in train:
                (new / inside).parent.mkdir(parents=True, exist_ok=True)
                (new / inside).symlink_to(path.resolve())
        if not (whole / "train").is_dir():
            lists = {split: sorted(open_data(str(whole), split).keys) for split in ("val", "test")}
            (new / "splits.json").write_text(json.dumps({"train": sorted(train), **lists}))
