"""The ways in which a model that teaches itself goes wrong, read from what its run wrote down, and what helps."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .validate import CHOOSE_BY

LOSS = 0.01
"""A score that changes by less, in shares of what it was, has not changed."""

NOTHING = 1e-3
"""Shares of a smaller score say nothing."""

APART = 0.10
"""So far may the raw weights' score be from the averaged ones', in shares of the latter, before it is said."""

STRANGE = 0.5
"""Pictures of which surely fewer lie among the real ones that they are made of are not of their kind."""

OPPOSED = -0.1
"""Gradients with a cosine below this pull the shared weights apart."""


class Beside(NamedTuple):
    """A task's deciding score beside another one, and by how much it is better, in shares of the other."""

    score: float
    other: float
    better: float

    @classmethod
    def of(cls, task: str, score: float, other: float) -> Beside:
        return cls(score, other, -CHOOSE_BY[task][1] * (score - other) / max(abs(other), NOTHING))

    def __str__(self) -> str:
        if abs(self.other) < NOTHING:
            return f"by {abs(self.score - self.other):.3g} ({self.score:.3g} beside {self.other:.3g})"
        return f"by {abs(self.better):.1%}"


class Signature(NamedTuple):
    """What was seen, and what helps against it."""

    seen: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.seen} {self.remedy}"


def validations(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl that hold scores."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "val/badness" in row]


def signatures(rows: Sequence[Mapping[str, Any]], refused: Collection[str] = ()) -> list[Signature]:
    """What a run's validations tell, its first being of what it started from.

    rows: lines of metrics.jsonl; "val/TASK/METRIC" is of the averaged weights, "raw/TASK/METRIC" of the raw ones.
    refused: flags that no remedy names, since such a run takes none of them.
    """
    told = [row for row in rows if "val/badness" in row]
    if len(told) < 2:
        return []
    names = {task: _name("val", task) for task in CHOOSE_BY if _name("val", task) in told[0]}
    change = {task: Beside.of(task, told[-1][name], told[0][name]) for task, name in names.items()}
    return [*_worse(change, refused), *_opposed(change, refused), *_apart(told, refused)]


def _worse(change: Mapping[str, Beside], refused: Collection[str]) -> list[Signature]:
    fallen = [task for task, now in change.items() if now.better < -LOSS]
    if len(fallen) < len(change):
        return []
    ways = ("raise --min-confidence", "lower --self-teaching.weight", "lower --noise-level", "warm up for longer")
    return [
        Signature(
            f"Every task got worse than it was where this training began: {_listed(change, fallen)}.",
            f"The labels of created pictures are not good enough: {_any_of(ways, refused)}",
        )
    ]


def _opposed(change: Mapping[str, Beside], refused: Collection[str]) -> list[Signature]:
    fallen = [task for task, now in change.items() if now.better < -LOSS]
    risen = [task for task, now in change.items() if now.better > LOSS]
    if not fallen or not risen:
        return []
    return [
        Signature(
            f"While {_listed(change, risen)} rose, {_listed(change, fallen)} fell.",
            f"Give what fell {_any_of(('more weight with --weights', 'a run of its own'), refused)}",
        )
    ]


def _apart(told: Sequence[Mapping[str, Any]], refused: Collection[str]) -> list[Signature]:
    both = [task for task in CHOOSE_BY if _name("raw", task) in told[-1]]
    gaps = {task: [_gap(task, row) for row in told if _name("raw", task) in row] for task in both}
    found = []
    for task, gap in gaps.items():
        if gap[-1].better > APART:
            found.append(
                Signature(
                    f"The averaged weights stay behind the raw ones in {task} {gap[-1]}.",
                    "Let the average move faster: a lower --optim.ema, or a smaller --self-teaching.average-over.",
                )
            )
        elif gap[-1].better < -APART:
            ways = ("lower --optim.lr", "raise --min-confidence")
            found.append(
                Signature(
                    f"The raw weights fell behind the averaged ones in {task} {gap[-1]}.",
                    f"They learn what is wrong, or too fast: {_any_of(ways, refused)}",
                )
            )
        elif len(gap) > 3 and _swings([each.better for each in gap]):
            found.append(
                Signature(
                    f"The raw weights swing around the averaged ones in {task}.", "Lower --optim.lr, or raise --batch."
                )
            )
    return found


def _gap(task: str, row: Mapping[str, Any]) -> Beside:
    """The raw weights beside the averaged ones."""
    return Beside.of(task, row[_name("raw", task)], row[_name("val", task)])


def _swings(gap: Sequence[float]) -> bool:
    """Whether it changes sides at every look, each time clearly."""
    pairs = zip(gap[1:], gap[2:], strict=False)
    return all(a * b < 0 and min(abs(a), abs(b)) > LOSS for a, b in pairs)


def cosines(losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter]) -> dict[tuple[str, str], float]:
    """Between the gradients of each two tasks' losses at the weights that they share; -1 pulls against each other.

    Raises nothing where a loss does not reach them: its gradient is zero, and so are its cosines.
    """
    gradients = {}
    for name, loss in losses.items():
        parts = torch.autograd.grad(loss, list(shared), retain_graph=True, allow_unused=True)
        flat = [torch.zeros_like(p) if g is None else g for g, p in zip(parts, shared, strict=True)]
        gradients[name] = torch.cat([g.flatten() for g in flat])
    names = list(gradients)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return {(a, b): float(torch.cosine_similarity(gradients[a], gradients[b], 0)) for a, b in pairs}


def pulling_apart(angles: Mapping[tuple[str, str], float]) -> list[Signature]:
    """Which tasks' gradients are opposed."""
    return [
        Signature(
            f"The gradients of {a} and {b} are opposed (cosine {cosine:.2f}).",
            "Let tasks exchange features, or train them apart.",
        )
        for (a, b), cosine in angles.items()
        if cosine < OPPOSED
    ]


def going_astray(looks: Sequence[Mapping[str, Any]], refused: Collection[str] = ()) -> list[Signature]:
    """What the last round's pictures say of themselves, and beside the first's where the intervals are apart.

    looks: of each round "kid", the distance to real pictures, "precision", the share of created ones that lie among
    them, and "agreement" of a judge with the labels by task, each as (value, low, high). refused: see `signatures`.
    """
    first, last = looks[0], looks[-1]
    found = []
    share, _, most = last.get("precision", (None, None, None))
    if most is not None and most < STRANGE:
        found.append(
            Signature(
                f"Of the created pictures only {share:.0%} look like the labelled ones.",
                "Lower --noise-level, or let the network learn the pictures with --adapt-time.",
            )
        )
    if len(looks) < 2:
        return found
    if _beyond(first["kid"], last["kid"], 1):
        found.append(
            Signature(
                f"Created pictures went away from real ones (KID from {first['kid'][0]:.2g} to {last['kid'][0]:.2g}).",
                "Lower --noise-level or the number of --rounds, or let the network learn the pictures with "
                "--adapt-time.",
            )
        )
    ways = ("raise --min-confidence", "lower --noise-level", "warm up for longer")
    return found + [
        Signature(
            f"The judge agrees less with the labels of created pictures in {task} ({change}).",
            _any_of(ways, refused).capitalize(),
        )
        for task, change in _less(first["agreement"], last["agreement"])
    ]


def forgetting(
    before: Mapping[str, Sequence[float | None]], after: Mapping[str, Any], refused: Collection[str] = ()
) -> list[Signature]:
    """Of a judge's agreement by task, (value, low, high), with the labels of created pictures, and with what is seen
    in the same pictures once they have been learnt from. refused: see `signatures`."""
    ways = ("raise --min-confidence", "lower --self-teaching.weight", "warm up for longer")
    return [
        Signature(
            f"What is seen in created pictures after they were learnt from is further from what the judge sees, in "
            f"{task} ({change}).",
            _any_of(ways, refused).capitalize(),
        )
        for task, change in _less(before, after)
    ]


def _less(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """In which tasks agreement surely fell, and by how much."""
    for task in (task for task in before if task in after):
        if _beyond(before[task], after[task], CHOOSE_BY[task][1]):
            yield task, f"from {before[task][0]:.3g} to {after[task][0]:.3g}"


def _beyond(before: Sequence[float | None], after: Sequence[float | None], worse: float) -> bool:
    """Whether the whole of one interval is worse than the other; `worse` is positive where that means higher."""
    (_, low, high), (_, least, most) = before, after
    if low is None or high is None or least is None or most is None:
        return False
    return least > high if worse > 0 else most < low


def _name(kind: str, task: str) -> str:
    return f"{kind}/{task}/{CHOOSE_BY[task][0]}"


def _listed(change: Mapping[str, Beside], tasks: Sequence[str]) -> str:
    return ", ".join(f"{task} {change[task]}" for task in tasks)


def _any_of(ways: Sequence[str], refused: Collection[str]) -> str:
    """The end of a sentence: the ways that name no refused flag."""
    *most, last = [way for way in ways if not set(way.split()) & set(refused)]
    return f"{', '.join(most)}, or {last}." if most else f"{last}."
