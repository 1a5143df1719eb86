"""What a reader that shows another's samples otherwise has of that one."""

from __future__ import annotations

from dataclasses import dataclass

from .readers import Reader


@dataclass(frozen=True)
class View:
    """The other reader as it is; who shows it otherwise says by which keys, and what stands there."""

    whole: Reader

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def truths(self) -> tuple[str, ...]:
        return self.whole.truths

    @property
    def classes(self) -> tuple[str, ...]:
        return self.whole.classes

    @property
    def notes(self) -> tuple[str, ...]:
        return self.whole.notes

    def __len__(self) -> int:
        return len(self.whole)
