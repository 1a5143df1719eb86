"""What every protocol in the table keeps, on its own data."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from denoisight.annotations import Depth
from denoisight.data.open import open_data, subset
from denoisight.errors import ProtocolError, UsageError
from denoisight.evaluate.baselines import baselines
from denoisight.evaluate.protocols import PROTOCOLS, find, open_images
from denoisight.evaluate.run import evaluate

SHARED = Path(os.environ.get("DENOISIGHT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
EVERY = [protocol for of_name in PROTOCOLS.values() for protocol in of_name]

LISTS = list({(p.data, p.split, p.truth): p for p in reversed(EVERY)}.values())

every_protocol = pytest.mark.parametrize("protocol", EVERY, ids=lambda p: f"{p.name}-{p.task}")
every_list = pytest.mark.parametrize("protocol", LISTS, ids=lambda p: f"{p.name}-{p.truth}")


@pytest.fixture
def images(protocol, monkeypatch):
    """The protocol's own images."""
    monkeypatch.setenv("DENOISIGHT_DATA_DIR", str(SHARED))
    if protocol.data != "scenes" and not (SHARED / protocol.data).is_dir():
        pytest.skip(f"{protocol.data} is not in {SHARED}; set DENOISIGHT_SHARED_DATA")
    return open_images(protocol)


@every_protocol
def test_it_is_found_by_name_and_task(protocol):
    assert find(protocol.name, protocol.task) is protocol
    assert protocol.source
    assert protocol.resize


@every_list
def test_its_images_are_the_frozen_list(protocol, images):
    assert len(images) == protocol.count
    protocol.check(images.keys)
    with pytest.raises(ProtocolError, match="whole list"):
        protocol.check(images.keys[1:])


@every_protocol
def test_the_truth_wins_and_trivial_baselines_do_not(protocol, images):
    few = subset(images, 3)
    truths = {few.keys[i]: few[i].truths[protocol.truth] for i in range(len(few))}
    if isinstance(next(iter(truths.values())), Depth):
        truths = {key: in_gauge(truth, protocol.alignment) for key, truth in truths.items()}

    best = evaluate(lambda queries, seed: [truths[q.key] for q in queries], protocol, few, partial=True)
    assert best.num_empty == 0
    for name, score in best.headline.items():
        if score.value is not None:
            assert score.value == pytest.approx(perfect(best.metrics[name]), abs=0.05 if name == "median" else 1e-3)

    training = open_data(protocol.data, "train", (protocol.truth,)) if protocol.split != "all" else None
    trivial = baselines(protocol, training, limit=3)
    assert trivial or training is None
    for predictor in trivial.values():
        result = evaluate(predictor, protocol, few, partial=True)
        for name in ("abs_rel", "mean", "miou", "pq"):
            if name in result.headline:
                assert result.headline[name].value != pytest.approx(perfect(result.metrics[name]), abs=0.02)


@pytest.mark.parametrize("protocol", [p for p in LISTS if p.range_m], ids=lambda p: p.name)
def test_its_range_holds_nearly_all_of_the_truth(protocol, images):
    """A range in the wrong unit would leave hardly a pixel."""
    near, far = protocol.range_m
    truth = images[0].truths["depth"]
    inside = truth.valid & (truth.values > near) & (truth.values < far)
    assert inside.sum() > 0.98 * truth.valid.sum()


def test_names_are_unique_and_unknown_ones_are_told_the_known():
    assert len({(p.name, p.task) for p in EVERY}) == len(EVERY)
    with pytest.raises(UsageError, match="scenes/test"):
        find("scenes/tset", "depth")
    with pytest.raises(UsageError, match="depth"):
        find("kitchen/test", "semantic")


def test_a_protocol_refuses_half_a_definition():
    depth = find("kitchen/test", "depth")
    for change in ({"range_m": None}, {"alignment": None}, {"classes": ("a",)}):
        with pytest.raises(ProtocolError):
            replace(depth, **change)


def perfect(metric):
    return 0.0 if metric.better == "lower" else 100.0 if metric.unit == "percent" else 1.0


def in_gauge(truth, alignment):
    """What a perfect predictor of the alignment's own gauge answers, everywhere."""
    values = torch.where(truth.valid, truth.values, truth.values[truth.valid].mean())
    everywhere = torch.ones_like(truth.valid)
    if alignment == "none":
        return Depth(values, everywhere)
    if alignment == "depth":
        return Depth(0.1 * values + 0.2, everywhere, "affine")
    if alignment == "disparity":
        return Depth(0.5 / values + 0.1, everywhere, "affine-disparity")
    return Depth(0.3 * values.log() - 1, everywhere, "affine-log")
