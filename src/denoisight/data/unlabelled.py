"""Pictures without truths among those with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate

from ..annotations import Depth, Gauge, Sample, least_known
from ..errors import DataError
from .readers import Reader
from .view import View


@dataclass(frozen=True)
class Renamed(View):
    """A reader's samples under keys that begin with "WORD/", so that they are never those of another reader's."""

    word: str

    @property
    def keys(self) -> Sequence[str]:
        return tuple(f"{self.word}/{key}" for key in self.whole.keys)

    def __getitem__(self, i: int) -> Sample:
        sample = self.whole[i]
        return replace(sample, query=replace(sample.query, key=f"{self.word}/{sample.key}"))


@dataclass(frozen=True)
class Unlabelled(Renamed):
    """The pictures of one reader, whatever truths it has; blank ones of another's kinds stand in their place."""

    like: Reader
    word: str = field(default="unlabelled", init=False)

    @property
    def truths(self) -> tuple[str, ...]:
        return self.like.truths

    @property
    def classes(self) -> tuple[str, ...]:
        return self.like.classes

    @cached_property
    def blanks(self) -> Sample:
        """A sample of each kind of truth, of the other reader's first size."""
        sample = self.like[0]
        return replace(sample, truths={name: truth.blank() for name, truth in sample.truths.items()}, phrases={})

    def __getitem__(self, i: int) -> Sample:
        query = super().__getitem__(i).query
        truths = {name: truth.resize(*query.size) for name, truth in self.blanks.truths.items()}
        return Sample(query, truths, labelled=False)


@dataclass(frozen=True)
class Joined:
    """One reader's samples after another's, with the truths that all have. Raises `DataError` where there are none.

    Those of the first shall be at least `share` of what is learnt from. Depth of all is told as it is known of each:
    metres beside depth up to scale and shift are depth up to scale and shift.
    """

    readers: tuple[Reader, ...]
    share: float = 0.0

    def __post_init__(self) -> None:
        for reader in self.readers:
            if reader.truths and not self.truths:
                raise DataError(
                    f"{reader.name} has {', '.join(reader.truths)}, and others beside it have none of that."
                )

    @property
    def name(self) -> str:
        return self.readers[0].name

    @cached_property
    def keys(self) -> Sequence[str]:
        return tuple(key for reader in self.readers for key in reader.keys)

    @cached_property
    def truths(self) -> tuple[str, ...]:
        first, *others = self.readers
        return tuple(name for name in first.truths if all(name in reader.truths for reader in others))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.readers[0].classes

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for reader in self.readers for note in reader.notes)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        return tuple(accumulate(len(reader) for reader in self.readers))

    @cached_property
    def gauges(self) -> dict[str, Gauge]:
        """Of each depth that the readers tell, how it is known of all of them."""
        found: dict[str, Gauge] = {}
        for sample in (reader[0] for reader in self.readers if len(reader)):
            for name, truth in sample.only(self.truths).truths.items():
                if isinstance(truth, Depth):
                    found[name] = least_known((found.get(name, "metres"), truth.gauge))
        return found

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, i: int) -> Sample:
        if not 0 <= i < len(self):
            raise IndexError(f"Item {i} of {len(self)}.")
        which = next(place for place, end in enumerate(self.ends) if i < end)
        first = self.ends[which - 1] if which else 0
        sample = self.readers[which][i - first].only(self.truths)
        truths = sample.truths.items()
        alike = {name: truth.up_to(self.gauges[name]) for name, truth in truths if isinstance(truth, Depth)}
        return replace(sample, truths={**sample.truths, **alike})
