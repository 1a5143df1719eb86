"""Small data in memory that the tests of this folder judge."""

from dataclasses import replace

import pytest
import torch
from small_data import CLASSES, MemoryReader, make_sample

from denoisight.evaluate.protocols import Protocol, list_hash


@pytest.fixture
def reader():
    return MemoryReader(tuple(make_sample(i) for i in range(7)))


@pytest.fixture
def training():
    return MemoryReader(tuple(make_sample(i) for i in range(100, 110)))


@pytest.fixture
def protocols(reader):
    """One protocol a task for `reader`, by task."""
    common = {
        "name": "memory/test",
        "data": "memory",
        "split": "test",
        "count": len(reader),
        "list_hash": list_hash(reader.keys),
        "resize": "prediction to truth",
        "source": "these tests",
    }
    depth = Protocol(**common, task="depth", truth="depth", pooling="per-image", alignment="depth", range_m=(0.1, 10.0))
    return {
        "depth": depth,
        "metric depth": replace(depth, alignment="none"),
        "disparity": replace(depth, alignment="disparity"),
        "log depth": replace(depth, alignment="log"),
        "normals": Protocol(**common, task="normals", truth="normals", pooling="pooled"),
        "semantic": Protocol(**common, task="semantic", truth="semantic", pooling="pooled", classes=CLASSES),
        "referring": Protocol(**common, task="referring", truth="mask", pooling="pooled"),
        "saliency": Protocol(**common, task="saliency", truth="saliency", pooling="pooled"),
        "instances": Protocol(**common, task="instances", truth="instances", pooling="pooled"),
        "detection": Protocol(**common, task="detection", truth="boxes", pooling="pooled", classes=CLASSES),
    }


@pytest.fixture
def oracle(reader):
    """Makes the predictor that knows the truth of one name."""

    def knowing(truth):
        known = {sample.key: sample.truths[truth] for sample in reader.samples}
        if truth == "depth":
            known = {key: replace(d, valid=torch.ones_like(d.valid)) for key, d in known.items()}
        return lambda queries, seed: [known[query.key] for query in queries]

    return knowing
