"""Words that correct: away from what a query avoids, whatever company it is in, in one network call a step."""

import pytest
import torch

from denoisight.annotations import Query
from denoisight.errors import UsageError
from denoisight.models.backbone import Condition
from denoisight.predict.denoise import denoise
from denoisight.predict.model import Model

RED, BLUE, LEFT = "the red box", "the blue cone", "the left one"


def query(key="a", text=RED, avoid=(), size=(32, 32)):
    return Query(torch.rand(3, *size, generator=torch.Generator().manual_seed(1)), text, key, avoid)


def latent(model, asked, **options):
    return model.predict(asked, "referring", steps=2, **options).latent


def test_something_to_avoid_changes_the_answer_and_nothing_to_avoid_does_not(tiny_model):
    plain = latent(tiny_model, query())
    assert torch.equal(latent(tiny_model, query(), guidance=0.0), plain)
    assert torch.equal(latent(tiny_model, query(avoid=(BLUE,)), guidance=0.0), plain)
    corrected = latent(tiny_model, query(avoid=(BLUE,)))
    assert (corrected - plain).abs().max() > 1e-3
    assert torch.equal(latent(tiny_model, query(), avoid=BLUE, guidance=1.0), corrected)
    assert (latent(tiny_model, query(), guidance=1.0) - corrected).abs().max() > 1e-3


@pytest.mark.parametrize("negatives", ["mean", "sum"])
@pytest.mark.parametrize("guide", [(0.0, 1.0), (0.6, 1.0)])
def test_the_rule_is_that_of_the_paper(tiny_model, negatives, guide):
    """Step by step: x0 + w (x0 - x0 of each negative), the network called for each by itself."""
    backbone, options = tiny_model.parts.backbone, {"guidance": 1.5, "negatives": negatives, "guide": guide}
    share = 0.75 if negatives == "mean" else 1.5
    asked, plain = query(avoid=(BLUE, LEFT)), tiny_model.predict(query(), "referring", steps=4)

    def by_hand(x, level, cond):
        clean = backbone.denoise(x, level, cond)
        if not guide[0] <= level.t[0] / 1000:
            return clean
        others = [Condition(cond.image, backbone.text([f"segment {phrase}"])) for phrase in (BLUE, LEFT)]
        return clean + sum(share * (clean - backbone.denoise(x, level, other)) for other in others)

    with torch.no_grad():
        cond = backbone.condition(asked.image[None], [f"segment {RED}"])
        *_, last = denoise(backbone, cond, [[0]], steps=4, denoiser=by_hand, start=torch.zeros_like(cond.image))
    ours = tiny_model.predict(asked, "referring", steps=4, latents=torch.zeros_like(cond.image), **options)
    torch.testing.assert_close(ours.latent, last.x[0], rtol=0, atol=1e-5)
    assert (ours.latent - plain.latent).abs().max() > 1e-3


def test_queries_with_different_corrections_share_a_batch(tiny_model):
    asked = [query("a"), query("b", avoid=(BLUE,)), query("c", avoid=(BLUE, LEFT)), query("d", BLUE, (RED,))]
    together = tiny_model.predict(asked, "referring", steps=2, ensemble=2)
    for one, prediction in zip(asked, together, strict=True):
        alone = tiny_model.predict(one, "referring", steps=2, ensemble=2)
        torch.testing.assert_close(prediction.latent, alone.latent, rtol=0, atol=1e-5)
        assert prediction.settings == alone.settings


def test_a_step_is_one_network_call(make_parts):
    model, rows = Model(make_parts()), []
    model.parts.backbone.unet.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    asked = query(avoid=(BLUE, LEFT))
    latent(model, asked)
    latent(model, query(), ensemble=3)
    latent(model, asked, ensemble=3, guide=(0.6, 1.0))
    assert rows == [3, 3, 3, 3, 9, 3]


def test_the_settings_tell_what_was_avoided(tiny_model):
    told = tiny_model.predict(query(avoid=(BLUE, LEFT)), "referring", guide=(0.5, 1.0)).settings
    assert (told["guidance"], told["avoid"], told["guide"]) == (1.0, f"{BLUE}; {LEFT}", "0.5 to 1")
    plain = tiny_model.predict(query(), "referring").settings
    assert (plain["guidance"], plain["avoid"]) == (0.0, "") and "guide" not in plain


def test_mirrored_queries_avoid_the_mirrored_thing():
    assert query(avoid=(LEFT, BLUE)).flip().avoid == ("the right one", BLUE)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"guidance": -0.5}, "guidance is -0.5"),
        ({"guidance": 10.5}, "up to 10"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"guidance": float("inf")}, "guidance is inf"),
        ({"image_guidance": -1.0}, "image_guidance is -1"),
        ({"image_guidance": 1.0}, "networks that edit"),
        ({"guide": (0.5, 0.5)}, "lower one first"),
        ({"guide": (-0.1, 0.5)}, "lower one first"),
        ({"guide": (0.2, 1.5)}, "lower one first"),
        ({"guide": (float("nan"), 1.0)}, "lower one first"),
        ({"negatives": "men"}, "Did you mean 'mean'"),
        ({"avoid": " "}, "is empty"),
        ({"avoid": [BLUE, ""]}, "is empty"),
        ({"avoid": BLUE, "prompt": " "}, "say first what is asked for"),
        ({"avoid": "The  RED box"}, "asked for; name something else"),
        ({"avoid": [BLUE, "the blue  CONE"]}, "twice"),
        ({"avoid": "box " * 200}, "more words than the model takes"),
        ({"avoid": BLUE, "route": "readout"}, "leave guidance out"),
        ({"guidance": 1.0, "route": "readout"}, "leave guidance out"),
    ],
)
def test_corrections_that_make_no_sense_are_refused(tiny_model, asked, says):
    with pytest.raises(UsageError, match=says):
        tiny_model.predict(query().image, "referring", **{"prompt": RED, **asked})


def test_a_task_without_words_cannot_be_corrected(tiny_model):
    with pytest.raises(UsageError, match="asked for; name something else"):
        tiny_model.predict(query().image, "depth", avoid="the box")
