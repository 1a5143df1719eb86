"""Marigold's folders against the pipelines of diffusers: same weights, start latents and steps, same answers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from denoisight.create.synthesize import create_images, synthesize
from denoisight.diffusion.noise import gaussian
from denoisight.errors import RecipeError, UsageError, WeightsError
from denoisight.predict.load import load
from denoisight.recipes.base import Augmentation, Recipe, Teaching
from denoisight.recipes.launch import train
from denoisight.runtime import DTYPES, item_seed

from .stock_folders import PIPELINES, stock_folder

KINDS = ("depth", "normals")
STEPS = 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("stock")
    return {kind: stock_folder(base / kind, kind) for kind in (*KINDS, "create")}


def image() -> torch.Tensor:
    return torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1))


def latents() -> torch.Tensor:
    return torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(2))


def theirs(folder: Path, kind: str, steps: int = STEPS, **scheduler: object) -> np.ndarray:
    pipe = PIPELINES[kind].from_pretrained(folder, torch_dtype=torch.float32)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, **scheduler)
    pipe.set_progress_bar_config(disable=True)
    made = pipe(
        image()[None], num_inference_steps=steps, ensemble_size=1, processing_resolution=0, latents=latents(),
        output_type="np",
    )  # fmt: skip
    return made.prediction[0]


def ours(folder: Path, kind: str, steps: int = STEPS) -> np.ndarray:
    answer = load(folder, "cpu").predict(image(), kind, steps=steps, latents=latents(), res=0).annotation
    pixels = answer.values[None] if kind == "depth" else answer.vectors
    return pixels.movedim(0, -1).numpy()


@pytest.mark.parametrize("steps", [1, 4, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_stock_pipeline(folders: dict[str, Path], kind: str, steps: int) -> None:
    stock = theirs(folders[kind], kind, steps)
    assert stock.std() > 0.05
    np.testing.assert_allclose(ours(folders[kind], kind, steps), stock, atol=1e-4)


@pytest.mark.parametrize(
    "scheduler",
    [
        {"timestep_spacing": "leading", "rescale_betas_zero_snr": False, "prediction_type": "epsilon"},
        {"set_alpha_to_one": True},
        {"timestep_spacing": "linspace"},
        {"prediction_type": "sample"},
    ],
)
def test_other_schedulers_are_followed_too(tmp_path: Path, scheduler: dict[str, object]) -> None:
    folder = stock_folder(tmp_path / "m", "depth", **scheduler)
    np.testing.assert_allclose(ours(folder, "depth"), theirs(folder, "depth"), atol=1e-4)


def test_a_tiny_autoencoder_serves_as_well(tmp_path: Path) -> None:
    folder = stock_folder(tmp_path / "m", "depth", tiny_vae=True)
    np.testing.assert_allclose(ours(folder, "depth"), theirs(folder, "depth"), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_opens_in_the_stock_class(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    load(folders[kind], "cpu").save_pretrained(tmp_path / "ours")
    np.testing.assert_allclose(theirs(tmp_path / "ours", kind), theirs(folders[kind], kind), atol=1e-5)
    np.testing.assert_allclose(ours(tmp_path / "ours", kind), theirs(folders[kind], kind), atol=1e-4)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_the_precision_is_half_the_file(folders: dict[str, Path], dtype: str, tmp_path: Path) -> None:
    """Saved small, opened in float32 by both, and the live model is left as it was."""
    model = load(folders["depth"], "cpu")
    model.save_pretrained(tmp_path / "half", dtype=dtype)
    for part in ("unet", "vae"):
        whole, half = (f / part / "diffusion_pytorch_model.safetensors" for f in (folders["depth"], tmp_path / "half"))
        assert half.stat().st_size < 0.7 * whole.stat().st_size
    answer = ours(tmp_path / "half", "depth")
    np.testing.assert_allclose(answer, theirs(tmp_path / "half", "depth"), atol=1e-4)
    off = np.abs(answer - theirs(folders["depth"], "depth")).max()
    assert 0 < off < 0.05
    assert {p.dtype for p in model.parts.backbone.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", ["depth", "create"])
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_all_of_a_stock_model_goes_where_it_is_told(folders: dict[str, Path], kind: str, dtype: str) -> None:
    """Its autoencoder, too: half the precision answers nearly alike, and nothing stays behind on another device."""
    whole, half = (load(folders[kind], "cpu", each) for each in ("fp32", dtype))
    assert {p.dtype for p in half.parts.backbone.parameters()} == {DTYPES[dtype]}
    if kind == "depth":
        pairs = [model.predict(image(), "depth", steps=2, res=0).annotation.values for model in (whole, half)]
    else:
        how = {"steps": 2, "images": image()[None, :, :, :64], "noise_level": 0.5}
        pairs = [synthesize(model.parts.backbone, ["a b"], [1], **how) for model in (whole, half)]
    assert 0 < (pairs[0] - pairs[1]).abs().mean() < 0.05
    for module in whole.parts.modules().values():
        module.to("meta")
    assert {p.device.type for p in whole.parts.backbone.parameters()} == {"meta"}


def test_a_hash_tells_autoencoders_apart(folders: dict[str, Path]) -> None:
    model, other = (load(folders["create"], "cpu") for _ in range(2))
    assert model.weights_hash == load(folders["create"], "cpu").weights_hash
    next(other.parts.backbone.latents.vae.parameters()).data.add_(1)
    assert model.weights_hash != other.weights_hash


def test_the_comparison_can_fail(folders: dict[str, Path]) -> None:
    """Swapped inputs, another spacing, another scaling: each is seen."""
    stock = theirs(folders["depth"], "depth")
    spoilt = {name: load(folders["depth"], "cpu") for name in ("order", "spacing", "scale", "end")}
    kernel = spoilt["order"].parts.backbone.unet.conv_in.weight.data
    kernel.copy_(kernel.roll(4, dims=1))  # the image's and the target's channels change places
    spoilt["scale"].parts.backbone.latents.vae.register_to_config(scaling_factor=0.3)
    spoilt["spacing"].parts = spoilt["spacing"].parts.with_config(spacing="leading")
    backbone = spoilt["end"].parts.backbone
    backbone.schedule = type(backbone.schedule)("clean", backbone.schedule.alphas, backbone.schedule.sigmas)
    for name, model in spoilt.items():
        answer = model.predict(image(), "depth", steps=STEPS, latents=latents(), res=0).annotation
        assert np.abs(answer.values.numpy()[..., None] - stock).max() > 1e-3, name


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_stable_diffusion_creates_the_same_image(folders: dict[str, Path], guidance: float) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(folders["create"])
    pipe.set_progress_bar_config(disable=True)
    model = load(folders["create"], "cpu")
    seeds = [3, 4]
    start = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(s)) for s in seeds])
    stock = pipe(
        ["ab", "c d"], num_inference_steps=4, guidance_scale=guidance + 1, latents=start, height=64, width=64,
        output_type="pt", negative_prompt=["e", "e"],
    ).images  # fmt: skip
    made = synthesize(model.parts.backbone, ["ab", "c d"], seeds, steps=4, guidance=guidance, negative="e")
    assert stock.std() > 0.05 and (stock[0] - stock[1]).abs().max() > 0.05
    # Our walk ends at the clean point, theirs a step before it; `set_alpha_to_one` makes the two one.
    torch.testing.assert_close(made, stock, rtol=0, atol=1e-3)


def test_creation_walks_on_the_folders_own_grid(tmp_path: Path) -> None:
    """Stable Diffusion 1.5's settings: leading steps with an offset, ending before the clean point."""
    settings = {"timestep_spacing": "leading", "rescale_betas_zero_snr": False, "prediction_type": "epsilon"}
    folder = stock_folder(tmp_path / "m", "create", **settings)
    pipe, model = StableDiffusionPipeline.from_pretrained(folder), load(folder, "cpu")
    pipe.set_progress_bar_config(disable=True)
    start = gaussian((4, 8, 8), [item_seed(0, "000001")])
    stock = pipe("ab", num_inference_steps=6, guidance_scale=1, latents=start, height=64, width=64, output_type="pt")
    (made,) = create_images(model, ["ab"], steps=6, guidance=0.0, size=(64, 64))
    assert stock.images.std() > 0.05
    torch.testing.assert_close(made.image, stock.images[0], rtol=0, atol=1e-3)


def test_start_latents_must_fit(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"\(1, 4, 8, 12\) came, but \(2, 4, 8, 12\) fit"):
        load(folders["depth"], "cpu").predict(image(), "depth", latents=latents(), res=0, ensemble=2)


def test_what_a_stock_folder_cannot_be_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    for tasks in ((), ("depth",)):
        recipe = Recipe(tasks=tasks, data="scenes:8", model=str(folders["depth"]), teaching=Teaching(create=0.5))
        with pytest.raises(RecipeError, match="MarigoldDepthPipeline folder only perceives"):
            train(recipe, tmp_path / "run", quiet=True)


def test_stable_diffusion_must_be_taught_to_perceive(folders: dict[str, Path]) -> None:
    model = load(folders["create"], "cpu")
    with pytest.raises(UsageError, match="denoisight train depth --model FOLDER"):
        model.predict(image(), "depth")
    with pytest.raises(UsageError, match="leave out"):
        create_images(model, ["a very long prompt of letters"])


def damage(folder: Path, what: str) -> None:
    if what == "foreign":
        index = (folder / "model_index.json").read_text()
        (folder / "model_index.json").write_text(index.replace("MarigoldDepthPipeline", "EvilPipeline"))
    elif what == "weights":
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    elif what == "half":
        path = folder / "vae" / "diffusion_pytorch_model.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
    elif what == "config":
        (folder / "unet" / "config.json").write_text("[]")
    elif what == "words":
        (folder / "tokenizer" / "tokenizer.json").unlink()
    elif what == "channels":
        index = (folder / "model_index.json").read_text()
        (folder / "model_index.json").write_text(index.replace("MarigoldDepthPipeline", "StableDiffusionPipeline"))
    elif what == "schedule":
        path = folder / "scheduler" / "scheduler_config.json"
        path.write_text(path.read_text().replace("0.012", "0.5"))


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("foreign", "EvilPipeline"),
        ("weights", "unet holds no whole weights in safetensors .found config.json"),
        ("half", "vae/diffusion_pytorch_model.safetensors is truncated"),
        ("config", "unet/config.json does not hold a JSON object"),
        ("words", "tokenizer holds neither tokenizer.json nor vocab.json"),
        ("channels", "8 channels.*takes 4"),
        ("schedule", "0.5"),
    ],
)
def test_what_cannot_be_opened_is_told_in_one_sentence(tmp_path: Path, what: str, says: str) -> None:
    folder = stock_folder(tmp_path / "m", "depth")
    damage(folder, what)
    with pytest.raises(WeightsError, match=says) as caught:
        load(folder)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 5


@pytest.mark.parametrize(("kind", "task"), [("create", "depth"), ("depth", "depth"), ("depth", "normals")])
def test_a_trained_folder_opens_in_plain_diffusers(
    folders: dict[str, Path], kind: str, task: str, tmp_path: Path
) -> None:
    recipe = Recipe(
        tasks=(task,), data="scenes:8", model=str(folders[kind]), steps=3, batch=2, res=64, predict_steps=4,
        validations=1, validation_images=2, workers=0, threads=1, augment=Augmentation(crop=1.0),
    )  # fmt: skip
    trained = train(recipe, tmp_path / "run", quiet=True).folder / "model"
    np.testing.assert_allclose(ours(trained, task), theirs(trained, task), atol=1e-4)
    assert theirs(trained, task).std() > 0.05
