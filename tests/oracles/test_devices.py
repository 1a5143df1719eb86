"""A step of each kind of training on weights that are nowhere: they stand for a device that this machine lacks."""

from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from denoisight.annotations import Batch
from denoisight.data.open import open_data
from denoisight.data.unlabelled import Unlabelled
from denoisight.predict.model import task_of
from denoisight.recipes.base import Recipe, override
from denoisight.recipes.improving import self_improve, warm_up
from denoisight.recipes.objective import objective_of
from denoisight.recipes.self_teaching import average_of, self_taught
from denoisight.recipes.start import starting_parts

from .stock_folders import stock_folder

DATA, BESIDE = "scenes:2", {"self_teaching": {"pictures": "scenes:2"}}
READ, DENOISED = ("depth", "normals", "semantic", "saliency"), ("normals", "semantic")
CHANGED = {"self_teaching": {**BESIDE["self_teaching"], "colour": 0.3, "hidden": 0.3, "mirror": True}}
ON_POLICY = {"gt_augment": {"kinds": "on-policy", "schedule": "constant"}}
RECIPES = {
    "heads": warm_up(READ, DATA),
    "heads with adapters": override(warm_up(READ, DATA), {"backbone": "lora"}),
    "heads and the network": override(warm_up(READ, DATA), {"backbone": "full"}),
    "heads that teach themselves": override(self_improve(READ, DATA), CHANGED),
    "all that teaches itself": override(self_improve(READ, DATA), {**BESIDE, "backbone": "full"}),
    "denoising": Recipe(tasks=DENOISED, data=DATA),
    "denoising and creating": override(Recipe(tasks=DENOISED, data=DATA), {"teaching": {"create": 0.5}}),
    "denoising what it makes itself": override(Recipe(tasks=DENOISED, data=DATA), ON_POLICY),
    "denoising that teaches itself": override(self_improve(DENOISED, DATA, "denoise"), BESIDE),
}


class OneDevice(TorchDispatchMode):
    """Refuses what a GPU would: operations on tensors of two devices, but for copies, lone numbers and places named on
    the CPU."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.ndim]
        name = operation.overloadpacket._qualified_op_name
        if name in ("aten::index", "aten::index_put_"):
            tensors = [tensors[0], *(tensor for tensor in tensors[1:] if tensor.device.type != "cpu")]
        if len({tensor.device for tensor in tensors}) > 1 and name not in ("aten::_to_copy", "aten::copy_"):
            raise RuntimeError(f"{name} of {[(tuple(t.shape), t.device.type) for t in tensors]}")
        return operation(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stock_folder(tmp_path_factory.mktemp("stock") / "model", "create")


@pytest.mark.parametrize("start", ["embedded-create", "stock"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_step_is_taken_where_the_weights_are(stock: Path, start: str, name: str) -> None:
    recipe = override(RECIPES[name], {"model": str(stock) if start == "stock" else start, "cache_gb": 0})
    reader = open_data(DATA, "train")
    parts = starting_parts(recipe, reader)
    tasks = tuple(map(task_of, parts.config.reads if recipe.route == "readout" else parts.config.denoises))
    objective = objective_of(recipe, parts, tasks).to("meta").train()
    average = average_of(recipe, objective)
    objective = self_taught(recipe, objective, parts, tasks, average)
    samples = [reader[i] for i in range(2)]
    if recipe.self_teaching.pictures:
        samples += [Unlabelled(open_data(DATA, "train"), reader)[i] for i in range(2)]
    with OneDevice():
        losses = objective(Batch.of(samples).to("meta"), seed=0, step=1)
        losses["loss"].backward()
    everything = [*parts.modules().parameters(), *parts.modules().buffers(), *average.shadow_params, *losses.values()]
    assert {tensor.device.type for tensor in everything} == {"meta"}
    assert any(parameter.grad is not None for parameter in objective.parameters())
    average.step([parameter for parameter in objective.parameters() if parameter.requires_grad])


def test_mixing_is_an_error() -> None:
    there, here = torch.zeros(2, 3, 8, 8, device="meta"), torch.ones(2, dtype=torch.long)
    with OneDevice():
        for mix in (
            lambda: torch.nn.Conv2d(3, 4, 1)(there),
            lambda: torch.cat([there, torch.zeros(1, 3, 8, 8)]),
            lambda: here[here.to("meta")],
        ):
            with pytest.raises(RuntimeError, match="aten::"):
                mix()
        assert (there[here] + 1 + torch.tensor(2.0)).device.type == "meta", "as on a GPU"
