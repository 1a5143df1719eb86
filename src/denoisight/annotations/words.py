"""Words that change places in a mirror."""

from __future__ import annotations

import re
from collections.abc import Sequence


def mirrored_classes(classes: Sequence[str]) -> tuple[int, ...]:
    """For each class the place of what its things are in a mirror image: mostly its own."""
    places = {name.lower(): place for place, name in enumerate(classes)}
    return tuple(places.get(mirror_words(name).lower(), place) for place, name in enumerate(classes))


def mirror_words(text: str) -> str:
    """Swap "left" and "right" as whole words: a mirrored picture makes "the left box" the right one."""
    swap = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
    return re.sub(r"\b(leftmost|rightmost|left|right)\b", lambda m: swap[m.group().lower()], text, flags=re.IGNORECASE)
