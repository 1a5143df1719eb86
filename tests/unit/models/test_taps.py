"""Taps: features by the name of their place, whoever else uses the network at the time."""

import threading

import pytest
import torch

from denoisight.errors import UsageError
from denoisight.models.backbone import Condition
from denoisight.models.taps import Taps, default_places


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
    with pytest.raises(UsageError, match="middle.*Known: down.0, down.1, mid, up.0, up.1"):
        Taps(backbone, ["mid", "middle"])


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


def test_two_threads_get_their_own_features(backbone):
    taps, rounds = Taps(backbone), 8
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
