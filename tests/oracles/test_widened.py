"""Networks that learn to take an image: what they say at first, what they are given, what diffusers makes of them."""

from itertools import count
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from denoisight.annotations import Batch
from denoisight.create.synthesize import create_images
from denoisight.data.scenes import Scenes
from denoisight.diffusion import timesteps
from denoisight.diffusion.noise import add_noise, gaussian
from denoisight.errors import UsageError, WeightsError
from denoisight.models import widen
from denoisight.models.backbone import Backbone, Condition
from denoisight.predict.denoise import denoise
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.recipes import launch
from denoisight.recipes.base import Augmentation, Optim, Recipe, Teaching
from denoisight.runtime import generator, item_seed
from denoisight.tasks import make_tasks
from denoisight.train import objectives

from .stock_folders import PIPELINES, stock_folder

STEPS = 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("stock")
    return {kind: stock_folder(base / kind, kind) for kind in ("create", "edit")}


@pytest.fixture(scope="module")
def taught(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each folder taught depth and creation for a few steps at a high rate, so that all its channels count."""
    recipe = Recipe(
        tasks=("depth",), data="scenes:8", steps=4, batch=2, res=64, predict_steps=STEPS, validations=1, workers=0,
        threads=1, augment=Augmentation(crop=1.0), teaching=Teaching(create=0.5, drop=0.1),
        optim=Optim(lr=2e-2, warmup=1, ema=0.5),
    )  # fmt: skip
    base = tmp_path_factory.mktemp("taught")
    with pytest.MonkeyPatch.context() as patch:
        better = count()
        patch.setattr(launch, "_validate", lambda *_: {"badness": -float(next(better))})
        for kind, folder in folders.items():
            launch.train(recipe.model_copy(update={"model": str(folder)}), base / kind, quiet=True)
    return {kind: base / kind / "model" for kind in folders}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def image() -> Tensor:
    return torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1))


def editing(folder: Path) -> Backbone:
    backbone = load(folder, "cpu").parts.backbone
    widen.zeroed(backbone.unet)
    backbone.edits = True
    return backbone


@torch.no_grad()
def says(backbone: Backbone, picture: Tensor) -> Tensor:
    level = backbone.schedule.at(torch.tensor([400]))
    return backbone(noise(1, 4, 8, 12), level, Condition(picture, backbone.text(["ab"])))


def test_zeroed_channels_change_nothing_whatever_the_image(folders: dict[str, Path]) -> None:
    plain = says(load(folders["create"], "cpu").parts.backbone, torch.zeros(1, 4, 8, 12))
    backbone = editing(folders["create"])
    pictures = [torch.zeros(1, 4, 8, 12), 9 * noise(1, 4, 8, 12, seed=1)]
    for picture in pictures:
        torch.testing.assert_close(says(backbone, picture), plain, rtol=0, atol=1e-6)
    backbone.edits = False  # the image where the noisy latents belong
    assert (says(backbone, pictures[1]) - plain).abs().max() > 1e-2
    other = load(folders["create"], "cpu").parts.backbone
    widen.halved(other.unet)
    assert (says(other, pictures[1]) - plain).abs().max() > 1e-2


def test_a_halved_network_begins_as_it_was(folders: dict[str, Path]) -> None:
    """With the noisy latents standing for the image too, the first layer says what it said before."""
    unet = load(folders["create"], "cpu").parts.backbone.unet
    x = noise(1, 4, 8, 12)
    before = unet.conv_in(x)
    torch.testing.assert_close(widen.halved(unet).conv_in(torch.cat([x, x], 1)), before)
    assert unet.config.in_channels == 8


@pytest.mark.parametrize("way", [widen.halved, widen.zeroed])
def test_only_a_network_that_lacks_an_image_is_widened(folders: dict[str, Path], way) -> None:
    wide = load(folders["edit"], "cpu").parts.backbone.unet
    before = wide.conv_in
    assert way(wide).conv_in is before
    inpainting = UNet2DConditionModel.from_config({**wide.config, "in_channels": 9})
    with pytest.raises(WeightsError, match="takes 9 channels and makes 4"):
        way(inpainting)


@pytest.mark.parametrize(
    ("kind", "channels", "says"),
    [
        ("edit", {"in_channels": 9}, "takes 9 channels.*InstructPix2Pix.* takes 8"),
        ("edit", {"in_channels": 4}, "takes 4 channels.*InstructPix2Pix.* takes 8"),
        ("create", {"in_channels": 9}, "takes 9 channels.*StableDiffusionPipeline.* takes 4"),
        ("create", {"out_channels": 8}, "makes 8.* makes 4"),
    ],
)
def test_channels_that_do_not_fit_are_told(tmp_path: Path, kind: str, channels: dict[str, int], says: str) -> None:
    folder = stock_folder(tmp_path / "m", kind)
    config = UNet2DConditionModel.load_config(folder / "unet")
    UNet2DConditionModel.from_config({**config, **channels}).save_pretrained(folder / "unet")
    with pytest.raises(WeightsError, match=says):
        load(folder, "cpu")


@torch.no_grad()
def given(backbone: Backbone, batch: Batch) -> Tensor:
    """What the first layer is given in a step of training."""
    seen: list[Tensor] = []
    hook = backbone.unet.conv_in.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    law = timesteps.law("uniform", backbone.schedule)
    teaching = objectives.Teaching(create=0.5)
    objectives.DenoiseObjective(backbone, make_tasks(["depth"], ()), law, teaching)(batch, seed=0, step=0)
    hook.remove()
    return seen[0]


@torch.no_grad()
def due(backbone: Backbone, batch: Batch) -> Tensor:
    """What InstructPix2Pix would be given, by diffusers' autoencoder alone: the noised target in its scale, then the
    image unscaled; then the image as the target, with no image."""
    vae = backbone.latents.vae
    canvas = make_tasks(["depth"], ())[0].codec.encode(batch.truths["depth"], batch.images).pixels
    target, picture = (vae.encode(pixels).latent_dist.mode() for pixels in (canvas, batch.images * 2 - 1))
    clean = torch.cat([target, picture]) * vae.config.scaling_factor
    keys = [f"{role} {key}" for role in ("depth", "create") for key in batch.keys]
    even = torch.ones(1000)
    t = torch.cat([timesteps.draw(even, 1, generator(0, f"t {key}", 0)) for key in keys])
    fresh = gaussian(clean.shape[1:], [item_seed(0, key, 0) for key in keys])
    beside = torch.cat([picture, torch.zeros_like(picture)])
    return torch.cat([add_noise(clean, fresh, backbone.schedule.at(t)), beside], dim=1)


@pytest.fixture(scope="module")
def batch() -> Batch:
    scenes = Scenes("train", 2, (64, 64))
    return Batch.of([scenes[i] for i in range(2)])


@pytest.mark.parametrize("kind", ["create", "edit"])
def test_training_gives_the_target_scaled_and_then_the_image_unscaled(
    folders: dict[str, Path], kind: str, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = editing(folders[kind])
    expected = due(backbone, batch)
    torch.testing.assert_close(given(backbone, batch), expected, rtol=1e-4, atol=1e-4)
    backbone.edits = False  # swapped, and scaled
    swapped = given(backbone, batch)
    assert (swapped - expected).abs().max() > 0.1
    # The other scale alone, on either side.
    assert (swapped.roll(4, dims=1) - expected).abs().max() > 0.1
    monkeypatch.setattr(
        backbone.latents, "encode", lambda pixels: backbone.latents.vae.encode(pixels).latent_dist.mode()
    )
    backbone.edits = True
    assert (given(backbone, batch) - expected).abs().max() > 0.1


def stock(folder: Path) -> object:
    pipe = PIPELINES["edit"].from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def perceived(model: Model) -> Tensor:
    return model.predict(image(), "depth", steps=STEPS, latents=noise(1, 4, 8, 12), res=0).latent


@pytest.mark.parametrize("kind", ["create", "edit"])
def test_what_was_taught_to_perceive_is_an_edit_in_the_stock_class(taught: dict[str, Path], kind: str) -> None:
    """Swapped inputs, scaled image latents, prompts that are not padded: each is seen."""
    theirs = stock(taught[kind])(
        "depth", image()[None], num_inference_steps=STEPS, guidance_scale=1, image_guidance_scale=1,
        latents=noise(1, 4, 8, 12), output_type="latent",
    ).images[0]  # fmt: skip
    assert load(taught[kind], "cpu").tasks == ("depth",)
    torch.testing.assert_close(perceived(load(taught[kind], "cpu")), theirs, rtol=0, atol=1e-4)
    for fault in ("order", "scale", "padding"):
        model = load(taught[kind], "cpu")
        backbone = model.parts.backbone
        if fault == "order":
            backbone.unet.conv_in.weight.data.copy_(backbone.unet.conv_in.weight.data.roll(4, dims=1))
        elif fault == "scale":
            backbone.latents.unscale = lambda scaled: scaled
        else:
            backbone.text.padded = False
        assert (perceived(model) - theirs).abs().max() > 1e-3, fault


@pytest.mark.parametrize("kind", ["create", "edit"])
def test_what_was_taught_to_create_does_so_without_an_image(taught: dict[str, Path], kind: str) -> None:
    theirs = stock(taught[kind])(
        "ab", torch.zeros(1, 4, 8, 8), num_inference_steps=STEPS, guidance_scale=1, image_guidance_scale=1,
        latents=gaussian((4, 8, 8), [item_seed(0, "000001")]), output_type="pt",
    ).images[0]  # fmt: skip
    (made,) = create_images(load(taught[kind], "cpu"), ["ab"], steps=STEPS, guidance=0.0, size=(64, 64))
    assert theirs.std() > 0.05
    torch.testing.assert_close(made.image, theirs, rtol=0, atol=1e-4)


def test_a_task_is_learnt_without_creation_too(folders: dict[str, Path], tmp_path: Path) -> None:
    recipe = Recipe(
        tasks=("depth",), data="scenes:8", model=str(folders["edit"]), steps=1, batch=2, res=64, validations=1,
        validation_images=2, workers=0, threads=1,
    )  # fmt: skip
    model = load(launch.train(recipe, tmp_path / "run", quiet=True).folder / "model", "cpu")
    assert model.parts.config.stock == "StableDiffusionInstructPix2PixPipeline" and not model.parts.config.creates
    assert model.predict(image(), "depth").annotation.values.isfinite().all()
    with pytest.raises(UsageError, match="creates none"):
        create_images(model, ["ab"])


def test_the_image_of_a_prediction_is_unscaled_where_the_network_edits(folders: dict[str, Path]) -> None:
    backbone, seen = editing(folders["edit"]), []
    backbone.unet.conv_in.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][:, 4:]))
    with torch.no_grad():
        list(denoise(backbone, backbone.condition(image()[None], ["depth"]), [[0]], steps=1))
        raw = backbone.latents.vae.encode(image()[None] * 2 - 1).latent_dist.mode()
    torch.testing.assert_close(seen[0], raw, rtol=1e-4, atol=1e-5)


def test_heads_on_a_stock_network_leave_its_answers_as_they_were(taught: dict[str, Path], tmp_path: Path) -> None:
    """It is widened for its tasks already, and is not once more."""
    recipe = Recipe(
        tasks=("depth",), data="scenes:4", model=str(taught["create"]), route="readout", backbone="frozen", steps=1,
        batch=2, res=64, validations=1, validation_images=2, workers=0, threads=1,
    )  # fmt: skip
    launch.train(recipe, tmp_path / "heads", quiet=True)
    before, after = load(taught["create"], "cpu"), load(tmp_path / "heads", "cpu")
    assert set(after.reads) == set(after.denoises) == {"depth"} and after.task("depth")[1] == "readout"
    first, second = (each.predict(image(), "depth", route="denoise", seed=1) for each in (before, after))
    assert torch.equal(first.annotation.values, second.annotation.values)
