"""Expressions that mean exactly one thing in a picture, composed from what its things are and where they lie.

A phrase is only said where it fits one thing beyond doubt: of two things one is left of the other where its middle
is by `DOUBT` of the picture's width and neither of its ends says otherwise, and larger where its area is by `CLEARLY`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from .scenes.language import DOUBT

CLEARLY = 1.5
LEAST_AREA = 0.005
"""The share of the picture that a thing must cover to be spoken of; smaller ones still confuse."""
MOST_RELATIONS = 2
"""How many phrases a thing gets at most that name another thing."""


@dataclass(frozen=True)
class Thing:
    """What is known of a thing: its number, its kind in words, the share of the picture that it covers, and in
    shares of the width the middle of its pixels and its two ends."""

    id: int
    kind: str
    area: float
    x: float
    left: float
    right: float


@dataclass(frozen=True)
class Expression:
    """Words that mean the thing with the id `target` and no other. The `confusers` are of the same kind."""

    text: str
    target: int
    confusers: tuple[int, ...]
    about: str


def _is_left(thing: Thing, other: Thing) -> bool:
    return thing.x + DOUBT < other.x and thing.left <= other.left and thing.right <= other.right


def _is_larger(thing: Thing, other: Thing) -> bool:
    return thing.area > CLEARLY * other.area


Comparison = Callable[[Thing, Thing], bool]

PLACES: dict[str, tuple[str, Comparison]] = {
    "leftmost": ("place", _is_left),
    "rightmost": ("place", lambda thing, rival: _is_left(rival, thing)),
    "largest": ("size", _is_larger),
    "smallest": ("size", lambda thing, rival: _is_larger(rival, thing)),
}
"""What such a phrase is about, and how the thing meant compares with every rival."""

RELATIONS: dict[str, Comparison] = {
    "left of": _is_left,
    "right of": lambda thing, other: _is_left(other, thing),
}


def compose(things: Sequence[Thing], uncertain: Sequence[str] = ()) -> tuple[Expression, ...]:
    """What can be said of the things, in their order; () where nothing is clear.

    `things` must be all of their kinds that the picture shows. Nothing is said of the kinds in `uncertain`, of
    which there may be more.
    """
    said = []
    for target in things:
        if target.area >= LEAST_AREA and target.kind not in uncertain:
            rivals = tuple(t for t in things if t.kind == target.kind and t is not target)
            confusers = tuple(t.id for t in rivals)
            phrases = _apart(target, rivals, things, uncertain) if rivals else [(target.kind, "kind")]
            said += [Expression(f"the {text}", target.id, confusers, about) for text, about in phrases]
    return tuple(said)


def _apart(
    target: Thing, rivals: Sequence[Thing], things: Sequence[Thing], uncertain: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Phrases that tell a thing from its rivals."""
    for word, (about, beats) in PLACES.items():
        if all(beats(target, rival) for rival in rivals):
            yield f"{word} {target.kind}", about
    kinds = [thing.kind for thing in things]
    anchors = [t for t in things if kinds.count(t.kind) == 1 and t.area >= LEAST_AREA and t.kind not in uncertain]
    related = [
        f"{target.kind} {relation} the {anchor.kind}"
        for anchor, (relation, holds) in product(anchors, RELATIONS.items())
        if holds(target, anchor) and all(holds(anchor, rival) for rival in rivals)
    ]
    yield from ((text, "relation") for text in related[:MOST_RELATIONS])
