"""Low-rank adapters: what trains, what resumes, and what diffusers makes of the files."""

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from denoisight.errors import MissingExtraError, RecipeError
from denoisight.models import widen
from denoisight.models.lora import FREE_FILE, add_adapters, fused
from denoisight.predict.load import load
from denoisight.recipes import launch
from denoisight.recipes.base import Augmentation, Optim, Recipe, Teaching

from .stock_folders import PIPELINES, stock_folder

RANK = 3
WAYS = {
    # From which folder, to do what, to become which.
    "creates": ("create", {"teaching": Teaching(create=1.0)}, "create"),
    "perceives": ("create", {"tasks": ("depth",)}, "depth"),
    "does both": ("create", {"tasks": ("depth",), "teaching": Teaching(create=0.5)}, "edit"),
    "edits": ("edit", {"tasks": ("depth",)}, "edit"),
    "still perceives": ("depth", {"tasks": ("depth",)}, "depth"),
    "reads out": ("create", {"tasks": ("depth",), "route": "readout", "backbone": "lora"}, "create"),
}
WIDENED = ("perceives", "does both")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("stock")
    return {kind: stock_folder(base / kind, kind) for kind in ("create", "edit", "depth")}


def recipe(folder: Path, **changes: object) -> Recipe:
    return Recipe(
        data="scenes:8", model=str(folder), lora=RANK, steps=4, batch=2, res=64, validations=1, checkpoint_every=2,
        workers=0, threads=1, augment=Augmentation(crop=1.0), optim=Optim(lr=2e-2, warmup=1, ema=0.5), **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run of each way, made when it is first asked for. Its last state counts as its best."""
    base, made = tmp_path_factory.mktemp("runs"), {}

    def run(way: str) -> Path:
        if way not in made:
            kind, changes, _ = WAYS[way]
            better = count()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(launch, "_validate", lambda *_: {"badness": -float(next(better))})
                made[way] = launch.train(recipe(folders[kind], **changes), base / way, quiet=True).folder
        return made[way]

    return run


def unet_of(folder: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(folder / "unet")


@torch.no_grad()
def says(unet: UNet2DConditionModel) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    x, words = (torch.randn(shape, generator=draw) for shape in ((1, unet.config.in_channels, 8, 8), (1, 7, 16)))
    return unet(x, 400, words).sample


@pytest.mark.parametrize("way", WAYS)
def test_the_base_with_the_adapters_is_the_model(
    folders: dict[str, Path], runs: Callable[[str], Path], way: str
) -> None:
    """The folder opens as it is, in plain diffusers and here; the adapters' file makes the same of the base."""
    kind, _, becomes = WAYS[way]
    model = runs(way) / "model"
    whole = PIPELINES[becomes].from_pretrained(model).unet
    torch.testing.assert_close(says(whole), says(load(model, "cpu").parts.backbone.unet), rtol=0, atol=0)

    base = PIPELINES[kind].from_pretrained(folders[kind])
    if way in WIDENED:
        (widen.zeroed if becomes == "edit" else widen.halved)(base.unet)
        base.unet.load_state_dict(load_file(model / FREE_FILE), strict=False)
    else:
        assert not (model / FREE_FILE).exists()
    before = says(base.unet)
    if hasattr(base, "load_lora_weights"):
        base.load_lora_weights(model)
    else:
        base.unet.load_lora_adapter(model, prefix="unet", weight_name="pytorch_lora_weights.safetensors")
    assert (says(whole) - before).abs().max() > 1e-2
    torch.testing.assert_close(says(base.unet), says(whole), rtol=0, atol=1e-4)


@pytest.mark.parametrize("way", ["does both", "edits", "reads out"])
def test_only_adapters_and_what_is_new_are_trained(
    folders: dict[str, Path], runs: Callable[[str], Path], way: str
) -> None:
    """Optimizer and average hold these and nothing else; everything else ends as it began."""
    base = unet_of(folders[WAYS[way][0]]).state_dict()
    last = runs(way) / "checkpoints" / "step-000004"
    weights = load_file(last / "weights.safetensors")
    heads = [name for name in weights if "heads." in name]
    marks = (".lora_A.", ".lora_B.", *(["unet.conv_in."] if way in WIDENED else []))
    trained = [name for name in weights if any(mark in name for mark in marks)]
    # One level down, the middle, one level up: two attentions each of four projections, but one block more upwards.
    assert len([name for name in trained if ".lora_A." in name]) == 4 * 2 * 4
    assert bool(heads) == (way == "reads out")
    state = torch.load(last / "optimizer.pt", weights_only=True)["state"]
    average = torch.load(last / "average.pt", weights_only=True)["shadow_params"]
    head_count = len(list(load(runs(way) / "model", "cpu").parts.heads.parameters())) if heads else 0
    assert len(state) == len(average) == len(trained) + head_count
    for name, weight in weights.items():
        # A readout keeps its U-Net twice, under two names.
        own = name.split("unet.", 1)[-1].replace(".base_layer", "")
        if own in base and name not in trained:
            assert torch.equal(weight, base[own]), name
    assert all(weights[name].abs().max() > 0 for name in trained)


def test_a_resumed_run_ends_with_the_same_bits(
    folders: dict[str, Path], runs: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, changes, _ = WAYS["does both"]
    half = runs("does both") / "checkpoints" / "step-000002"
    monkeypatch.setattr(launch, "_validate", lambda *_: {"badness": -9.0})
    resumed = launch.train(recipe(folders[kind], **changes), tmp_path / "run", resume=str(half), quiet=True).folder
    for file in ("checkpoints/step-000004/weights.safetensors", "model/unet/diffusion_pytorch_model.safetensors"):
        whole, again = (load_file(run / file) for run in (runs("does both"), resumed))
        assert whole.keys() == again.keys()
        assert not [name for name in whole if not torch.equal(whole[name], again[name])], file
    # The second half did something: the same run stopped there is another model.
    begun, ended = (load_file(folder / "weights.safetensors") for folder in (half, half.with_name("step-000004")))
    assert any(not torch.equal(begun[name], ended[name]) for name in begun if ".lora_B." in name)


def test_adapters_begin_without_effect_and_fusing_leaves_the_live_network_alone(folders: dict[str, Path]) -> None:
    unet = unet_of(folders["create"])
    before = says(unet)
    assert fused(unet) is unet
    add_adapters(unet, RANK)
    torch.testing.assert_close(says(unet), before, rtol=0, atol=0)
    for name, weight in unet.named_parameters():
        assert weight.requires_grad == (".lora_" in name)
        if ".lora_B." in name:
            torch.nn.init.normal_(weight)
    live = {name: weight.clone() for name, weight in unet.state_dict().items()}
    whole = fused(unet)
    assert whole.state_dict().keys() == unet_of(folders["create"]).state_dict().keys()
    torch.testing.assert_close(says(whole), says(unet), rtol=0, atol=1e-3)
    assert (says(whole) - before).abs().max() > 0.1
    assert all(torch.equal(weight, live[name]) for name, weight in unet.state_dict().items())


def test_an_embedded_network_learns_by_adapters_which_its_folder_holds_merged(tmp_path: Path) -> None:
    asked = recipe(Path("embedded-create"), tasks=("normals",), route="readout", backbone="lora")
    better = count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "_validate", lambda *_: {"badness": -float(next(better))})
        launch.train(asked, tmp_path / "run", quiet=True)
    before, after = (load(name, "cpu").parts for name in ("embedded-create", tmp_path / "run"))
    old, new = before.backbone.state_dict(), after.backbone.state_dict()
    changed = {name for name in old if not torch.allclose(old[name], new[name], atol=1e-6)}
    assert old.keys() == new.keys() and changed
    assert all(name.removesuffix(".weight").endswith(("to_q", "to_k", "to_v", "to_out.0")) for name in changed)


def test_what_lora_cannot_be_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    learns = {"tasks": ("depth",)}
    with pytest.raises(RecipeError, match="LoRA adapts a network that knows something.*leave out --lora"):
        launch.train(recipe(Path("new"), **learns), tmp_path / "run", quiet=True)
    wide = recipe(folders["create"], **learns).model_copy(update={"lora": 17})
    with pytest.raises(RecipeError, match="rank of 17 is more than.*16; lower --lora"):
        launch.train(wide, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_adapters_that_are_asked_for_without_a_rank_have_one() -> None:
    assert (Recipe().rank, Recipe(backbone="lora").rank, Recipe(lora=3).rank) == (0, 16, 3)


def test_without_peft_the_extra_is_named(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"denoisight\[lora\]") as caught:
        launch.train(recipe(folders["create"], tasks=("depth",)), tmp_path / "run", quiet=True)
    assert caught.value.exit_code == 4 and not (tmp_path / "run").exists()
