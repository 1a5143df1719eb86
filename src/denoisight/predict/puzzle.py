"""What can be referred to in an image, and, of a procedural scene, which pixels are meant and which are like them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..annotations import Mask, Query
from ..data.scenes import Scenes
from ..errors import DataError, UsageError
from .query import as_query


@dataclass(frozen=True, eq=False)
class Puzzle:
    """`truth` and the `confusers`, words and mask of each, are known for a scene's own `phrases` alone."""

    query: Query
    phrase: str = ""
    caption: str = ""
    phrases: tuple[str, ...] = ()
    truth: Mask | None = None
    confusers: tuple[tuple[str, Mask], ...] = ()


def open_puzzle(image: str, phrase: str = "") -> Puzzle:
    """A picture by its path, or a scene as "scenes:test:12", whose own phrase is taken where none is given.

    Raises `DataError` for a picture that cannot be read, a scene that is not there, or one in which nothing can be
    spoken of; `UsageError` for a scene that is named in another way.
    """
    if not image.startswith("scenes:"):
        return Puzzle(as_query(image), phrase)
    named = re.fullmatch(r"scenes:(\w+):(\d+)", image)
    if named is None:
        raise UsageError(f"{image!r} names no scene; write scenes:SPLIT:NUMBER, as in scenes:test:12.")
    scenes, place = Scenes(named[1]), int(named[2])
    if place >= len(scenes):
        raise DataError(f"Split {named[1]!r} has no scene {place}; give 0 to {len(scenes) - 1}.")
    sample, expressions = scenes[place], scenes.expressions(place)
    phrase = phrase or sample.phrases["mask"]
    if not phrase:
        raise DataError(f"Nothing in {image} can be spoken of; give a phrase, or another scene.")
    query, phrases = Query(sample.image, key=sample.key), tuple(e.text for e in expressions)
    asked = next((e for e in expressions if e.text == phrase), None)
    if asked is None:
        return Puzzle(query, phrase, sample.query.text, phrases)
    truth = Mask.of(sample.truths["instances"].ids == asked.target)  # type: ignore[attr-defined]
    return Puzzle(query, phrase, sample.query.text, phrases, truth, scenes.confusers(place, asked))
