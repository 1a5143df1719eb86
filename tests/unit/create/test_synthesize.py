"""Creation on a tiny model with random weights: what it costs, what it hangs on, where it starts."""

import pytest
import torch

from denoisight.create.synthesize import Creation, create_images, stream, synthesize
from denoisight.diffusion.samplers import SAMPLERS
from denoisight.errors import DenoisightError, UsageError
from denoisight.models.backbone import Backbone
from denoisight.predict.model import Model

PROMPTS = ["a red box on a wooden floor in a room", "two blue spheres on a tiled floor in a room"]
SEEDS = [3, 4]
SIZE = (16, 24)


@pytest.fixture
def creates(make_parts):
    return Model(make_parts(creates=True))


@pytest.fixture
def backbone(tiny_parts):
    return tiny_parts.backbone


def make(backbone, prompts=PROMPTS, seeds=SEEDS, **more):
    return synthesize(backbone, prompts, seeds, **{"steps": 3, "size": SIZE, **more})


def spy(monkeypatch):
    """Every call of the network: (x, level, condition)."""
    calls, forward = [], Backbone.forward

    def recorded(self, x, level, cond):
        calls.append((x, level, cond))
        return forward(self, x, level, cond)

    monkeypatch.setattr(Backbone, "forward", recorded)
    return calls


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_makes_images_that_hang_on_words_and_seeds(backbone, sampler):
    made = make(backbone, sampler=sampler)
    assert made.shape == (2, 3, *SIZE) and made.dtype == torch.float32
    assert made.min() >= 0 and made.max() <= 1 and made.std() > 0.05
    assert torch.equal(made, make(backbone, sampler=sampler))
    other_words = make(backbone, ["", PROMPTS[1]], sampler=sampler)
    other_seed = make(backbone, seeds=[5, 4], sampler=sampler)
    for other in (other_words, other_seed):
        assert (other[0] - made[0]).abs().max() > 1e-3
        torch.testing.assert_close(other[1], made[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_an_image_does_not_depend_on_its_batch(backbone, sampler):
    alone = make(backbone, PROMPTS[1:], SEEDS[1:], sampler=sampler, guidance=1.5)
    torch.testing.assert_close(alone, make(backbone, sampler=sampler, guidance=1.5)[1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_a_step_is_one_pass_that_sees_no_image(backbone, monkeypatch, guidance):
    calls = spy(monkeypatch)
    make(backbone, guidance=guidance)
    assert [len(x) for x, _, _ in calls] == [4 if guidance else 2] * 3
    assert calls[0][1].t.tolist() == [999.0] * len(calls[0][0])


def test_guidance_steers_away_from_the_negative_words(backbone):
    plain, guided = make(backbone), make(backbone, guidance=2.0)
    assert (plain - guided).abs().max() > 1e-3
    assert (make(backbone, guidance=2.0, negative="a dark room") - guided).abs().max() > 1e-3
    # Away from the prompt itself there is nowhere to go.
    same = make(backbone, [PROMPTS[0]] * 2, guidance=2.0, negative=PROMPTS[0])
    torch.testing.assert_close(same, make(backbone, [PROMPTS[0]] * 2), rtol=0, atol=1e-4)


@pytest.mark.parametrize("noise_level", [0.1, 0.5, 1.0])
def test_images_are_noised_to_exactly_the_level_and_denoised_from_it(backbone, monkeypatch, noise_level):
    calls = spy(monkeypatch)
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    make(backbone, images=images, noise_level=noise_level)
    x, level, _ = calls[0]
    t = min(round(noise_level * 1000), 999)
    assert level.t.tolist() == [t, t]
    alpha, sigma = backbone.schedule.alphas[t].float(), backbone.schedule.sigmas[t].float()
    noise = (x - alpha * backbone.latents.encode(images * 2 - 1)) / sigma
    assert abs(noise.mean()) < 0.1 and noise.std().item() == pytest.approx(1, abs=0.05)
    again = make(backbone, images=images, noise_level=noise_level)
    assert torch.equal(again, make(backbone, images=images, noise_level=noise_level))


@pytest.mark.parametrize("images", [None, torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))])
@pytest.mark.parametrize("compat", [None, "diffusers"])
def test_fresh_noise_may_be_had_from_images_too(backbone, images, compat):
    given = {"images": images, "compat": compat, "steps": 5}
    plain, fresh, again = (make(backbone, **given, eta=eta) for eta in (0.0, 1.0, 1.0))
    assert torch.equal(fresh, again) and (fresh - plain).abs().max() > 1e-3


def test_little_noise_leaves_an_image_nearly_as_it_was(backbone, monkeypatch):
    """A network that knows the way back to the image is given nothing else than the level to do it from."""
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    clean = backbone.latents.encode(images * 2 - 1)
    monkeypatch.setattr(Backbone, "denoise", lambda self, x, level, cond: clean)
    torch.testing.assert_close(make(backbone, images=images, noise_level=0.3), images, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"noise_level": 0.5}, "without images"),
        ({"images": torch.zeros(2, 3, *SIZE), "noise_level": 0.0}, "noise level of 0.0"),
        ({"images": torch.zeros(2, 3, *SIZE), "noise_level": 1.5}, "noise level of 1.5"),
        ({"sampler": "dmpp-2m"}, "dpmpp-2m"),
    ],
)
def test_a_wrong_call_says_what_to_do(backbone, more, says):
    with pytest.raises(UsageError, match=says):
        make(backbone, **more)


def test_samples_carry_their_words_and_do_not_depend_on_the_batch_size(creates):
    one, two = (create_images(creates, [*PROMPTS, PROMPTS[0]], steps=2, batch=batch) for batch in (1, 2))
    assert [sample.query.text for sample in one] == [*PROMPTS, PROMPTS[0]]
    assert [sample.key for sample in one] == ["000001", "000002", "000003"]
    assert all(sample.image.shape == (3, 32, 32) and not sample.truths for sample in one)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a.image, b.image, rtol=0, atol=1e-4)
    assert (one[0].image - one[2].image).abs().max() > 0.01  # the same words, another key


def test_a_key_fixes_its_noise(creates):
    first = list(stream(creates, PROMPTS, ["a", "b"], Creation(steps=2)))
    swapped = list(stream(creates, PROMPTS[::-1], ["b", "a"], Creation(steps=2)))
    torch.testing.assert_close(first[0].image, swapped[1].image, rtol=0, atol=1e-5)
    other = next(stream(creates, PROMPTS, ["a", "b"], Creation(steps=2, seed=1)))
    assert (other.image - first[0].image).abs().max() > 0.01


def test_a_prompt_says_what_to_avoid(creates):
    asked = [f"{PROMPTS[0]}, not a cone", PROMPTS[0], PROMPTS[1]]
    made, beside = (list(stream(creates, prompts, ["a", "a", "b"], Creation(steps=2, negative=negative)))
                    for prompts, negative in ((asked, ""), ([PROMPTS[0], *asked[1:]], "a cone")))  # fmt: skip
    assert [sample.query.text for sample in made] == [PROMPTS[0], PROMPTS[0], PROMPTS[1]]
    torch.testing.assert_close(made[0].image, beside[0].image, rtol=0, atol=1e-4)
    assert (made[0].image - made[1].image).abs().max() > 1e-3


def test_fresh_noise_is_asked_for_by_eta(creates):
    plain, fresh = (create_images(creates, PROMPTS[:1], steps=3, eta=eta)[0].image for eta in (0.0, 1.0))
    assert (plain - fresh).abs().max() > 1e-3


def test_sizes_are_rounded_to_what_the_model_takes(creates):
    made = create_images(creates, PROMPTS[:1], steps=1, size=(30, 50))
    assert made[0].size == creates.parts.backbone.fitting_size(30, 50)


def test_a_model_that_never_learnt_to_create_says_so(tiny_model):
    with pytest.raises(UsageError, match="never learnt to create"):
        create_images(tiny_model, PROMPTS)


@pytest.mark.parametrize(("setting", "value"), [("steps", 0), ("batch", 0), ("guidance", -1.0), ("eta", 1.5)])
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(UsageError, match=setting):
        Creation(**{setting: value})


def test_what_is_no_number_is_no_image(make_parts):
    backbone = make_parts(creates=True).backbone
    next(backbone.unet.parameters()).data.fill_(torch.nan)
    with pytest.raises(DenoisightError, match=r"NaN or infinity in torch.float32; try --precision"):
        synthesize(backbone, ["a box"], [1], steps=1)
