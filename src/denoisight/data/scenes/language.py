"""What can be said about a view: a caption, and phrases that each mean exactly one thing.

A phrase is a structure first and words second, so that what it means can be worked out: `find` lists the
things that a phrase fits. A phrase is only said where it fits one thing beyond doubt: still the same one if
positions and depths are compared `DOUBT` more leniently or more strictly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import log

from numpy.random import PCG64, Generator

from .scene import Scene
from .truths import Seen

DOUBT = 0.05
"""In shares of the picture's width, and of depth."""

LEAST_AREA = 0.002
"""The share of the picture that a thing must cover to be spoken of."""

MOST_OF_A_KIND = 3
"""How many expressions there are at most of each kind ("colour", "size", ...)."""

Measure = Callable[[Seen], float]

PLACES: dict[str, Measure] = {
    "leftmost": lambda s: s.x,
    "rightmost": lambda s: -s.x,
    "nearest": lambda s: log(s.depth_m),
    "farthest": lambda s: -log(s.depth_m),
}
"""The thing meant has the least value."""

RELATIONS: dict[str, Callable[[Seen, Seen], float]] = {
    "left of": lambda s, other: s.x - other.x,
    "right of": lambda s, other: other.x - s.x,
    "in front of": lambda s, other: max(log(s.depth_m / other.depth_m), abs(s.x - other.x) - 0.2),
    "behind": lambda s, other: max(log(other.depth_m / s.depth_m), abs(s.x - other.x) - 0.2),
    "on top of": lambda s, other: -1.0 if s.support == other.id else 1.0,
}
"""Negative where the relation holds."""


@dataclass(frozen=True)
class Noun:
    """The words for a thing itself; None where nothing is said."""

    size: str | None = None
    colour: str | None = None
    kind: str | None = None

    def __str__(self) -> str:
        return " ".join(word for word in (self.size, self.colour, self.kind or "thing") if word)

    def shared(self, thing: Seen) -> int:
        """How many of the words are true of a thing."""
        return (self.size == thing.size) + (self.colour == thing.colour) + (self.kind == thing.kind)

    def __len__(self) -> int:
        return sum(word is not None for word in (self.size, self.colour, self.kind))

    def fits(self, thing: Seen) -> bool:
        said = ((self.size, thing.size), (self.colour, thing.colour), (self.kind, thing.kind))
        return all(word in (None, truth) for word, truth in said)


@dataclass(frozen=True)
class Phrase:
    """A noun, and at most one of a place and a relation to an anchor."""

    noun: Noun
    place: str | None = None
    relation: str | None = None
    anchor: Noun | None = None

    def __str__(self) -> str:
        place = f"{self.place} " if self.place else ""
        relation = f" {self.relation} the {self.anchor}" if self.relation else ""
        return f"the {place}{self.noun}{relation}"

    @property
    def about(self) -> str:
        if self.relation:
            return "relation"
        if self.place:
            return "place"
        return "size" if self.noun.size else "colour" if self.noun.colour else "kind"


@dataclass(frozen=True)
class Expression:
    """Words that mean the thing with the id `target`.

    Each of the `confusers`, the closest first, shares some of the words; the expression is `hard` where one
    shares all but one. `about` names what decides: "colour", "kind", "size", "place" or "relation".
    """

    text: str
    target: int
    confusers: tuple[int, ...]
    about: str
    hard: bool
    phrase: Phrase


def find(phrase: Phrase, seen: Sequence[Seen], slack: float = 0.0) -> list[int]:
    """The ids of the things that a phrase fits, with positions and depths taken `slack` more leniently."""
    named = [s for s in seen if phrase.noun.fits(s)]
    if phrase.place:
        values = {s.id: PLACES[phrase.place](s) for s in named}
        return [id for id, v in values.items() if all(v <= o + slack for i, o in values.items() if i != id)]
    if phrase.relation:
        anchors = _anchors(phrase, seen)
        if len(anchors) != 1:
            return []
        holds = RELATIONS[phrase.relation]
        return [s.id for s in named if s is not anchors[0] and holds(s, anchors[0]) < slack]
    return [s.id for s in named]


def refer(seen: Sequence[Seen], seed: int) -> tuple[Expression, ...]:
    """Expressions of every kind that the view allows, hard ones before others, else in random order."""
    spoken_of = [s for s in seen if s.area >= LEAST_AREA]
    groups: dict[str, list[Expression]] = defaultdict(list)
    for target in spoken_of:
        for phrase in _sure_phrases(target, seen, spoken_of):
            groups[phrase.about].append(_express(phrase, target, seen))
    rng = Generator(PCG64(seed))
    chosen: list[Expression] = []
    for about in sorted(groups):
        order = rng.random(len(groups[about])).argsort()
        shuffled = [groups[about][i] for i in order]
        chosen += sorted(shuffled, key=lambda e: not e.hard)[:MOST_OF_A_KIND]
    return tuple(chosen)


def name(seen: Sequence[Seen]) -> dict[int, str]:
    """Words for each thing that is large enough to be spoken of, by its id: the first phrase that means it alone; where
    none does, all that can be said of the thing by itself."""
    spoken_of = [s for s in seen if s.area >= LEAST_AREA]
    return {
        s.id: str(next(_sure_phrases(s, seen, spoken_of), Phrase(Noun(s.size, s.colour, s.kind)))) for s in spoken_of
    }


def describe(scene: Scene, seen: Sequence[Seen]) -> str:
    """One sentence without a verb: things that are alike are counted, larger groups of pixels come first."""
    areas: dict[str, list[float]] = defaultdict(list)
    for s in seen:
        if s.area >= LEAST_AREA:
            areas[f"{s.colour} {s.kind}"].append(s.area)
    largest_first = sorted(areas, key=lambda name: -sum(areas[name]))
    parts = [_count(len(areas[name]), name) for name in largest_first] or ["nothing"]
    things = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    ground = _GROUNDS[scene.planes[0].material.texture]
    place = "floor in a room" if scene.setting == "room" else "ground outdoors"
    return f"{things} on a {ground} {place}"


def _sure_phrases(target: Seen, seen: Sequence[Seen], spoken_of: Sequence[Seen]) -> Iterator[Phrase]:
    """Those that mean the one thing beyond doubt."""
    for phrase in _phrases(target, seen, spoken_of):
        if all(find(phrase, seen, slack) == [target.id] for slack in (-DOUBT, DOUBT)):
            yield phrase


def _phrases(target: Seen, seen: Sequence[Seen], spoken_of: Sequence[Seen]) -> Iterator[Phrase]:
    """Phrases that are true of a thing and in which no word is idle."""
    nouns = [Noun(*words) for words in product(*((None, word) for word in (target.size, target.colour, target.kind)))]
    several = [noun for noun in nouns if sum(map(noun.fits, seen)) > 1]
    for noun in nouns:
        if noun not in several and all(fewer in several for fewer in _without_a_word(noun)):
            yield Phrase(noun)
    for noun in several:
        for place in PLACES:
            yield Phrase(noun, place)
    for anchor in spoken_of:
        names = (Noun(kind=anchor.kind), Noun(colour=anchor.colour, kind=anchor.kind))
        name = next((n for n in names if sum(map(n.fits, seen)) == 1), None)
        if name and anchor is not target:
            held = [relation for relation, measure in RELATIONS.items() if measure(target, anchor) < -DOUBT]
            for noun, relation in product(several, held):
                if noun.kind:
                    yield Phrase(noun, None, relation, name)


def _without_a_word(noun: Noun) -> Iterator[Noun]:
    for name, word in vars(noun).items():
        if word:
            yield replace(noun, **{name: None})


def _express(phrase: Phrase, target: Seen, seen: Sequence[Seen]) -> Expression:
    related = find(replace(phrase, noun=Noun()), seen) if phrase.relation else []

    def shared(thing: Seen) -> int:
        return phrase.noun.shared(thing) + (thing.id in related)

    words = len(phrase.noun) + bool(phrase.place or phrase.relation)
    others = sorted((s for s in seen if s is not target and shared(s)), key=lambda s: (-shared(s), s.id))
    hard = words > 1 and bool(others) and shared(others[0]) == words - 1
    return Expression(str(phrase), target.id, tuple(s.id for s in others), phrase.about, hard, phrase)


def _anchors(phrase: Phrase, seen: Sequence[Seen]) -> list[Seen]:
    return [s for s in seen if phrase.anchor and phrase.anchor.fits(s)]


def _count(number: int, name: str) -> str:
    if number == 1:
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    plural = f"{name}es" if name.endswith("x") else f"{name}s"
    return f"{_NUMBERS[number - 2]} {plural}"


_NUMBERS = (
    "two", "three", "four", "five", "six", "seven", "eight",
    "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
)  # fmt: skip

_GROUNDS = {
    "plain": "plain", "planks": "wooden", "checker": "checkered", "tiles": "tiled", "mottled": "mottled",
    "stripes": "striped", "spots": "spotted", "bricks": "brick", "zigzag": "zigzag", "rings": "ringed",
    "marble": "marbled", "weave": "woven",
}  # fmt: skip
