"""Pictures with what is known of them, one by one and stacked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError
from .base import Annotation, Kind
from .boxes import Boxes
from .pixels import resize_image, size_of, window_of
from .words import mirror_words

ADDED = re.compile(r"(?<=[^\s#])(?:#[^#]+)+$")
"""What stands behind the name of a picture in the key of one made of it, or of something said of it: NAME#2,
NAME#the-red-box, NAME#2#make-it-snow. Of the picture "car #1" that is its name."""


def base_of(key: str) -> str:
    """The key of the picture that the one of this key was made from, NAME of NAME#2; its own where it has none."""
    return ADDED.sub("", key)


@dataclass(frozen=True, eq=False)
class Query:
    """What a predictor is given: a picture, what is asked about it, and a name that its random numbers hang on.

    `avoid` is what the text was, or may be, confused with: "the left one". Predictions keep away from it. `mirrored`
    tells a mirror image from the picture of the same name.
    """

    image: Float[Tensor, "3 h w"]
    text: str = ""
    key: str = ""
    avoid: tuple[str, ...] = ()
    mirrored: bool = False

    @property
    def size(self) -> tuple[int, int]:
        return size_of(self.image)

    def flip(self) -> Query:
        avoid = tuple(map(mirror_words, self.avoid))
        image, text = self.image.flip(-1), mirror_words(self.text)
        return replace(self, image=image, text=text, avoid=avoid, mirrored=not self.mirrored)

    def crop(self, top: int, left: int, height: int, width: int) -> Query:
        return replace(self, image=self.image[window_of(self.size, top, left, height, width)])

    def resize(self, height: int, width: int) -> Query:
        return replace(self, image=resize_image(self.image, height, width))


@dataclass(frozen=True, eq=False)
class Sample:
    """A query with its truths, by name ("depth", "normals", "semantic", ...). Predictors only ever see the query.

    `phrases` holds, by a truth's name, the words that it answers to where they are not the query's own: a
    picture's text is its caption, its "mask" answers to "the red box". Where it is not `labelled` its truths are blank,
    and stand for answers that are still to be given.
    """

    query: Query
    truths: Mapping[str, Annotation] = field(default_factory=dict)
    phrases: Mapping[str, str] = field(default_factory=dict)
    labelled: bool = True

    @property
    def image(self) -> Tensor:
        return self.query.image

    @property
    def key(self) -> str:
        return self.query.key

    @property
    def size(self) -> tuple[int, int]:
        return self.query.size

    def asked(self, truth: str) -> Query:
        """The query for one truth, in the words that it answers to."""
        return replace(self.query, text=self.phrases.get(truth, self.query.text))

    def only(self, truths: Iterable[str]) -> Sample:
        """With some of its truths alone, and their phrases."""
        kept = {name: self.truths[name] for name in truths}
        return replace(self, truths=kept, phrases={name: said for name, said in self.phrases.items() if name in kept})

    def flip(self) -> Sample:
        truths = {name: t.flip() for name, t in self.truths.items()}
        phrases = {name: mirror_words(words) for name, words in self.phrases.items()}
        return replace(self, query=self.query.flip(), truths=truths, phrases=phrases)

    def crop(self, top: int, left: int, height: int, width: int) -> Sample:
        window = (top, left, height, width)
        truths = {name: t.crop(*window) for name, t in self.truths.items()}
        return replace(self, query=self.query.crop(*window), truths=truths)

    def resize(self, height: int, width: int) -> Sample:
        truths = {name: t.resize(height, width) for name, t in self.truths.items()}
        return replace(self, query=self.query.resize(height, width), truths=truths)


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of one size, stacked: images [b 3 h w], and truths with a leading batch axis.

    `labelled` tells whose truths are known; where nothing is said, all are. `mirrored` tells which are mirror images;
    where nothing is said, none is.
    """

    images: Float[Tensor, "b 3 h w"]
    texts: tuple[str, ...]
    keys: tuple[str, ...]
    truths: Mapping[str, Annotation]
    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labelled: tuple[bool, ...] = ()
    mirrored: tuple[bool, ...] = ()

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Batch:
        """Raises `DataError` where sizes differ or a sample lacks a truth that the first one has."""
        if not samples:
            raise DataError("Nothing to batch: the list of samples is empty.")
        sizes = sorted({f"{s.size[1]}x{s.size[0]}" for s in samples})
        if len(sizes) > 1:
            raise DataError(f"Cannot batch images of sizes {', '.join(sizes)}; resize or crop them to one size.")
        names = samples[0].truths
        for sample in samples:
            if missing := set(names) - set(sample.truths):
                raise DataError(f"Sample {sample.key!r} has no truth named {', '.join(sorted(missing))}.")
        spoken = dict.fromkeys(name for s in samples for name in s.phrases)
        return cls(
            torch.stack([s.image for s in samples]),
            tuple(s.query.text for s in samples),
            tuple(s.key for s in samples),
            {name: stack([s.truths[name] for s in samples]) for name in names},
            {name: tuple(s.asked(name).text for s in samples) for name in spoken},
            tuple(s.labelled for s in samples),
            tuple(s.query.mirrored for s in samples),
        )

    def take(self, rows: Sequence[int]) -> Batch:
        """The samples at these places."""
        places = torch.tensor(rows, dtype=torch.long, device=self.images.device)
        return Batch(
            self.images[places],
            tuple(self.texts[i] for i in rows),
            tuple(self.keys[i] for i in rows),
            {name: truth[places] for name, truth in self.truths.items()},
            {name: tuple(said[i] for i in rows) for name, said in self.phrases.items()},
            tuple(self.labelled[i] for i in rows) if self.labelled else (),
            tuple(self.mirrored[i] for i in rows) if self.mirrored else (),
        )

    @property
    def unlabelled(self) -> list[int]:
        """The places of samples whose truths are not known."""
        return [place for place, known in enumerate(self.labelled) if not known]

    def flip(self) -> Batch:
        """Mirrored left to right, as `Sample.flip`."""
        return replace(
            self,
            images=self.images.flip(-1),
            texts=tuple(map(mirror_words, self.texts)),
            truths={name: truth.flip() for name, truth in self.truths.items()},
            phrases={name: tuple(map(mirror_words, said)) for name, said in self.phrases.items()},
            mirrored=tuple(not mirrored for _, mirrored in self.names),
        )

    @property
    def names(self) -> list[tuple[str, bool]]:
        """Of its pictures, in which a mirror image is another one: (key, mirrored)."""
        return list(zip(self.keys, self.mirrored or (False,) * len(self), strict=True))

    def words(self, truth: str) -> tuple[str, ...]:
        """Each sample's text, in the words that this truth answers to."""
        return self.phrases.get(truth, self.texts)

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device | str) -> Batch:
        truths = {name: t.to(device) for name, t in self.truths.items()}
        return replace(self, images=self.images.to(device), truths=truths)


def stack(items: Sequence[Kind]) -> Kind:
    """Batch annotations of one kind, size and gauge along a new first axis. Boxes are padded to the longest list.

    Raises `DataError` where the items differ in anything that a batch must share.
    """
    if not items:
        raise DataError("Nothing to batch: the list of annotations is empty.")
    first = items[0]
    longest = max((len(i.ids) for i in items if isinstance(i, Boxes)), default=0)
    rows = [i.padded(longest).tensors() if isinstance(i, Boxes) else i.tensors() for i in items]
    shared = {f.name for f in fields(first)} - set(rows[0])  # type: ignore[arg-type]
    for item in items[1:]:
        if type(item) is not type(first) or any(getattr(item, n) != getattr(first, n) for n in shared):
            raise DataError(f"Cannot batch {_about(item, shared)} with {_about(first, shared)}; make them alike first.")
    if len({tuple(t.shape for t in row.values()) for row in rows}) > 1:
        sizes = sorted({f"{i.size[1]}x{i.size[0]}" for i in items})
        raise DataError(f"Cannot batch annotations of sizes {', '.join(sizes)}; resize or crop them to one size.")
    return replace(first, **{name: torch.stack([row[name] for row in rows]) for name in rows[0]})  # type: ignore[type-var]


def _about(item: Annotation, shared: set[str]) -> str:
    return f"{type(item).__name__}({', '.join(f'{n}={getattr(item, n, None)!r}' for n in sorted(shared))})"
