"""Taps: features by the name of their place, whoever else uses the network at the time."""

import threading
from collections import Counter

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from denoisight.diffusion.schedule import scaled_linear
from denoisight.errors import UsageError
from denoisight.models.backbone import Backbone, Condition
from denoisight.models.latent import AutoencoderLatents
from denoisight.models.taps import Taps, _attended, default_places, every_place
from denoisight.models.text import TextEncoder


@pytest.fixture(scope="module")
def backbone(tiny_parts):
    return tiny_parts.backbone


def inputs(backbone, seed, size=16):
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        cond = backbone.condition(images, ["depth"])
    return cond.image, backbone.schedule.at(torch.tensor([0])), cond


def num_hooks(backbone):
    return sum(len(module._forward_hooks) for module in backbone.unet.modules())


def test_places_run_from_the_middle_up_by_default(backbone):
    assert Taps(backbone).places == default_places(backbone.unet) == ("mid", "up.0", "up.1")


@torch.no_grad()
def test_features_come_in_the_order_asked_for(backbone):
    places = ("up.1", "down.0", "mid")
    taps = Taps(backbone, places)
    features = taps(*inputs(backbone, 0))
    assert [f.shape[1] for f in features] == list(taps.channels)
    for place, feature in zip(places, features, strict=True):
        (alone,) = Taps(backbone, [place])(*inputs(backbone, 0))
        assert torch.equal(alone, feature)


@torch.no_grad()
def test_they_are_what_leaves_the_block(backbone):
    seen = []
    hook = backbone.unet.mid_block.register_forward_hook(lambda module, args, output: seen.append(output))
    (feature,) = Taps(backbone, ["mid"])(*inputs(backbone, 1))
    hook.remove()
    assert torch.equal(feature, seen[-1])


def test_unknown_places_list_the_known_ones(backbone):
    with pytest.raises(
        UsageError, match="middle.*Known: in, down.0, down.0.0, down.0.down, down.1, down.1.0, mid, up.0"
    ):
        Taps(backbone, ["mid", "middle"])


def test_every_place_is_every_layer_and_change_of_size_once(backbone):
    places = Taps(backbone, ["every"]).places
    assert places == every_place(backbone.unet)
    assert places == ("in", "down.0.0", "down.0.down", "down.1.0", "mid", "up.0.0", "up.0.up", "up.1.0", "up.1.1")


def test_those_of_stable_diffusion_are_the_ones_of_diff_2_in_1_measured_without_weights():
    """Of SD 1.5 at 512 pixels: 12 places down, the middle, 12 up; so many channels at each size (methods, 2.2)."""

    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    with torch.device("meta"):
        vae = AutoencoderKL(block_out_channels=(2,) * 4, norm_num_groups=2, latent_channels=4, **kinds)
        unet = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            layers_per_block=2,
            cross_attention_dim=768,
            attention_head_dim=8,
        )
    backbone = Backbone(unet, TextEncoder(16, 1), AutoencoderLatents(vae), scaled_linear(), "eps")
    before = torch.get_rng_state()
    taps = Taps(backbone, ["every"])
    assert torch.equal(torch.get_rng_state(), before)
    sides = Counter()
    for channels, stride in zip(taps.channels, taps.strides, strict=True):
        sides[512 // stride] += channels
    assert sides == {8: 7680, 16: 7040, 32: 4160, 64: 2560}
    downs, ups = ([place for place in taps.places if place.startswith(way)] for way in (("in", "down"), "up"))
    assert len(downs) == len(ups) == 12 and len(taps.places) == 25
    assert downs[:4] == ["in", "down.0.0", "down.0.1", "down.0.down"] and ups[-4:] == [
        "up.2.up", "up.3.0", "up.3.1", "up.3.2",
    ]  # fmt: skip
    assert Taps(backbone).strides == (64, 32, 16, 8, 8)


@torch.no_grad()
def test_a_layer_is_its_attention_where_it_has_one(backbone):
    seen = {}
    block = backbone.unet.down_blocks[1]
    hook = block.attentions[0].register_forward_hook(lambda module, args, output: seen.update(attention=output))
    features = Taps(backbone, ["down.1.0", "down.0.0", "down.0.down", "in"])(*inputs(backbone, 1))
    hook.remove()
    assert not hasattr(backbone.unet.down_blocks[0], "attentions")
    assert torch.equal(features[0], seen["attention"][0])
    assert [f.shape[-1] for f in features] == [2, 4, 2, 4]


@torch.no_grad()
def test_hooks_last_for_one_pass(backbone):
    before = num_hooks(backbone)
    taps = Taps(backbone)
    assert num_hooks(backbone) == before
    taps(*inputs(backbone, 2))
    assert num_hooks(backbone) == before
    x, level, cond = inputs(backbone, 2)
    with pytest.raises(RuntimeError):
        taps(x, level, Condition(cond.image, cond.text[..., :3]))  # words of the wrong width
    assert num_hooks(backbone) == before


def test_gradients_flow_into_the_network(backbone):
    features = Taps(backbone)(*inputs(backbone, 3))
    (gradient,) = torch.autograd.grad(features[-1].sum(), backbone.unet.conv_in.weight)
    assert gradient.abs().sum() > 0


@torch.no_grad()
def test_names_are_told_and_where_they_are_attended_to_is_read(backbone):
    names = ("floor", "wall", "box")
    taps, plain = Taps(backbone, names=names), Taps(backbone)
    assert taps.channels == (*plain.channels, 3) and taps.strides == (*plain.strides, 8)
    x, level, cond = inputs(backbone, 4, size=32)
    seen = []
    blocks = [module for name, module in backbone.unet.named_modules() if name.endswith(".attn2")]
    processors = [block.processor for block in blocks]
    hook = backbone.unet.mid_block.register_forward_hook(lambda module, args, output: seen.append(output))
    features = taps(x, level, cond)
    hook.remove()
    *_, maps = features
    assert maps.shape == (1, 3, 4, 4) and torch.equal(features[0], seen[0]) and num_hooks(backbone) == 0
    # What is attended to sums to one, here to as many as there are names; and the names are what is heard.
    torch.testing.assert_close(maps.sum(1), torch.full((1, 4, 4), 3.0))
    other = Taps(backbone, names=names[::-1])(x, level, cond)
    torch.testing.assert_close(other[-1].flip(1), maps, rtol=1e-4, atol=1e-5)
    assert maps.std() > 0 and [block.processor for block in blocks] == processors
    again = taps(x, level, Condition(cond.image, cond.text + 1))
    assert all(map(torch.equal, features, again))


@torch.no_grad()
def test_where_names_are_attended_to_is_what_the_network_itself_computes(backbone):
    """Against the weights of one attention written out."""
    attention = next(module for name, module in backbone.unet.named_modules() if name.endswith(".attn2"))
    hidden, words = torch.rand(2, 6, attention.to_q.in_features), torch.rand(2, 5, attention.to_k.in_features)
    q, k, v = attention.to_q(hidden), attention.to_k(words), attention.to_v(words)
    q, k, v = (x.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.mT * attention.scale).softmax(-1)
    told = attention.to_out[0]((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(hidden, encoder_hidden_states=words), told)
    maps = _attended(attention, hidden, words, (4, 6))
    torch.testing.assert_close(maps, weights.mean(1).mT.unflatten(-1, (2, 3)))


@pytest.mark.parametrize("names", [(), ("box", "ball")])
def test_two_threads_get_their_own_features(backbone, names):
    taps, rounds = Taps(backbone, (), names), 8
    with torch.no_grad():
        expected = [taps(*inputs(backbone, seed)) for seed in range(2)]
    start, wrong = threading.Barrier(2), []

    @torch.no_grad()
    def ask(seed):
        asked = inputs(backbone, seed)
        start.wait()
        for _ in range(rounds):
            features = taps(*asked)
            if not all(map(torch.equal, features, expected[seed])):
                wrong.append(seed)

    def noted(seed):
        try:
            ask(seed)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=noted, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert num_hooks(backbone) == 0
