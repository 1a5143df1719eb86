"""InstructPix2Pix folders against the pipeline of diffusers: same weights, start latents and steps, same edit."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from denoisight.annotations import Query
from denoisight.create.edit import edit_images
from denoisight.create.synthesize import create_images
from denoisight.diffusion.noise import gaussian
from denoisight.errors import UsageError
from denoisight.models.folder import TaskEntry
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.recipes.base import Recipe
from denoisight.recipes.launch import train
from denoisight.runtime import item_seed

from .stock_folders import PIPELINES, stock_folder

STEPS = 4
SETTINGS = {"timestep_spacing": "leading", "rescale_betas_zero_snr": False, "prediction_type": "epsilon"}
"""Those of InstructPix2Pix, whose training was Stable Diffusion 1.5's."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stock_folder(tmp_path_factory.mktemp("stock") / "edit", "edit", **SETTINGS)


def image() -> torch.Tensor:
    return torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1))


def theirs(folder: Path, text: float, image_scale: float, negative: str = "") -> torch.Tensor:
    pipe = PIPELINES["edit"].from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        "ab", image()[None], num_inference_steps=STEPS, guidance_scale=text, image_guidance_scale=image_scale,
        negative_prompt=negative, latents=gaussian((4, 8, 12), [item_seed(0, "000001")]), output_type="pt",
    ).images[0]  # fmt: skip


def ours(model: Model, text: float = 4.0, image_scale: float = 1.5, negative: str = "e") -> torch.Tensor:
    (made,) = edit_images(
        model, [image()], ["ab"], steps=STEPS, guidance=text - 1, image_guidance=image_scale - 1, negative=negative
    )
    return made.image


@pytest.mark.parametrize("negative", ["", "e"])
@pytest.mark.parametrize(("text", "image_scale"), [(1.0, 1.0), (4.0, 1.0), (7.5, 1.5)])
def test_edits_are_those_of_the_stock_pipeline(folder: Path, text: float, image_scale: float, negative: str) -> None:
    stock = theirs(folder, text, image_scale, negative)
    assert stock.std() > 0.05
    torch.testing.assert_close(ours(load(folder, "cpu"), text, image_scale, negative), stock, rtol=0, atol=1e-4)


@pytest.mark.parametrize("avoid", ["", "e"])
@pytest.mark.parametrize(("text", "image_scale"), [(4.0, 1.0), (7.5, 1.5)])
def test_a_correction_is_the_negative_prompt_of_the_stock_pipeline(
    folder: Path, text: float, image_scale: float, avoid: str
) -> None:
    """As perception asks: what is to be avoided stands in the place of the empty prompt, in every branch."""
    referring = TaskEntry(name="referring", codec="paint", prompt="{text}")
    model = Model(load(folder, "cpu").parts.with_config(denoises=(referring,)))
    asked = {"steps": STEPS, "res": 0, "guidance": text - 1, "image_guidance": image_scale - 1}
    query = Query(image(), "ab", "000001", (avoid,) if avoid else ())
    answer = model.predict(query, "referring", **asked)
    with torch.no_grad():
        edited = (model.parts.backbone.latents.decode(answer.latent[None])[0] / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(edited, theirs(folder, text, image_scale, avoid), rtol=0, atol=1e-4)


def test_what_is_saved_opens_in_the_stock_class(folder: Path, tmp_path: Path) -> None:
    load(folder, "cpu").save_pretrained(tmp_path / "ours")
    torch.testing.assert_close(theirs(tmp_path / "ours", 4.0, 1.5, "e"), theirs(folder, 4.0, 1.5, "e"))
    torch.testing.assert_close(ours(load(tmp_path / "ours", "cpu")), ours(load(folder, "cpu")))


def test_the_comparison_can_fail(folder: Path) -> None:
    """Swapped inputs, scaled image latents, another spacing, other words to keep away from: each is seen."""
    stock = theirs(folder, 4.0, 1.5, "e")
    spoilt = {name: load(folder, "cpu") for name in ("order", "scale", "spacing")}
    kernel = spoilt["order"].parts.backbone.unet.conv_in.weight.data
    kernel.copy_(kernel.roll(4, dims=1))
    latents = spoilt["scale"].parts.backbone.latents
    latents.unscale = lambda scaled: scaled
    spoilt["spacing"].parts = spoilt["spacing"].parts.with_config(spacing="trailing")
    for name, model in spoilt.items():
        assert (ours(model) - stock).abs().max() > 1e-3, name
    assert (ours(load(folder, "cpu"), negative="") - stock).abs().max() > 1e-3


def test_photographs_come_by_path_and_keep_their_name(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (96, 64), (200, 30, 30)).save(tmp_path / "photo.png")
    (made,) = edit_images(load(folder, "cpu"), [tmp_path / "photo.png"], ["a"], steps=1)
    assert made.key == "photo" and made.image.shape == (3, 64, 96)


def test_what_editing_cannot_be_is_told(folder: Path) -> None:
    model = load(folder, "cpu")
    with pytest.raises(UsageError, match="one for each"):
        edit_images(model, [image()], [])
    with pytest.raises(UsageError, match="0 for none"):
        edit_images(model, [image()], ["a"], guidance=-1)
    with pytest.raises(UsageError, match="edits images but creates none"):
        create_images(model, ["a"])
    with pytest.raises(UsageError, match="denoisight train depth --model FOLDER --data DIR$"):
        model.predict(image(), "depth")
    with pytest.raises(UsageError, match="does not edit"):
        edit_images(load("embedded", "cpu"), [image()], ["a"])


def test_an_editing_network_can_be_read_out(folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        tasks=("depth",), route="readout", data="scenes:8", model=str(folder), steps=2, batch=2, res=64,
        validations=1, validation_images=2, workers=0, threads=1,
    )  # fmt: skip
    trained = train(recipe, tmp_path / "run", quiet=True).folder / "model"
    assert load(trained, "cpu").predict(image(), "depth").annotation.values.isfinite().all()
