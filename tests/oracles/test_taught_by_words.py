"""Stable Diffusion taught tasks that are asked for in words: edits by instruction, as diffusers' own class makes."""

from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor

from denoisight.annotations import Mask, Query
from denoisight.data.open import open_data
from denoisight.models.folder import Parts
from denoisight.models.stock import EDITING
from denoisight.models.widen import zeroed
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.predict.options import Options
from denoisight.recipes import launch
from denoisight.recipes.base import Augmentation, Optim, Recipe, Teaching
from denoisight.recipes.generalist import generalist
from denoisight.recipes.start import starting_parts
from denoisight.tasks.instruct import INSTRUCT, TEMPLATES

from .stock_folders import PIPELINES, stock_folder

STEPS = 3
PHRASE = "the red box"
SHORT = {
    "data": "scenes:8", "steps": 2, "batch": 2, "res": 64, "validations": 1, "validation_images": 2, "workers": 0,
    "threads": 1, "predict_steps": 2, "optim": Optim(lr=2e-2, warmup=1, ema=0.5), "augment": Augmentation(crop=1.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stock_folder(tmp_path_factory.mktemp("stock") / "create", "create", length=77)


def taught(recipe: Recipe, out: Path) -> Path:
    """The last state of a short run, whatever it is worth."""
    with pytest.MonkeyPatch.context() as patch:
        better = count()
        patch.setattr(launch, "_validate", lambda *_: {"badness": -float(next(better))})
        return launch.train(recipe, out, quiet=True).folder / "model"


def image() -> Tensor:
    return torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1))


def start() -> Tensor:
    return torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(2))


def edited(folder: Path, words: str) -> Tensor:
    pipe = PIPELINES["edit"].from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        words, image()[None], num_inference_steps=STEPS, guidance_scale=1, image_guidance_scale=1, latents=start(),
        output_type="latent",
    ).images[0]  # fmt: skip


@pytest.mark.parametrize("codec", ["mask", "paint"])
def test_referring_is_an_edit_by_its_phrase_in_the_stock_class(folder: Path, tmp_path: Path, codec: str) -> None:
    recipe = Recipe(
        tasks=("referring",), codecs={"referring": codec}, model=str(folder), teaching=Teaching(drop=0.3), **SHORT
    )
    saved = taught(recipe, tmp_path / "run")
    model = load(saved, "cpu")
    assert model.parts.config.stock == EDITING and model.parts.config.denoises[0].codec == codec
    assert not model.parts.config.creates
    # The image is heard now: two steps have moved its channels from zero.
    assert model.parts.backbone.unet.conv_in.weight[:, 4:].abs().max() > 1e-4
    options = Options(steps=STEPS, latents=start(), res=0)
    (answer,) = model.stream([Query(image(), PHRASE)], "referring", options)
    theirs = edited(saved, f"segment {PHRASE}")
    torch.testing.assert_close(answer.latent, theirs, rtol=0, atol=1e-4)
    assert (edited(saved, "segment the blue ball") - theirs).abs().max() > 1e-4, "words matter"
    assert isinstance(answer.annotation, Mask) and answer.annotation.probability.isfinite().all()


def test_the_generalist_hears_every_paraphrase_and_is_an_edit_too(folder: Path, tmp_path: Path) -> None:
    recipe = generalist(data="scenes:8").model_copy(update={**SHORT, "model": str(folder)})
    saved = taught(recipe, tmp_path / "run")
    model = load(saved, "cpu")
    assert model.follows_instructions and model.tasks == recipe.tasks and model.parts.config.stock == EDITING
    says = TEMPLATES["referring"][2].replace("{text}", PHRASE)
    options = Options(steps=STEPS, latents=start(), res=0)
    (answer,) = model.stream([Query(image(), says)], INSTRUCT, options)
    torch.testing.assert_close(answer.latent, edited(saved, says), rtol=0, atol=1e-4)
    # By its name a task is asked for in words that the model heard in training.
    plain = model.predict(image(), "depth", steps=STEPS, latents=start(), res=0)
    torch.testing.assert_close(plain.latent, edited(saved, TEMPLATES["depth"][0]), rtol=0, atol=1e-4)
    for task in recipe.tasks:
        assert model.predict(image(), task, prompt=PHRASE, steps=1).task == task


def started(folder: Path, *tasks: str, **teaching: float) -> Parts:
    recipe = Recipe(tasks=tasks, model=str(folder), data="scenes:2", teaching=Teaching(**teaching))
    return starting_parts(recipe, open_data("scenes:2", "train", ()))


@pytest.mark.parametrize(
    ("tasks", "teaching", "stock"),
    [
        (("depth",), {}, "MarigoldDepthPipeline"),
        (("normals",), {"drop": 0.1}, "MarigoldNormalsPipeline"),
        (("saliency",), {}, "MarigoldDepthPipeline"),
        (("referring",), {}, EDITING),
        (("depth", "normals"), {}, EDITING),
        (("depth",), {"paraphrase": 0.5}, EDITING),
        (("depth",), {"create": 0.5}, EDITING),
    ],
)
def test_it_becomes_an_editing_network_where_words_matter(
    folder: Path, tasks: tuple[str, ...], teaching: dict[str, float], stock: str
) -> None:
    parts = started(folder, *tasks, **teaching)
    assert parts.config.stock == stock and parts.backbone.edits == (stock == EDITING)
    kernel = parts.backbone.unet.conv_in.weight
    assert kernel.shape[1] == 8 and (kernel[:, 4:] == 0).all() == (stock == EDITING)


def test_a_marigold_folder_stays_one(tmp_path: Path) -> None:
    marigold = stock_folder(tmp_path / "m", "depth", length=77)
    parts = started(marigold, "depth", "referring", paraphrase=1.0)
    assert parts.config.stock == "MarigoldDepthPipeline" and not parts.backbone.edits
    assert zeroed(parts.backbone.unet) is parts.backbone.unet
    assert Model(parts).follows_instructions
