"""The backbone: conditions, fitting sizes, and the one contract of denoising."""

import pytest
import torch

from denoisight.diffusion.noise import add_noise, over
from denoisight.diffusion.schedule import SCHEDULES
from denoisight.errors import RecipeError
from denoisight.models.backbone import Condition


@pytest.fixture(scope="module")
def backbone(tiny_parts):
    return tiny_parts.backbone


IMAGES = torch.rand(3, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def test_a_condition_is_the_image_in_latents_and_the_words(backbone):
    with torch.no_grad():
        cond = backbone.condition(IMAGES, ["depth", "surface normals", "depth"])
        torch.testing.assert_close(backbone.latents.decode(cond.image), IMAGES * 2 - 1)
        assert torch.equal(cond.text[0], cond.text[2])
        assert not torch.equal(cond.text[0], cond.text[1])
        assert torch.equal(cond.text, backbone.text(["depth", "surface normals", "depth"]))


def test_conditions_join_and_repeat_along_the_batch():
    image, text = torch.arange(2.0).reshape(2, 1, 1, 1), torch.arange(2.0).reshape(2, 1, 1)
    one = Condition(image, text)
    assert one.repeat(3).image.flatten().tolist() == [0, 0, 0, 1, 1, 1]
    assert one.repeat(3).text.flatten().tolist() == [0, 0, 0, 1, 1, 1]
    joined = one.join(Condition(image + 5, text + 5))
    assert joined.image.flatten().tolist() == joined.text.flatten().tolist() == [0, 1, 5, 6]


@pytest.mark.parametrize(("widths", "patch", "granularity"), [((16, 32), 4, 8), ((16, 16, 32), 2, 8), ((16,), 8, 8)])
def test_granularity_is_the_stride_of_the_coarsest_level(tiny_config, make_parts, widths, patch, granularity):
    network = tiny_config.network.model_copy(update={"widths": widths, "patch": patch})
    backbone = make_parts(network=network).backbone
    assert backbone.granularity == granularity
    cond = backbone.condition(torch.rand(1, 3, granularity, 2 * granularity), [""])
    level = backbone.schedule.at(torch.tensor([5]))
    assert backbone(cond.image, level, cond).shape == cond.image.shape


@pytest.mark.parametrize(
    ("size", "longest", "fitted"),
    [
        ((48, 64), 0, (48, 64)),
        ((50, 61), 0, (48, 64)),
        ((480, 640), 64, (48, 64)),
        ((640, 480), 64, (64, 48)),
        ((10, 10), 64, (64, 64)),
        ((1, 1), 0, (8, 8)),
        ((3, 2000), 64, (8, 64)),
        ((2000, 3), 0, (2000, 8)),
    ],
)
def test_images_are_fitted_to_the_granularity(backbone, size, longest, fitted):
    assert backbone.fitting_size(*size, longest) == fitted
    assert backbone.fit(torch.rand(2, 3, *size), longest).shape == (2, 3, *fitted)
    assert backbone.fit(torch.rand(3, *size), longest).shape == (3, *fitted)


def test_an_image_that_fits_is_left_alone(backbone):
    image = torch.rand(3, 48, 64)
    assert backbone.fit(image, 64) is image


def kinds_and_schedules():
    for kind in ("eps", "v", "x0", "flow"):
        for name in ("scaled-linear", "scaled-linear-zero-terminal", "flow"):
            if kind != "eps" or SCHEDULES[name]().alphas[-1] > 0:
                yield kind, name


@pytest.mark.parametrize(("kind", "schedule"), kinds_and_schedules())
def test_denoising_solves_what_the_network_predicts_for_the_clean_image(make_parts, kind, schedule):
    """With the network's output for the target it was trained on, `x` must split into clean and noise again."""
    backbone = make_parts(predicts=kind, schedule=schedule).backbone
    clean, noise = torch.randn(2, 3, 48, 2, 4, generator=torch.Generator().manual_seed(1))
    level = backbone.schedule.at(torch.tensor([100, 500, 900]))
    x = add_noise(clean, noise, level)
    with torch.no_grad():
        cond = backbone.condition(torch.rand(3, 3, 8, 16), ["depth"] * 3)
        output, estimate = backbone(x, level, cond), backbone.denoise(x, level, cond)
    alpha, sigma = over(level.alpha, x), over(level.sigma, x)
    implied = (x - alpha * estimate) / sigma  # the noise that goes with the estimate
    said = {"eps": implied, "x0": estimate, "v": alpha * implied - sigma * estimate, "flow": implied - estimate}
    torch.testing.assert_close(output, said[kind], rtol=1e-3, atol=1e-3)
    assert estimate.shape == x.shape


def test_items_are_denoised_at_their_own_levels(backbone):
    x = torch.randn(2, 48, 4, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        cond = backbone.condition(IMAGES[:2], ["depth", "surface normals"])
        both = backbone.denoise(x, backbone.schedule.at(torch.tensor([10, 800])), cond)
        for i, (own, other) in enumerate([(10, 800), (800, 10)]):
            item = slice(i, i + 1)
            alone = Condition(cond.image[item], cond.text[item])
            at_own, at_other = (
                backbone.denoise(x[item], backbone.schedule.at(torch.tensor([t])), alone)[0] for t in (own, other)
            )
            torch.testing.assert_close(at_own, both[i], atol=1e-5, rtol=0)
            assert not torch.allclose(at_other, both[i], atol=1e-4)


def test_a_network_hears_image_and_words(backbone):
    x = torch.randn(1, 48, 4, 6, generator=torch.Generator().manual_seed(3))
    level = backbone.schedule.at(torch.tensor([500]))
    with torch.no_grad():
        plain = backbone.condition(IMAGES[:1], ["depth"])
        answers = [
            backbone(x, level, cond)
            for cond in (plain, backbone.condition(IMAGES[1:2], ["depth"]), backbone.condition(IMAGES[:1], ["normals"]))
        ]
    assert not torch.allclose(answers[0], answers[1], atol=1e-5)
    assert not torch.allclose(answers[0], answers[2], atol=1e-7)


def test_noise_prediction_refuses_a_schedule_of_pure_noise(make_parts):
    with pytest.raises(RecipeError, match="eps.*choose 'v', 'x0' or 'flow'"):
        make_parts(predicts="eps", schedule="scaled-linear-zero-terminal")
