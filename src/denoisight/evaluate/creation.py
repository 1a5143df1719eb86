"""How good created labelled images are: their set beside real ones, and beside what the creator learnt from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan, nan

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..metrics.diversity import across, pair_distances, within
from ..metrics.images import FEW, fid, kid
from ..metrics.intervals import bootstrap, jackknife
from ..metrics.neighbours import density_coverage, nearest, precision_recall
from ..metrics.tally import percentiles
from .creation_results import Copies, Diversity, InFeatures, LabelStatistic, Pair, Scores
from .features import Features
from .observed import Observed
from .results import Score
from .statistics import Statistic, known, mean_shares, told

PAIRS = 16
"""How many of the nearest pairs are named."""
CLOSEST = 0.05
"""The share of real images that are called close to the training images, those that are closest."""
ROUNDING = 1e-5
"""How far features of the same image may lie apart, over their length: in another batch the last digits differ."""
MANIFOLD_K, COVERAGE_K = 3, 5
"""The neighbour that gives a ball its size: for precision and recall (Kynkäänniemi), density and coverage (Naeem)."""


def compare_features(
    one: Features, created: Observed, real: Observed, train: Observed | None = None, seed: int = 0
) -> InFeatures:
    """All numbers in one network's features."""
    made, true = created.vectors[one.name], real.vectors[one.name]
    some = None if train is None else train.spread(len(created.keys))
    reference = None if train is None else distances(train.vectors[one.name][some], true, seed)
    return InFeatures(
        features=one.name,
        weights=one.weights,
        width=made.shape[1],
        created=distances(made, true, seed, created.sources_of_keys),
        train=reference,
        num_train=None if some is None else len(some),
        copies=None if train is None else copies(one.name, created, real, train, seed)[0],
        diversity=diversity(one.name, created, real, seed) if one.name in created.grids else None,
    )


def distances(
    made: Float[Tensor, "n d"], real: Float[Tensor, "m e"], seed: int = 0, sources: Int64[Tensor, " n"] | None = None
) -> Scores:
    """`METRICS` of a set against the real images, with 95 % intervals: of FID and KID by leaving out a twentieth of the
    images in turn, of the others by bootstrap over the images that are counted, the other set being given.

    `sources` numbers what images were made from (default: each from something else): those of one source are left out
    or drawn together, their pairs are no part of KID, and they are no neighbours of each other. None where there are
    too few images for a neighbour.
    """
    of, each = torch.arange(len(made)) if sources is None else sources, torch.arange(len(real))
    scores: Scores = {}
    measures = {
        "fid": lambda rows, others: fid(made[rows], real[others]),
        "kid": lambda rows, others: kid(made[rows], real[others], of[rows]),
    }
    for name, measure in measures.items():
        value = measure(slice(None), slice(None))
        low, high = jackknife(measure, of, each, value=value, seed=seed)
        scores[name] = Score.of(value, max(low, 0.0) if name == "fid" else low, high)
    few, none = min(len(made), len(real)), made.new_zeros(0)
    enough = min(len(of.unique()), few) > MANIFOLD_K
    inside, found = precision_recall(made, real, MANIFOLD_K, of) if enough else (none, none)
    dense, covered = density_coverage(made, real, COVERAGE_K) if few > COVERAGE_K else (none, none)
    of_made = {"precision": inside, "density": dense}
    scores |= {name: _mean(hits.double(), seed, of[: len(hits)]) for name, hits in of_made.items()}
    return scores | {name: _mean(hits.double(), seed) for name, hits in (("recall", found), ("coverage", covered))}


def kid_apart(found: InFeatures) -> str:
    """A sentence on whether created images lie farther from the real ones than training images do, as far as the
    intervals of KID tell; "" where there are not both."""
    if found.train is None:
        return ""
    (made, low, high), (reference, least, most) = (_numbers(scores["kid"]) for scores in (found.created, found.train))
    if isnan(low) or isnan(least):
        return ""
    says = "overlap, so these images do not tell created from training images"
    if low > most or high < least:
        says = f"lie apart: created images are {'farther from' if low > most else 'nearer to'} the real ones"
    return (
        f"KID intervals of created images ({made:.3g} [{low:.3g}, {high:.3g}]) and of training images ({reference:.3g} "
        f"[{least:.3g}, {most:.3g}]) {says} (in {found.features})."
    )


def copies(
    name: str, created: Observed, real: Observed, train: Observed, seed: int = 0
) -> tuple[Copies, Mapping[str, Pair]]:
    """How near created images come to training images, and each one's nearest, by key."""
    among = train.vectors[name]
    of_real = _to_training(name, real, train)
    held_out = float(of_real.median())
    distance, index = nearest(created.vectors[name], among)
    ratios = distance / held_out if held_out > 0 else torch.full_like(distance, nan)
    pairs = [
        Pair(key=key, nearest=train.keys[i], ratio=None if isnan(ratio) else ratio)
        for key, i, ratio in zip(created.keys, index.tolist(), ratios.tolist(), strict=True)
    ]
    sources = created.sources_of_keys
    low, high = bootstrap(ratios, lambda drawn: drawn.median(1).values, sources=sources, seed=seed)
    score = Score.of(float(ratios.median()), low, high)
    first = [pairs[i] for i in distance.argsort(stable=True)[:PAIRS].tolist()]
    close = (distance < of_real.quantile(CLOSEST)).double() if held_out > 0 else ratios
    found = Copies(held_out=held_out, ratio=score, close=_mean(close, seed, sources), nearest=tuple(first))
    return found, {pair.key: pair for pair in pairs}


def diversity(name: str, created: Observed, real: Observed, seed: int = 0) -> Diversity:
    """Distances between created images of one source and of different ones, and between real images, each of which is
    a source of its own. Intervals by bootstrap over sources."""
    apart = pair_distances(created.grids[name])
    true = pair_distances(real.grids[name])
    sources = created.sources
    return Diversity(
        created_within=_mean(within(apart, sources), seed),
        created_across=_across(apart, sources, seed),
        real=_across(true, torch.arange(len(true)), seed),
        num_created=len(apart),
        num_sources=len(sources.unique()),
        num_real=len(true),
    )


def compare_labels(
    statistic: Statistic, created: Observed, real: Observed, train: Observed | None = None, seed: int = 0
) -> LabelStatistic:
    """How far the labels of the sets lie apart in one property; intervals by leaving out a twentieth in turn."""
    train = train if train and statistic.name in train.shares else None
    sets = {"created": created, "real": real, **({} if train is None else {"train": train})}
    shares = {name: one.shares[statistic.name] for name, one in sets.items()}
    sources = {"created": created.sources_of_keys}
    if train is not None:
        # A distance shrinks with the number of images, so the reference is of as many.
        shares["train"] = shares["train"][train.spread(len(created.keys))]

    def apart(name: str) -> Scores:
        one, other = shares[name], known(shares["real"])
        of = sources.get(name, torch.arange(len(one)))[told(one)]
        ways = {"js": statistic.js} | ({} if statistic.edges is None else {"wasserstein": statistic.wasserstein})
        return {way: _distance(measure, known(one), other, of, seed) for way, measure in ways.items()}

    return LabelStatistic(
        name=statistic.name,
        truth=statistic.truth,
        unit=statistic.unit,
        bins=statistic.bins,
        shares={name: mean_shares(rows) for name, rows in shares.items()},
        created=apart("created"),
        train=None if train is None else apart("train"),
    )


def warnings(created: Observed, real: Observed, train: Observed | None = None) -> list[str]:
    """What a reader of the numbers must know about the sets."""
    notes = []
    few = min(len(created.keys), len(real.keys))
    if few < FEW:
        notes.append(
            f"Too few images for comparisons: n < {FEW} ({len(created.keys)} created, {len(real.keys)} real). FID and "
            "KID of these sets may be held against each other within this table, not against other sets'."
        )
    num_sources = len(created.sources_of_keys.unique())
    if few <= COVERAGE_K or num_sources <= MANIFOLD_K:
        notes.append(
            f"Precision and recall need {MANIFOLD_K + 1} images in each set, created ones of as many sources, density "
            f"and coverage {COVERAGE_K + 1}."
        )
    if set(created.sizes) != set(real.sizes):
        sizes = " and ".join(f"{', '.join(list(one.sizes)[:3])} ({one.name})" for one in (created, real))
        notes.append(f"The sets' image sizes differ: {sizes}; a part of every distance may be that.")
    if num_sources == 1:
        notes.append("All created images are of one source: how near they come to real ones cannot be told by KID.")
    if train is not None and any(not _to_training(name, real, train).median() > 0 for name in train.vectors):
        notes.append("Most of the real images are training images: how new created ones are cannot be told.")
    return notes


def _to_training(name: str, real: Observed, train: Observed) -> Float[Tensor, " n"]:
    """How far each real image is from its nearest training image; 0 where it is one of them."""
    among = train.vectors[name]
    distance = nearest(real.vectors[name], among)[0]
    return torch.where(distance > ROUNDING * among.double().norm(dim=1).median(), distance, 0.0)


def _mean(values: Float[Tensor, " n"], seed: int, sources: Int64[Tensor, " n"] | None = None) -> Score:
    """NaN, which becomes None, where there are no values."""
    return Score.of(float(values.mean()), *bootstrap(values, sources=sources, seed=seed))


def _numbers(score: Score) -> tuple[float, float, float]:
    value, low, high = (nan if number is None else number for number in (score.value, score.low, score.high))
    return value, low, high


def _across(distances: Float[Tensor, "n n"], sources: Int64[Tensor, " n"], seed: int) -> Score:
    """Whole sources are drawn, since images of one are alike."""
    _, numbers = sources.unique(return_inverse=True)
    count = int(numbers.max()) + 1
    draws = torch.randint(count, (200, count), generator=torch.Generator().manual_seed(seed))
    times = torch.zeros(200, count, dtype=torch.float64).scatter_add_(1, draws, torch.ones_like(draws).double())
    low, high = percentiles(across(distances, sources, times[:, numbers]))
    return Score.of(float(across(distances, sources)), low, high)


def _distance(
    measure: Callable[[Tensor, Tensor], float],
    one: Float[Tensor, "n b"],
    other: Float[Tensor, "m b"],
    sources: Int64[Tensor, " n"],
    seed: int,
) -> Score:
    if not len(one) or not len(other):
        return Score.of(nan, nan, nan)

    def of_rows(rows: Tensor, others: Tensor) -> float:
        return measure(one[rows], other[others])

    value = measure(one, other)
    low, high = jackknife(of_rows, sources, torch.arange(len(other)), value=value, seed=seed)
    return Score.of(value, max(low, 0.0), high)
