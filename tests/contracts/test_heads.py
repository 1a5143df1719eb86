"""Heads on every kind of network: built from what its taps publish, never from a table of known networks."""

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from denoisight.diffusion.schedule import scaled_linear
from denoisight.models.backbone import Backbone
from denoisight.models.embedded import Network, build
from denoisight.models.heads import Heads, Neck
from denoisight.models.latent import AutoencoderLatents
from denoisight.models.taps import Taps
from denoisight.models.text import TextEncoder
from denoisight.tasks import make_tasks

CHANNELS = {task.name: task.head.channels for task in make_tasks("all", ("floor", "wall", "box"))}


def embedded(**sizes):
    return build(Network(text_width=16, text_layers=1, **sizes), scaled_linear(), "x0")


def stable_diffusion_shaped():
    """Latents of an autoencoder, attention at the fine levels, two layers a block, as in Stable Diffusion."""
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    )
    unet = UNet2DConditionModel(
        in_channels=8,
        out_channels=4,
        block_out_channels=(8, 16, 16),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    return Backbone(unet, TextEncoder(16, 1), AutoencoderLatents(vae), scaled_linear(), "v")


NETWORKS = {
    "one level": (lambda: embedded(widths=(16,), patch=4), ()),
    "two levels": (lambda: embedded(widths=(16, 32), patch=4), ()),
    "three levels, small patches, two layers": (lambda: embedded(widths=(16, 32, 16), patch=2, layers=2), ()),
    "large patches, some places": (lambda: embedded(widths=(16, 32), patch=8), ("up.1", "down.0", "mid")),
    "every place": (lambda: embedded(widths=(16, 32), patch=4), ("every",)),
    "stable diffusion": (stable_diffusion_shaped, ()),
    "every place of stable diffusion": (stable_diffusion_shaped, ("every",)),
}


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS)
def backbone_and_taps(request):
    make, places = request.param
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = make().eval()
        return backbone, Taps(backbone, places)


def features_of(backbone, taps, images):
    cond = backbone.condition(images, [""] * len(images))
    return taps(cond.image, backbone.schedule.at(torch.zeros(len(images), dtype=torch.long)), cond)


@pytest.mark.parametrize("how", [{}, {"exchange": True}, {"levels": 1}], ids=["pyramid", "exchange", "one level"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 4)])
def test_every_head_answers_at_full_resolution(backbone_and_taps, shape, how):
    backbone, taps = backbone_and_taps
    heads = Heads(taps.channels, taps.strides, CHANNELS, **how)
    step = backbone.granularity * 2
    images = torch.rand(2, 3, shape[0] * step, shape[1] * step)
    outputs = heads(features_of(backbone, taps, images), images, list(CHANNELS))
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        name: (2, count, *images.shape[-2:]) for name, count in CHANNELS.items()
    }


def test_published_channels_and_strides_are_those_of_the_features(backbone_and_taps):
    backbone, taps = backbone_and_taps
    height, width = 2 * backbone.granularity, 4 * backbone.granularity
    with torch.no_grad():
        features = features_of(backbone, taps, torch.rand(1, 3, height, width))
    assert len(features) == len(taps.places) == len(taps.channels) == len(taps.strides)
    for feature, channels, stride in zip(features, taps.channels, taps.strides, strict=True):
        assert feature.shape == (1, channels, height // stride, width // stride)


def test_every_weight_of_the_neck_and_of_the_asked_heads_learns(backbone_and_taps):
    backbone, taps = backbone_and_taps
    heads = Heads(taps.channels, taps.strides, CHANNELS)
    images = torch.rand(1, 3, 2 * backbone.granularity, 2 * backbone.granularity)
    with torch.no_grad():
        features = features_of(backbone, taps, images)
    heads(features, images, ["depth"])["depth"].square().sum().backward()
    for name, weights in heads.named_parameters():
        asked = name.startswith(("neck", "heads.depth"))
        assert (weights.grad is not None and weights.grad.abs().sum() > 0) == asked, name


def test_the_neck_adds_from_coarse_to_fine():
    neck = Neck((4, 6, 8), (4, 16, 8), width=16)
    assert neck.strides == [16, 8, 4, 2] and neck.widths == [16, 16, 16, 8]
    features = [torch.rand(1, 4, 8, 12), torch.rand(1, 6, 2, 3), torch.rand(1, 8, 4, 6)]
    pyramid = neck(features)
    assert [tuple(level.shape[1:]) for level in pyramid] == [(16, 2, 3), (16, 4, 6), (16, 8, 12), (8, 16, 24)]
    # A feature reaches its own level and every finer one.
    for i, first in enumerate([2, 0, 1]):
        changed = neck([f + torch.rand(f.shape[1:]) if i == j else f for j, f in enumerate(features)])
        same = [torch.equal(one, other) for one, other in zip(pyramid, changed, strict=True)]
        assert same == [True] * first + [False] * (4 - first)


@pytest.mark.parametrize(
    ("strides", "levels", "expected"),
    [
        ((64, 32, 16, 8, 8), 5, [64, 32, 16, 8, 4]),  # as Stable Diffusion
        ((16, 8, 4, 4), 5, [16, 8, 4, 2]),  # as the embedded model
        ((16, 8, 4, 4), 1, [4]),
        ((8,), 5, [8, 4, 2]),
        ((2,), 5, [2]),
        ((64, 32, 16, 8, 4, 2), 5, [32, 16, 8, 4, 2]),
        ((64, 8), 2, [64, 8]),
    ],
)
def test_a_pyramid_has_five_levels_unless_its_pixels_end(strides, levels, expected):
    neck = Neck((8,) * len(strides), strides, width=32, levels=levels)
    assert neck.strides == expected
    features = [torch.rand(1, 8, 64 // stride, 128 // stride) for stride in strides]
    assert [level.shape[-1] for level in neck(features)] == [128 // stride for stride in expected]


def test_models_saved_before_the_pyramid_open():
    """Their files hold these weights, and one level is what they had: the finest stride alone."""
    parts = ("neck.inward.0", "neck.inward.1", "neck.mix.0", "neck.mix.1")
    head = ("heads.depth.paint.0", "heads.depth.sharpen.1", "heads.depth.sharpen.3")
    heads = Heads((6, 8), (8, 4), {"depth": 1}, levels=1)
    assert set(heads.state_dict()) == {f"{part}.{end}" for part in parts + head for end in ("weight", "bias")}
    coarse, fine, image = torch.rand(1, 6, 2, 2), torch.rand(1, 8, 4, 4), torch.rand(1, 3, 16, 16)
    neck, head = heads.neck, heads.heads["depth"]
    up = torch.nn.functional.interpolate(neck.inward[0](coarse), (4, 4), mode="bilinear", align_corners=False)
    expected = head(neck.mix(neck.inward[1](fine) + up), image)
    assert torch.equal(heads([coarse, fine], image, ["depth"])["depth"], expected)


def test_exchanging_heads_hear_each_other_and_others_do_not():
    image, features = torch.rand(1, 3, 16, 16), [torch.rand(1, 8, 4, 4)]
    for exchange in (False, True):
        heads = Heads((8,), (4,), {"depth": 1, "normals": 3, "semantic": 4}, exchange=exchange)
        before = heads(features, image, ["depth"])["depth"]
        with torch.no_grad():
            heads.heads["semantic"].own.weight.add_(1.0)
        assert torch.equal(heads(features, image, ["depth"])["depth"], before) != exchange
        heads(features, image, ["depth"])["depth"].sum().backward()
        assert (heads.heads["normals"].own.weight.grad is not None) == exchange
    # The gate shuts the others out.
    with torch.no_grad():
        heads.exchange.gate["depth"].weight.zero_()
        heads.exchange.gate["depth"].bias.fill_(-200.0)
    view = heads.heads["depth"].view(heads.neck(features))
    torch.testing.assert_close(heads(features, image, ["depth"])["depth"], heads.heads["depth"](view, image))


def test_only_the_tasks_asked_for_are_answered():
    heads = Heads((8,), (4,), {"depth": 1, "normals": 3})
    image, features = torch.rand(1, 3, 16, 16), [torch.rand(1, 8, 4, 4)]
    both = heads(features, image, ["normals", "depth"])
    assert list(both) == ["normals", "depth"]
    assert list(heads(features, image, ["depth"])) == ["depth"]
    torch.testing.assert_close(heads(features, image, ["depth"])["depth"], both["depth"])
