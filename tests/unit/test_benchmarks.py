"""What benchmarks check before they time anything can fail; their numbers come of what they say."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from denoisight.recipes.base import override
from denoisight.recipes.improving import self_improve

FOLDER = Path(__file__).parents[2] / "benchmarks"


def opened(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_arms_of_self_improvement_do_the_same_work_or_are_refused() -> None:
    bench = opened("self_improve")
    changes = {"model": "embedded-create", "batch": 4, "res": 64, "device": "cpu"}
    beside = {"pictures": "scenes:8", "mirror": False}
    recipe = override(self_improve(("normals",), "scenes:8"), {**changes, "self_teaching": beside})
    arms, (batch,) = bench.made_arms(recipe, 1)
    assert batch.labelled == (True, True, False, False)
    bench.check(arms, batch)
    for weights in arms["one pass"].average.shadow_params:
        weights.div_(bench.TEACHER)
    with pytest.raises(AssertionError, match="one pass does other work"):
        bench.check(arms, batch)
    for weights in arms["one pass"].average.shadow_params:
        weights.mul_(bench.TEACHER)
    with torch.no_grad():
        next(iter(arms["cached"].module.parts.heads.parameters())).mul_(2)
    with pytest.raises(AssertionError, match="cached does other work"):
        bench.check(arms, batch)


def test_created_sets_are_compared_source_by_source() -> None:
    bench = opened("creation")
    draw = torch.Generator().manual_seed(0)
    usual, real = (torch.randn(400, 8, generator=draw, dtype=torch.float64) for _ in range(2))

    class Seer:
        def see(self, images: list[torch.Tensor]) -> object:
            return type("Seen", (), {"vectors": torch.stack(images)})

    arms = {name: bench.Arm("ddim", 1, 1) for name in (bench.USUAL, "same", "off")}
    done = {bench.USUAL: (1.0, usual), "same": (4.0, usual + 1e-6), "off": (8.0, usual + 0.5)}
    first, same, off = bench.judged(arms, done, real, Seer())
    assert first.worse_by == (0, 0, 0) and (same.ratio, off.ratio) == (4, 8)
    assert same.worse_by[2] - same.worse_by[1] < 1e-4 < off.worse_by[1], "what both share does not scatter"
    assert off.no_worse is None and off.keeps_the_promise, "too few images to tell"
    off.num = same.num = 2000
    assert off.no_worse is False and not off.keeps_the_promise
    same.worse_by = (-1e-6, -2e-6, 1e-6)
    assert same.no_worse and same.keeps_the_promise


def test_a_batch_makes_what_is_made_alone_or_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = opened("creation")
    model = bench.load("embedded-create", "cpu")
    sources = bench.sources_of(model, 2)
    bench.check(model, sources, 0.6)
    create = bench.create
    monkeypatch.setattr(bench, "create", lambda *given: create(*given) + given[1].batch / 100)
    with pytest.raises(AssertionError, match="who is made with them"):
        bench.check(model, sources, 0.6)
