"""Scenes: the same wherever they are made, true to their own geometry, and spoken of without ambiguity."""

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch

from denoisight.annotations import Batch, mirror_words
from denoisight.data.scenes import CLASSES, PARTS, SPLITS, VERSION, Expression, Scenes, digest
from denoisight.data.scenes.bodies import BODIES, interval, outward
from denoisight.data.scenes.language import PLACES, RELATIONS
from denoisight.data.scenes.materials import COLOURS, SHIFTED_TEXTURES
from denoisight.data.scenes.render import render
from denoisight.data.scenes.textures import TEXTURES
from denoisight.data.scenes.truths import Seen, observe
from denoisight.errors import DataError, UsageError

REFERENCE = Path(__file__).with_name("scenes_reference.npz")
"""`render` of the first two val and the first two shifted scenes at 32x32."""

SPOKEN = 8
"""How many scenes of a split are checked word by word."""


def test_version_is_frozen():
    assert f"scenes-1-{digest()}" == VERSION


def test_renders_are_frozen():
    reference = np.load(REFERENCE)
    views = [render(Scenes(split).scene(i), 32, 32) for split in ("val", "shifted") for i in range(2)]
    rgb = np.stack([view.rgb for view in views]) * 255
    # a pixel on an edge may fall to either side with another mathematics library
    assert (np.abs(rgb - reference["rgb"]) <= 2).mean() > 0.995
    depth = np.stack([view.depth_m for view in views])
    assert np.isclose(depth, reference["depth_m"], rtol=1e-3).mean() > 0.995


def test_items_depend_on_seed_and_index_alone():
    forwards, backwards = Scenes("val", num=6), Scenes("val", num=100)
    first = [forwards[i] for i in range(6)]
    second = [backwards[i] for i in reversed(range(6))][::-1]
    for a, b in zip(first, second, strict=True):
        assert (a.key, a.query.text) == (b.key, b.query.text)
        assert torch.equal(a.image, b.image)
        assert all(torch.equal(a.truths[n].tensors()[k], t) for n in b.truths for k, t in b.truths[n].tensors().items())
    assert forwards.expressions(3) == backwards.expressions(3)
    assert not torch.equal(first[0].image, Scenes("val", seed=1)[0].image)
    assert not torch.equal(first[0].image, first[1].image)


def test_samples_make_a_batch_with_every_truth():
    batch = Batch.of([Scenes("train", size=(48, 64))[i] for i in range(3)])
    assert batch.images.shape == (3, 3, 48, 64)
    assert set(batch.truths) == {
        "depth", "normals", "semantic", "instances", "boxes", "parts", "boundary", "saliency", "mask",
    }  # fmt: skip
    assert batch.keys == ("scenes/train/000000", "scenes/train/000001", "scenes/train/000002")
    assert batch.images.min() >= 0 and batch.images.max() <= 1
    assert batch.truths["depth"].gauge == "metres"
    assert batch.truths["semantic"].classes == CLASSES
    assert Scenes("train").caption(1) == Scenes("train")[1].query.text


def test_splits_share_no_index():
    ranges = sorted(SPLITS.values(), key=lambda r: r.start)
    assert all(a.stop <= b.start for a, b in zip(ranges, ranges[1:], strict=False))
    assert [len(Scenes(split)) for split in SPLITS] == [len(r) for r in SPLITS.values()]


def test_bad_requests_are_refused():
    with pytest.raises(UsageError, match="train"):
        Scenes("training")
    with pytest.raises(DataError, match="1 to 1000"):
        Scenes("val", num=1001)
    with pytest.raises(DataError, match="8"):
        Scenes("val", size=(64, 4))
    with pytest.raises(IndexError):
        Scenes("val", num=3)[3]


@pytest.mark.parametrize("kind", BODIES)
def test_rays_enter_and_leave_bodies_on_their_surface(kind):
    body, rng = BODIES[kind], np.random.default_rng(0)
    origin = rng.normal(size=(3, 4000)).astype(np.float32)
    origin *= 4 / np.linalg.norm(origin, axis=0)
    direction = rng.uniform(-1.6, 1.6, (3, 4000)).astype(np.float32) - origin
    enter, leave = interval(body, origin, direction)
    hit = enter < leave
    assert 0.1 < hit.mean() < 0.9
    middle = origin + (enter + leave) / 2 * direction
    assert (_outside(body, middle[:, hit]) < 1e-3).all()
    for time, sign in ((enter, -1), (leave, 1)):
        point = (origin + time * direction)[:, hit]
        assert np.abs(_outside(body, point)).max() < 1e-3
        assert (np.sign((outward(body, point) * direction[:, hit]).sum(0)) == sign).mean() > 0.995
    for time in np.linspace(0, 2, 41, dtype=np.float32):
        inside = _outside(body, origin + time * direction) < -1e-3
        assert not (inside & ~hit).any()
    assert (_outside(body, body.hull.T) > -1e-6).all()


def _outside(body, point):
    """Negative inside, zero on the surface."""
    parts = list(body.normals @ point - body.offsets[:, None])
    if body.quadric is not None:
        parts.append(body.quadric @ point**2 - body.radius)
    return np.max(parts, axis=0)


def _rays(scene, y, x, size):
    """Directions of unit depth through pixel centres of a square picture, in the camera's frame."""
    half, focal = size / 2, size * scene.camera.focal
    return np.stack([(x + 0.5 - half) / focal, (half - y - 0.5) / focal, -np.ones(np.shape(x))])


@pytest.mark.parametrize("split", ["train", "shifted"])
def test_normals_are_those_of_the_depth(split):
    for i in range(12):
        scene = Scenes(split).scene(i)
        view = render(scene, 96, 96)
        ray = _rays(scene, *np.mgrid[:96, :96], 96)
        point = ray * view.depth_m
        right = point[:, 1:-1, 2:] - point[:, 1:-1, :-2]
        up = point[:, :-2, 1:-1] - point[:, 2:, 1:-1]
        measured = np.cross(right, up, axis=0)
        measured /= np.linalg.norm(measured, axis=0) + 1e-9
        here, smooth = view.normals[:, 1:-1, 1:-1], view.depth_m[1:-1, 1:-1] > 0
        for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
            window = (slice(dy, dy + 94), slice(dx, dx + 94))
            smooth &= view.surface[window] == view.surface[1:-1, 1:-1]
            smooth &= (view.normals[:, *window] * here).sum(0) > 0.97
        assert smooth.mean() > 0.3
        assert (here * measured).sum(0)[smooth].min() > 0.98


def test_normals_are_unit_and_face_the_camera():
    for i in range(8):
        scene = Scenes("train").scene(i)
        view = render(scene, 64, 64)
        valid = view.depth_m > 0
        ray = _rays(scene, *np.mgrid[:64, :64], 64)
        assert np.allclose(np.linalg.norm(view.normals, axis=0)[valid], 1, atol=1e-4)
        assert (view.normals[:, ~valid] == 0).all()
        assert (view.normals * ray).sum(0)[valid].max() < 1e-3


def test_truths_agree_with_one_another():
    for i in range(20):
        scene, sample = Scenes("train").scene(i), Scenes("train")[i]
        truths = sample.truths
        instances, semantic = truths["instances"].ids, truths["semantic"].ids
        for id in instances.unique().tolist():
            names = {CLASSES[c] for c in semantic[instances == id].unique().tolist()}
            assert names == {scene.things[id - 1].kind} if id else names <= {"ground", "wall", "ceiling", "sky"}
        assert torch.equal(truths["depth"].valid, semantic != CLASSES.index("sky"))
        assert torch.equal(truths["depth"].valid, truths["normals"].valid)
        assert (truths["depth"].values[truths["depth"].valid] > 0.3).all()
        salient = instances[truths["saliency"].inside].unique()
        assert len(salient) == 1 and salient.item() > 0
        assert torch.equal(truths["saliency"].inside, instances == salient)


def test_boundaries_are_the_near_side_of_edges():
    for i in range(6):
        view = render(Scenes("train").scene(i), 40, 40)
        depth = np.where(view.depth_m > 0, view.depth_m, np.inf)
        boundary = Scenes("train", size=(40, 40))[i].truths["boundary"].inside.numpy()
        for y in range(1, 39):
            for x in range(1, 39):
                around = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
                farther = [p for p in around if view.surface[p] != view.surface[y, x] and depth[p] > depth[y, x]]
                assert boundary[y, x] == bool(farther)


def test_size_changes_nothing_but_the_sampling():
    same = []
    for i in range(12):
        scene = Scenes("train").scene(i)
        # the centre of a coarse pixel is the centre of the middle one of three by three fine pixels
        coarse, fine = render(scene, 32, 48), render(scene, 96, 144)
        same.append((coarse.surface == fine.surface[1::3, 1::3]).mean())
        assert np.isclose(coarse.depth_m, fine.depth_m[1::3, 1::3], rtol=1e-4).mean() > 0.995
        shrunk = fine.rgb.reshape(3, 32, 3, 48, 3).mean((2, 4))
        assert np.abs(shrunk - coarse.rgb).mean() < 0.04
    assert np.mean(same) > 0.999
    wide, square = render(scene, 32, 48), render(scene, 32, 32)
    assert np.array_equal(wide.surface[:, 8:40], square.surface)


def test_shifted_scenes_show_what_train_never_does():
    def worn(split):
        scenes = [Scenes(split).scene(i) for i in range(60)]
        return scenes, {item.material.texture for scene in scenes for item in (*scene.things, *scene.planes)}

    train, train_textures = worn("train")
    shifted, shifted_textures = worn("shifted")
    assert not train_textures & shifted_textures
    assert shifted_textures == set(SHIFTED_TEXTURES)
    assert train_textures | shifted_textures == {"plain", *TEXTURES}
    assert max(len(scene.things) for scene in train) == 8
    assert np.median([len(scene.things) for scene in shifted]) > 8
    kinds = [{thing.kind for scene in scenes for thing in scene.things} for scenes in (train, shifted)]
    assert kinds == [set(BODIES)] * 2


def test_things_stand_on_something_and_not_in_one_another():
    stacked = 0
    for i in range(80):
        scene = Scenes("train").scene(i)
        for number, thing in enumerate(scene.things):
            bottom = thing.position[1] - thing.shape.drop
            if thing.support is None:
                assert bottom == pytest.approx(0, abs=1e-6)
            else:
                base = scene.things[thing.support]
                stacked += 1
                assert bottom == pytest.approx(base.position[1] - base.shape.drop + base.shape.height, abs=1e-5)
            for other in scene.things[:number]:
                gap = np.hypot(thing.position[0] - other.position[0], thing.position[2] - other.position[2])
                apart = gap > thing.shape.footprint + other.shape.footprint
                assert apart or gap == pytest.approx(0, abs=1e-6)
    assert stacked > 20


def test_shadows_fall_away_from_the_light():
    """The ground is only darker than without a thing where the thing stands between it and the sun."""
    for i in range(60):
        scene = Scenes("train").scene(i)
        if scene.setting == "field" and len(scene.lights) == 1:
            break
    film = replace(scene.film, shot_noise=0.0, read_noise=0.0, blur=0.0)
    thing = replace(scene.things[0], support=None)
    alone = replace(scene, things=(thing,), film=film)
    empty = replace(scene, things=(), film=film)
    with_thing, without = render(alone, 64, 64), render(empty, 64, 64)
    bare = (with_thing.surface == 1) & (without.surface == 0)
    ratio = (with_thing.rgb.sum(0) + 1e-3) / (without.rgb.sum(0) + 1e-3)
    dark = bare & (ratio < 0.8 * np.median(ratio[bare]))
    assert dark.sum() > 5
    ray = _rays(scene, *np.nonzero(dark), 64)
    point = np.float32(scene.camera.position)[:, None] + scene.camera.rotation @ ray * with_thing.depth_m[dark]
    sun = np.float32(scene.lights[0].position)[:, None]
    middle = np.float32(thing.position)[:, None]
    along = ((middle - point) * sun).sum(0)
    assert (along > -thing.shape.footprint).all()
    aside = np.linalg.norm(middle - point - along * sun, axis=0)
    assert aside.max() < np.hypot(thing.shape.footprint, thing.shape.height) + 0.1


def test_pictures_are_neither_dark_nor_empty():
    scenes = [Scenes(split).scene(i) for split in ("train", "shifted") for i in range(20)]
    views = [render(scene, 32, 32) for scene in scenes]
    brightness = np.array([view.rgb.mean() for view in views])
    assert brightness.min() > 0.25 and brightness.max() < 0.75
    covered = [(view.surface < len(scene.things)).mean() for view, scene in zip(views, scenes, strict=True)]
    assert 0.1 < np.mean(covered) < 0.4


@cache
def _spoken(split: str, i: int) -> tuple[tuple[Seen, ...], tuple[Expression, ...]]:
    scene = Scenes(split).scene(i)
    return observe(scene, render(scene, 64, 64)), Scenes(split).expressions(i)


@pytest.mark.parametrize("split", ["train", "shifted"])
def test_each_expression_means_one_thing(split):
    about, hard = Counter(), 0
    for i in range(SPOKEN):
        seen, expressions = _spoken(split, i)
        assert len({e.text for e in expressions}) == len(expressions)
        for expression in expressions:
            assert _meant(expression.text, seen) == [expression.target], expression.text
            shares = {s.id: _shared(expression.text, s, seen) for s in seen if s.id != expression.target}
            assert set(expression.confusers) == {id for id, (share, _) in shares.items() if share}
            assert expression.hard == any(share == words - 1 > 0 for share, words in shares.values())
            about[expression.about] += 1
            hard += expression.hard
    assert set(about) == {"colour", "kind", "size", "place", "relation"}
    assert min(about.values()) >= SPOKEN / 2
    assert hard > 0.3 * about.total()


def test_the_mask_is_of_what_its_phrase_means():
    scenes = Scenes("val", 40)
    kinds = Counter()
    for i in range(len(scenes)):
        sample, meant = scenes[i], scenes.expression(i)
        assert meant in scenes.expressions(i) and sample.phrases == {"mask": meant.text}
        assert torch.equal(sample.truths["mask"].inside, sample.truths["instances"].ids == meant.target)
        assert sample.truths["mask"].inside.any() and sample.truths["mask"].valid.all()
        kinds[meant.about] += 1
    assert len(kinds) >= 4, "phrases of nearly every kind should be drawn"


def test_expressions_hold_in_the_mirror():
    for i in range(SPOKEN):
        seen, expressions = _spoken("train", i)
        mirrored = [replace(s, x=1 - s.x) for s in seen]
        for expression in expressions:
            assert _meant(mirror_words(expression.text), mirrored) == [expression.target], expression.text


def test_captions_name_what_shows():
    numbers = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
    singular = {kind: kind for kind in BODIES} | {f"{kind}s": kind for kind in BODIES} | {"boxes": "box"}
    for i in range(30):
        scene, caption = Scenes("train").scene(i), Scenes("train").caption(i)
        seen = observe(scene, render(scene, 64, 64))
        told = Counter()
        for number, colour, kind in re.findall(rf"(\w+) ({'|'.join(COLOURS)}) (\w+)", caption):
            told[colour, singular[kind]] += numbers[number]
        assert told == Counter((s.colour, s.kind) for s in seen if s.area >= 0.002), caption
        assert caption.endswith("in a room" if scene.setting == "room" else "outdoors")


# an own reading of the words, without the structure that they were made from


def _split(text: str) -> tuple[list[str], str, str, list[str]]:
    """The words of the noun, the place, the relation, and the words of the anchor."""
    relation = next((r for r in RELATIONS if f" {r} the " in text), "")
    head, _, anchor = text.partition(f" {relation} the ") if relation else (text, "", "")
    words = head.removeprefix("the ").split()
    place = words.pop(0) if words[0] in PLACES else ""
    return [w for w in words if w != "thing"], place, relation, anchor.split()


def _has(thing: Seen, words: list[str]) -> bool:
    return set(words) <= {thing.size, thing.colour, thing.kind}


def _related(thing: Seen, relation: str, anchor: Seen) -> bool:
    beside = abs(thing.x - anchor.x) < 0.2
    return {
        "left of": thing.x < anchor.x,
        "right of": thing.x > anchor.x,
        "in front of": thing.depth_m < anchor.depth_m and beside,
        "behind": thing.depth_m > anchor.depth_m and beside,
        "on top of": thing.support == anchor.id,
    }[relation]


def _meant(text: str, seen: list[Seen] | tuple[Seen, ...]) -> list[int]:
    words, place, relation, anchor_words = _split(text)
    fitting = [s for s in seen if _has(s, words)]
    if place:
        key = {
            "leftmost": lambda s: s.x,
            "rightmost": lambda s: -s.x,
            "nearest": lambda s: log(s.depth_m),
            "farthest": lambda s: -log(s.depth_m),
        }[place]
        ordered = sorted(fitting, key=key)
        assert key(ordered[1]) - key(ordered[0]) >= 0.05, f"{text} is a close call"
        return [ordered[0].id]
    if relation:
        (anchor,) = [s for s in seen if _has(s, anchor_words)]
        fitting = [s for s in fitting if s.id != anchor.id and _related(s, relation, anchor)]
    return [s.id for s in fitting]


def _shared(text: str, thing: Seen, seen: list[Seen] | tuple[Seen, ...]) -> tuple[int, int]:
    """How many of an expression's words are true of a thing, and how many there are."""
    words, place, relation, anchor_words = _split(text)
    share = sum(_has(thing, [word]) for word in words)
    if relation:
        (anchor,) = [s for s in seen if _has(s, anchor_words)]
        share += thing.id != anchor.id and _related(thing, relation, anchor)
    return share, len(words) + bool(place or relation)


def test_boxes_are_those_of_the_instances():
    for i in range(6):
        truths = Scenes("val")[i].truths
        boxes, ids = truths["boxes"], truths["instances"].ids
        assert len(boxes.ids) == len(ids.unique()) - 1 and boxes.valid.all()
        inside = torch.zeros_like(ids, dtype=torch.bool)
        for left, top, right, bottom in boxes.xyxy.long().tolist():
            inside[top:bottom, left:right] = True
            edges = (
                ids[top, left:right],
                ids[bottom - 1, left:right],
                ids[top:bottom, left],
                ids[top:bottom, right - 1],
            )
            assert set.intersection(*(set(edge.tolist()) - {0} for edge in edges)), "one thing touches all four sides"
        assert inside[ids > 0].all()


def test_parts_are_the_tops_and_sides_of_things():
    looking_up, aside = [], []
    for i in range(12):
        scenes = Scenes("val")
        sample, up = scenes[i], torch.from_numpy(scenes.scene(i).camera.rotation[1].copy())
        parts, things = sample.truths["parts"], sample.truths["instances"].ids > 0
        assert parts.classes == PARTS and torch.equal(parts.ids > 0, things)
        rise = torch.einsum("c,chw->hw", up, sample.truths["normals"].vectors)
        looking_up.append(rise[parts.ids == 1])
        aside.append(rise[parts.ids == 2])
    assert torch.cat(looking_up).min() > 0.5 > torch.cat(aside).max()
    assert len(torch.cat(looking_up)) > 100 and len(torch.cat(aside)) > 100


def test_bare_scenes_are_the_same_pictures_and_captions():
    bare, whole = Scenes("train", 3, annotated=False), Scenes("train", 3)
    for i in range(3):
        assert bare[i].truths == {} and bare[i].query.text == whole[i].query.text and bare[i].key == whole[i].key
        assert torch.equal(bare[i].image, whole[i].image)
