"""What of the labels can be compared between two sets: one row a property."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..annotations import Annotation, Depth, Labels, Normals, Sample
from ..data.readers import Reader
from ..errors import DataError, shortlist
from ..metrics import distributions as d
from ..metrics.align import COMPARABLE


@dataclass(frozen=True, eq=False)
class Statistic:
    """`measure` gives an annotation's shares in bins, which have `edges` in `unit`, or names."""

    name: str
    truth: str
    measure: Callable[[Any], Float[Tensor, " b"]]
    unit: str = ""
    edges: Tensor | None = None
    names: tuple[str, ...] = ()
    divergence: Callable[[Tensor, Tensor], Tensor] = d.jensen_shannon

    @property
    def bins(self) -> tuple[str, ...] | tuple[float, ...]:
        return self.names if self.edges is None else tuple(self.edges.tolist())

    def js(self, one: Float[Tensor, "n b"], other: Float[Tensor, "m b"]) -> float:
        """Between the sets' mean shares, in bits."""
        return float(self.divergence(one.double().mean(0), other.double().mean(0)))

    def wasserstein(self, one: Float[Tensor, "n b"], other: Float[Tensor, "m b"]) -> float:
        """Between the sets' mean shares, in `unit`."""
        assert self.edges is not None
        return d.wasserstein(one.double().mean(0), other.double().mean(0), self.edges)


def statistics_of(
    created: Reader, real: Reader, truths: Sequence[str] = ()
) -> tuple[tuple[Statistic, ...], tuple[str, ...]]:
    """What can be compared of the truths that both readers have, and notes on what cannot.

    Where `truths` are named, those: a `DataError` tells which set lacks one, or why they cannot be compared.
    """
    for truth in truths:
        for side, reader in (("created", created), ("real", real)):
            if truth not in reader.truths:
                raise DataError(
                    f"The {side} images of {reader.name} have no truth {truth!r} but "
                    f"{shortlist(reader.truths) or 'none'}; name tasks that both sets have the truth of."
                )
    shared = tuple(truths) or tuple(truth for truth in created.truths if truth in real.truths)
    first, other = (reader[0] if shared else Sample(created[0].query) for reader in (created, real))
    found: list[Statistic] = []
    notes: list[str] = []
    for truth in shared:
        try:
            comparable = _of(truth, first.truths[truth], other.truths[truth])
            found += comparable
            if not comparable:
                notes.append(f"Of {truth} no distribution is known; its labels are judged by agreement alone.")
        except DataError as error:
            if truths:
                raise
            notes.append(f"The distribution of {truth} was not compared: {error}")
    return tuple(found), tuple(notes)


def _of(truth: str, created: Annotation, real: Annotation) -> tuple[Statistic, ...]:
    match created, real:
        case Depth(), Depth():
            return (_depth(truth, created, real),)
        case Normals(), Normals():
            cells = tuple(f"band {i // d.SECTORS}, sector {i % d.SECTORS}" for i in range(d.BANDS * d.SECTORS))
            return (
                Statistic(f"{truth}: directions", truth, d.normal_cells, names=cells),
                Statistic(f"{truth}: angle to the viewer", truth, d.normal_slants, "degrees", d.DEGREES),
            )
        case Labels(), Labels() if created.classes and created.classes == real.classes:
            names = created.classes
            presence = d.presence_divergence
            return (
                Statistic(f"{truth}: share of pixels", truth, d.class_shares, names=names),
                Statistic(f"{truth}: classes present", truth, d.class_presence, names=names, divergence=presence),
            )
        case Labels(), Labels() if created.classes:
            raise DataError(
                f"created images tell {shortlist(created.classes)} apart, real ones {shortlist(real.classes)}; "
                "bring them to the same classes."
            )
        case _ if type(created) is not type(real):
            raise DataError(
                f"created images have {type(created).__name__}, real ones {type(real).__name__} as {truth!r}; "
                "give both the same kind."
            )
    return ()


def _depth(truth: str, created: Depth, real: Depth) -> Statistic:
    """In octaves where both are known up to a factor, else up to scale and shift."""
    if {created.gauge, real.gauge} <= {"metres", "scale"}:
        return Statistic(f"{truth}: over the image's median", truth, d.depth_ratios, "octaves", d.OCTAVES)
    if "depth" in COMPARABLE[created.gauge] and "depth" in COMPARABLE[real.gauge]:
        return Statistic(f"{truth}: less the median, over the spread", truth, d.depth_spreads, "spreads", d.SPREADS)
    raise DataError(
        f"depth known up to {created.gauge!r} cannot be held against depth up to {real.gauge!r}; label with metres."
    )


def shares_of(statistic: Statistic, sample: Sample) -> Float[Tensor, " b"]:
    """Raises `DataError` where this sample's truth has other classes than the first one's."""
    shares = statistic.measure(sample.truths[statistic.truth])
    if statistic.names and len(shares) != len(statistic.names):
        raise DataError(
            f"Image {sample.key!r} has {len(shares)} classes in {statistic.truth!r}, not {len(statistic.names)}; "
            "mend its labels."
        )
    return shares


def known(shares: Float[Tensor, "n b"]) -> Float[Tensor, "m b"]:
    """The rows of images that had a valid pixel."""
    return shares[told(shares)]


def told(shares: Float[Tensor, "n b"]) -> Bool[Tensor, " n"]:
    """Which images had a valid pixel."""
    return ~shares.isnan().any(1)


def mean_shares(shares: Float[Tensor, "n b"]) -> tuple[float, ...]:
    """Of images with a valid pixel; zeros where there is none."""
    rows = known(shares)
    return tuple((rows.double().mean(0) if len(rows) else torch.zeros(shares.shape[1])).tolist())
