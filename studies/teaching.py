"""What the studies of self-improvement share: few labels, a warm-up, pictures beside, arms that go on from the warm-up.

Every (arm, seed) starts at the warm-up of its own tasks, labels and seed, takes the same number of gradient steps, is
chosen by the same validation scenes and scored on the same test scenes. Labelled scenes, unlabelled ones, created
pictures, initial heads and the order of batches all change with the seed. Warm-ups and pictures lie in
runs/studies/teaching and serve all studies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from studies import pool
from studies.worlds import ROOT, VAL, SceneWorld, World

ON_POLICY = {"kinds": "on-policy", "schedule": "constant"}
DENOISE = {
    "recipe": "warm-up by denoising",
    "optim": {"name": "muon", "lr": 2e-3},
    "augment": {"colour": 0.0, "crop": 1.0},
}
MACHINE = {"threads": 1, "workers": 0, "validation_images": VAL, "validations": 6, "precision": "fp32"}
STEPS, BATCH = (800, 400), 16
MEMBERS = 4
"""Warm-ups that label together; they differ in the seed of heads and batches, and not in their labels."""
BASE = "labels alone"
"""How the name of an arm ends that has nothing beside its labels."""
JUDGE, JUDGED = "embedded", 128
"""Says how well labels fit to pictures: it learnt from scenes that are nobody else's, and from their truths. It is
asked about so many of an arm's pictures."""
JUDGES = ("normals", "semantic", "saliency")
"""What it is asked for: answers that need no gauge."""


@dataclass(frozen=True, eq=False)
class Arm:
    """What comes after the warm-up of `tasks` on `labels` scenes.

    labels: 0 is all of them. pictures: beside the labelled ones, `count` of them: "created" and "unlabelled" ones are
    answered for by the average as it learns, "annotated" are created ones with the labels that the warm-up gave them,
    or with those of another by denoising, of both, of `MEMBERS` warm-ups on the same labels, or of one that learnt from
    all labels (`labelled_by`). variation: how they are created; filters: which of them are kept. rounds: the steps are
    divided among so many turns of creating and learning. warm: changes to the recipes of both trainings; changes: to
    that of the second.
    """

    name: str
    tasks: tuple[str, ...] = ("normals",)
    labels: int = 100
    pictures: Literal["", "created", "annotated", "unlabelled"] = ""
    labelled_by: Literal["readout", "denoise", "both", "several", "all labels"] = "readout"
    count: int = 400
    variation: Mapping[str, Any] = field(default_factory=dict)
    filters: Mapping[str, float | bool] = field(default_factory=dict)
    rounds: int = 1
    warm: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> tuple[str, int, str]:
        """Arms of one group have the same warm-up, and are held against each other."""
        return "+".join(self.tasks), self.labels, hash_of(self.warm)

    @property
    def key(self) -> tuple[str, str, int]:
        return self.name, "+".join(self.tasks), self.labels

    @property
    def done_as(self) -> str:
        """What an arm of another study is known by that does the same under another name."""
        return hash_of({name: value for name, value in vars(self).items() if name != "name"})


@dataclass(frozen=True)
class Study:
    """Arms of one recipe, of which those named `BASE` are what the others of their group are held against.

    steps: of the warm-up, and of what comes after. creator: what the trainings begin at and pictures are created by,
    varied as `variation` says where an arm says nothing else. recipe: changes to the recipes of all trainings.
    captions: what pictures are said to show. world: where labelled, unlabelled and test pictures are from. judged:
    whether the created pictures are, by `studies.creating`.
    """

    folder: Path
    arms: tuple[Arm, ...]
    steps: tuple[int, int] = STEPS
    seeds: tuple[int, ...] = (0, 1, 2)
    creator: str = "embedded-create"
    variation: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    world: World = SceneWorld()
    captions: str = "text"
    judged: bool = False

    @property
    def results(self) -> Path:
        return self.folder / "results.jsonl"

    @property
    def settings(self) -> str:
        """A hash of what all runs have in common; results of other settings, or another creator, do not count."""
        from denoisight.recipes.improving import self_improve, warm_up

        creator, usual = weights_of(self.creator), [begin((), "").model_dump() for begin in (warm_up, self_improve)]
        return hash_of(self.steps, creator, self.variation, self.recipe, repr(self.world), self.captions, usual)

    def rows(self) -> list[dict[str, Any]]:
        known = {arm.key for arm in self.arms}
        rows = pool.rows(self.results)
        return [row for row in rows if tuple(row["key"]) in known and row["settings"] == self.settings]


@dataclass(frozen=True)
class Cell:
    """An arm with its seed: its recipes, and where what it needs lies."""

    study: Study
    arm: Arm
    seed: int

    @property
    def labelled(self) -> Path:
        return self.study.world.labelled(self.seed, self.arm.labels)

    @property
    def creating_recipe(self) -> Any:
        """Of learning to create pictures like the world's, without a truth."""
        from denoisight.recipes.base import override
        from denoisight.recipes.improving import adapt_creation, warm_up

        warm = override(warm_up((), str(self.study.world.whole)), {"model": self.study.creator, **self.study.recipe})
        own = {"steps": self.study.world.adapt, "max_time": "", "labels": 0, **MACHINE}
        return override(adapt_creation(warm, ""), own)

    @property
    def creator(self) -> str:
        """What the warm-up begins at."""
        if not self.study.world.adapt:
            return self.study.creator
        return str(ROOT / "creators" / self._hash(self.creating_recipe) / "run")

    @property
    def warm_recipe(self) -> Any:
        from denoisight.recipes.improving import warm_up

        return self._recipe(warm_up, {"model": self.creator, "steps": self.study.steps[0]})

    @property
    def warm(self) -> Path:
        """Where the warm-up's run lies."""
        return ROOT / "warm" / self._hash(self.warm_recipe) / "run"

    @property
    def denoising_recipe(self) -> Any:
        """A warm-up of the other route, on the same labels and as many pictures in a batch."""
        from denoisight.recipes.base import Recipe

        own = {"model": self.creator, "steps": self.study.steps[0], "batch": BATCH, "gt_augment": ON_POLICY}
        return self._recipe(lambda tasks, data: Recipe(tasks=tasks, data=data, **DENOISE), own)

    @property
    def denoising(self) -> Path:
        return ROOT / "warm" / self._hash(self.denoising_recipe) / "run"

    def recipe(self, model: Path, turn: int) -> Any:
        """Of what comes after the warm-up, in a turn of it."""
        from denoisight.recipes.improving import self_improve

        steps = self.study.steps[1] // self.arm.rounds
        own: dict[str, Any] = {"model": str(model), "steps": steps, "seed": self.seed + 1000 * (turn + 1)}
        if not self.arm.pictures:
            # As fast as the average that teaches: half of it is kept over a twentieth of the run.
            own["optim"] = {"ema": 0.5 ** (20 / steps)}
        return self._recipe(self_improve, own, {"self_teaching": self._beside(turn)}, self.arm.changes)

    def _recipe(self, begin: Any, own: Mapping[str, Any], *changes: Mapping[str, Any]) -> Any:
        from denoisight.recipes.base import override

        recipe = begin(self.arm.tasks, str(self.labelled))
        own = {"labels": self.arm.labels, "seed": self.seed, **MACHINE, **own}
        for more in (own, self.study.recipe, self.arm.warm, *changes):
            recipe = override(recipe, dict(more))
        return recipe

    def _hash(self, recipe: Any) -> str:
        """Of a training that begins at the creator, whose weights its name does not tell."""
        return hash_of(recipe.model_dump(), weights_of(self.study.creator))

    def _beside(self, turn: int) -> dict[str, Any]:
        folders = {"created": self.created(turn), "annotated": self.annotated(turn)}
        folders["unlabelled"] = self.study.world.unlabelled(self.seed)
        if not self.arm.pictures:
            return {}
        labels = "own" if self.arm.pictures == "annotated" else "average"
        return {"pictures": str(folders[self.arm.pictures]), "count": self.arm.count, "labels": labels}

    @property
    def maker(self) -> Cell:
        """Whose warm-up creates the pictures: of one task on a frozen network, so that they are the creator's own."""
        return replace(self, arm=Arm("maker", self.study.arms[0].tasks[:1], self.arm.labels))

    def variation(self, turn: int) -> dict[str, Any]:
        """How pictures are created; by DDIM, whatever is usual elsewhere by now, as the first results were."""
        per_image = -(-self.arm.count // max(self.arm.labels, 1))
        return {"per_image": per_image, "seed": turn, "sampler": "ddim", **self.study.variation, **self.arm.variation}

    def created(self, turn: int) -> Path:
        """Where the shards of a turn lie."""
        return (
            ROOT
            / "created"
            / hash_of(str(self.maker.warm), self.variation(turn), self.arm.filters, self.study.captions)
            / "pairs"
        )

    def annotated(self, turn: int) -> Path:
        """Where these pictures lie with the labels of the arm's own warm-up."""
        by = [str(folder) for _, folder in self.labellers]
        return ROOT / "annotated" / hash_of(str(self.created(turn)), by, self.arm.labelled_by) / "pairs"

    @property
    def judged(self) -> Path:
        """Where some of the first turn's pictures lie with what a judge sees in them."""
        return ROOT / "judged" / hash_of(str(self.created(0)), weights_of(JUDGE), JUDGED) / "pairs"

    @property
    def informed(self) -> Cell:
        """The same with all labels."""
        return replace(self, arm=replace(self.arm, labels=0))

    @property
    def members(self) -> tuple[Cell, ...]:
        """Whose warm-ups label together: the arm's own and others like it."""
        others = (replace(self.arm, warm={**self.arm.warm, "seed": self.seed + 100 * k}) for k in range(1, MEMBERS))
        return self, *(replace(self, arm=arm) for arm in others)

    @property
    def labellers(self) -> tuple[tuple[str, Path], ...]:
        """Who labels created pictures once and for all: routes, and models to ask by them."""
        by_heads, by_denoising = ("readout", self.warm), ("denoise", self.denoising)
        match self.arm.labelled_by:
            case "readout":
                return (by_heads,)
            case "denoise":
                return (by_denoising,)
            case "both":
                return by_heads, by_denoising
            case "several":
                return tuple(("readout", member.warm) for member in self.members)
            case "all labels":
                return (("readout", self.informed.warm),)


@cache
def weights_of(creator: str) -> str:
    from denoisight.predict.load import load

    return load(creator, "cpu").weights_hash


def hash_of(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=dict).encode()).hexdigest()[:16]
