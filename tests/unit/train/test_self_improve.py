"""Pictures without truths are taught what the averaged weights see on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch

from denoisight.annotations import IGNORE, Batch, Boxes, Sample
from denoisight.data.open import open_data
from denoisight.data.readers import Reader
from denoisight.data.scenes import CLASSES
from denoisight.data.unlabelled import Joined, Unlabelled
from denoisight.diffusion.timesteps import law
from denoisight.errors import UsageError
from denoisight.models.embedded import Network
from denoisight.models.folder import ModelConfig, Parts, TaskEntry, assemble
from denoisight.predict.readout import features
from denoisight.tasks import Reading, make_tasks
from denoisight.train.cache import FeatureCache
from denoisight.train.ema import Averaged, averaged, decay_of, trained
from denoisight.train.objectives import DenoiseObjective, ReadoutObjective, Teaching
from denoisight.train.self_improve import DenoiseTeacher, ReadoutTeacher, SelfTaught, SelfTeaching, answered
from denoisight.train.views import with_gaps

TASKS = make_tasks(["depth", "normals", "semantic", "saliency"], CLASSES)
NAMES = [task.name for task in TASKS]


def parts() -> Parts:
    torch.manual_seed(0)
    entries = tuple(TaskEntry(name=task.name, classes=task.classes) for task in TASKS)
    network = Network(widths=(16, 32), text_width=16, text_layers=1)
    config = ModelConfig(name="tiny", network=network, reads=entries, denoises=entries)
    return assemble(config, {task.name: task.head.channels for task in TASKS})


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Three labelled scenes and two without truths."""
    scenes = open_data("scenes:3", "train", NAMES, size=(32, 32))
    reader = Joined((scenes, Unlabelled(open_data("scenes:2", "val", size=(32, 32)), scenes)))
    return Batch.of([reader[i].only(NAMES) for i in range(len(reader))])


EVEN = SelfTeaching()


def self_taught(how: SelfTeaching = EVEN) -> tuple[SelfTaught, Parts]:
    made = parts()
    made.backbone.requires_grad_(False)
    objective = ReadoutObjective(made, TASKS)
    heads = Averaged(made.heads, averaged(objective, 0.9, steady=True))
    teacher = ReadoutTeacher(lambda look, batch, names: heads(look(batch), batch.images, names), TASKS, how.mirror)
    return SelfTaught(objective, teacher, how), made


def test_pictures_without_truths_come_after_the_others_with_nothing_known(batch: Batch) -> None:
    assert batch.labelled == (True, True, True, False, False) and batch.unlabelled == [3, 4]
    assert all(key.startswith("unlabelled/") == (place > 2) for place, key in enumerate(batch.keys))
    known = {name: truth.valid.flatten(1).any(1).tolist() for name, truth in batch.truths.items()}
    assert known == {name: [True, True, True, False, False] for name in NAMES}


@dataclass(frozen=True)
class UpToScaleAndShift:
    """Another reader's samples, whose depth nobody knows in metres: as heads label created pictures."""

    reader: Reader

    def __getattr__(self, name: str) -> object:
        return getattr(self.reader, name)

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, i: int) -> Sample:
        sample = self.reader[i]
        depth = replace(sample.truths["depth"], values=sample.truths["depth"].values / 2 + 3, gauge="affine")
        return replace(sample, truths={**sample.truths, "depth": depth})


@pytest.mark.parametrize("turned", [False, True])
def test_depth_in_metres_and_up_to_scale_and_shift_are_learnt_together(turned: bool) -> None:
    scenes = open_data("scenes:1", "train", NAMES, size=(32, 32))
    readers = (scenes, UpToScaleAndShift(scenes))
    reader = Joined(readers[::-1] if turned else readers)
    batch = Batch.of([reader[i].only(NAMES) for i in range(2)])
    assert batch.truths["depth"].gauge == "affine"
    losses = [ReadoutObjective(parts(), TASKS)(batch.take([place]), seed=0, step=0)["depth"] for place in (0, 1)]
    assert torch.allclose(*losses, rtol=1e-4)


def test_a_labelled_batch_is_taught_as_without_a_teacher(batch: Batch) -> None:
    objective, made = self_taught()
    labelled = batch.take([0, 1, 2])
    plain = ReadoutObjective(made, TASKS)(labelled, seed=0, step=0)
    taught = objective(labelled, seed=0, step=0)
    assert all(torch.equal(plain[name], taught[name]) for name in plain)


def test_created_pictures_count_by_their_weight_where_a_batch_has_no_others(batch: Batch) -> None:
    """Their labelled neighbours may be in another part of the step, or with another process."""
    alone = batch.take([3, 4])
    whole, half = (self_taught(SelfTeaching(weight=weight))[0](alone, seed=0, step=0) for weight in (1.0, 0.5))
    assert half["loss"].item() == pytest.approx(0.5 * whole["loss"].item()) and half["created"] == whole["created"]
    assert self_taught(SelfTeaching(ramp=10))[0](alone, seed=0, step=0)["loss"] == 0


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_the_loss_is_the_mean_over_pictures_of_both_kinds(batch: Batch, weight: float) -> None:
    objective, made = self_taught(SelfTeaching(weight=weight))
    plain = ReadoutObjective(made, TASKS)
    created = batch.take([3, 4])
    told = answered(created, objective.teacher(created, lambda asked: features(made, asked.images), 0, 0))
    real, own = (plain(some, seed=0, step=0) for some in (batch.take([0, 1, 2]), told))
    mixed = objective(batch, seed=0, step=0)
    for name in (*NAMES, "loss"):
        expected = (3 * real[name] + weight * 2 * own[name]) / (3 + weight * 2)
        torch.testing.assert_close(mixed[name], expected)
    torch.testing.assert_close(mixed["created"], own["loss"])


def test_a_ramp_begins_without_the_created_ones(batch: Batch) -> None:
    objective, made = self_taught(SelfTeaching(ramp=100))
    real = ReadoutObjective(made, TASKS)(batch.take([0, 1, 2]), seed=0, step=0)["loss"]
    torch.testing.assert_close(objective(batch, seed=0, step=0)["loss"], real)
    assert objective(batch, seed=0, step=10)["loss"] != real
    assert SelfTeaching(ramp=100).weight_at(50) == 0.5 and SelfTeaching(ramp=100).weight_at(500) == 1


def test_gaps_are_what_learns_does_not_see_and_the_teacher_does(batch: Batch) -> None:
    objective, made = self_taught(SelfTeaching(dropout=0.5))
    created = batch.take([3, 4])
    seen = features(made, created.images)
    gaps = with_gaps(seen, 0.5, created.keys, 0, 0)
    shut = torch.cat([maps.flatten(2).abs().amax(-1) == 0 for maps in gaps], 1)
    assert 0.3 < shut.float().mean() < 0.7 and not torch.equal(shut[0], shut[1])
    assert all(torch.equal(new[new != 0], (old * 2)[new != 0]) for new, old in zip(gaps, seen, strict=True))
    alone = with_gaps([maps[1:] for maps in seen], 0.5, created.keys[1:], 0, 0)
    assert torch.equal(alone[0][0], gaps[0][1]) and not torch.equal(
        gaps[0], with_gaps(seen, 0.5, created.keys, 0, 1)[0]
    )
    told = answered(created, objective.teacher(created, lambda asked: seen, 0, 0))
    expected = objective.objective.losses(told, gaps, 0, 0)["loss"]
    torch.testing.assert_close(objective(batch, seed=0, step=0)["created"], expected)
    assert with_gaps(seen, 0.0, created.keys, 0, 0) is seen


def test_the_answers_are_the_averages_and_carry_no_gradient(batch: Batch) -> None:
    objective, made = self_taught()
    created = batch.take([3, 4])
    seen = features(made, created.images)
    before = objective.teacher(created, lambda asked: seen, 0, 0)
    with torch.no_grad():
        for parameter in made.heads.parameters():
            parameter.add_(1.0)
    after = objective.teacher(created, lambda asked: seen, 0, 0)
    for name in NAMES:
        for field, tensor in before[name].annotation.tensors().items():
            assert torch.equal(tensor, after[name].annotation.tensors()[field]) and not tensor.requires_grad
    objective(batch, seed=0, step=0)["loss"].backward()
    assert all(p.grad is not None for p in made.heads.parameters())
    assert all(p.grad is None for p in made.backbone.parameters())


def test_what_the_teacher_is_unsure_of_is_unknown(batch: Batch) -> None:
    created = batch.take([3, 4])
    unsure = torch.zeros(2, 32, 32)
    unsure[:, :16] = 0.8
    readings = {name: Reading(batch.take([0, 1]).truths[name], unsure) for name in NAMES}
    told = answered(created, readings, confidence=0.5)
    assert told.unlabelled == [0, 1], "an answer is no truth"
    assert all(not told.truths[name].valid[:, :16].any() for name in NAMES)
    assert all(answered(created, readings, confidence=0.1).truths[n].valid[:, :16].any() for n in NAMES)
    assert (told.truths["semantic"].ids[:, :16] == IGNORE).all()


def test_boxes_cannot_be_known_in_part() -> None:
    boxes = Boxes(torch.zeros(1, 4), torch.zeros(1).long(), torch.ones(1), torch.ones(1).bool(), (4, 4))
    with pytest.raises(UsageError, match="confidence of 0"):
        boxes.without(torch.ones(4, 4) > 0)


def test_denoising_is_taught_by_a_walk_of_the_average(batch: Batch) -> None:
    made = parts()
    objective = DenoiseObjective(made.backbone, TASKS, law("uniform", made.backbone.schedule))
    average = averaged(objective, 0.9, steady=True)
    teacher = DenoiseTeacher(made.backbone, average, TASKS, steps=2)
    taught = SelfTaught(objective, teacher)
    losses = taught(batch, seed=0, step=0)
    assert {*NAMES, "loss", "created"} == set(losses)
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained(taught))


@pytest.mark.parametrize("how", [SelfTeaching(colour=0.5), SelfTeaching(hidden=0.5)])
def test_the_learner_sees_less_than_its_teacher(batch: Batch, how: SelfTeaching) -> None:
    objective, made = self_taught(how)
    seen: list[torch.Tensor] = []
    look = objective.objective.features

    def features(batch: Batch, keep: bool = True) -> list[torch.Tensor]:
        seen.append(batch.images)
        return look(batch, keep)

    objective.objective.features = features
    losses = objective(batch, seed=0, step=0)
    ours, theirs, told = seen
    assert torch.equal(told, batch.images[3:]) and torch.equal(ours, batch.images[:3])
    assert theirs.shape == told.shape and not torch.equal(theirs, told) and theirs.min() >= 0 and theirs.max() <= 1
    if how.hidden:
        grey = (theirs == 0.5).all(1)
        assert 0.2 < grey.float().mean() < 0.8 and torch.equal(theirs[~grey[:, None].expand_as(theirs)],
                                                               told[~grey[:, None].expand_as(told)])  # fmt: skip
    plain = self_taught()[0](batch, seed=0, step=0)
    assert losses["created"] != plain["created"]
    losses["loss"].backward()
    again = self_taught(how)[0](batch, seed=0, step=0)
    assert again["loss"].equal(losses["loss"].detach()) and made.heads is not None


def test_a_mirroring_teacher_sees_the_same_in_a_picture_and_in_its_mirror_image(batch: Batch) -> None:
    objective, made = self_taught(SelfTeaching(mirror=True))
    created = batch.take([3, 4])

    def look(asked: Batch) -> list[torch.Tensor]:
        return features(made, asked.images)

    straight = objective.teacher(created, look, 0, 0)
    turned = objective.teacher(created.flip(), look, 0, 0)
    for name in NAMES:
        expected = straight[name].annotation.flip().tensors()
        for field, tensor in turned[name].annotation.tensors().items():
            torch.testing.assert_close(tensor, expected[field])
    alone = self_taught()[0].teacher(created, look, 0, 0)["normals"].annotation.vectors
    assert not torch.allclose(alone, straight["normals"].annotation.vectors, atol=1e-3)


def test_a_mirrored_batch_is_one_of_mirrored_samples() -> None:
    scenes = open_data("scenes:2", "train", NAMES, size=(32, 32))
    samples = [scenes[i].only(NAMES) for i in range(2)]
    turned, expected = Batch.of(samples).flip(), Batch.of([sample.flip() for sample in samples])
    assert torch.equal(turned.images, expected.images) and turned.keys == expected.keys
    assert turned.texts == expected.texts and turned.mirrored == expected.mirrored == (True, True)
    assert turned.names == [(sample.key, True) for sample in samples] and not any(turned.flip().mirrored)
    for name in NAMES:
        for field, tensor in turned.truths[name].tensors().items():
            assert torch.equal(tensor, expected.truths[name].tensors()[field])


def test_what_was_created_is_not_learnt_to_be_created(batch: Batch) -> None:
    made = parts()
    objective = DenoiseObjective(made.backbone, TASKS, law("uniform", made.backbone.schedule), Teaching(create=0.5))
    average = averaged(objective, 0.9, steady=True)
    teacher = DenoiseTeacher(made.backbone, average, TASKS, steps=1)
    losses = SelfTaught(objective, teacher)(batch, seed=0, step=0)
    assert {*NAMES, "create", "loss", "created"} == set(losses)
    real, created = batch.take([0, 1, 2]), batch.take([3, 4])
    assert losses["create"].equal(objective(real, seed=0, step=0)["create"])
    single = Teaching(create=0.9, passes=1)
    objective = DenoiseObjective(made.backbone, TASKS, law("uniform", made.backbone.schedule), single)
    drawn = [set(objective(created, seed=0, step=step)) - {"loss"} for step in range(8)]
    assert all(roles < set(NAMES) for roles in drawn)


def test_the_teacher_hears_words_as_the_average_does(batch: Batch) -> None:
    made = parts()
    average = averaged(DenoiseObjective(made.backbone, TASKS, law("uniform", made.backbone.schedule)), 0.9, steady=True)
    teacher = DenoiseTeacher(made.backbone, average, TASKS, steps=1)
    created, latents = batch.take([3, 4]), [made.backbone.latents.encode(batch.take([3, 4]).images * 2 - 1)]
    before = teacher(created, lambda asked: latents, 0, 0)
    with torch.no_grad():
        for weight in made.backbone.text.parameters():
            weight.add_(1.0)
    after = teacher(created, lambda asked: latents, 0, 0)
    assert all(
        torch.equal(before[name].annotation.tensors()[field], tensor)
        for name in before
        for field, tensor in after[name].annotation.tensors().items()
    )


def test_one_pass_of_a_frozen_network_serves_both_sets_of_heads(batch: Batch) -> None:
    objective, made = self_taught()
    seen: list[int] = []
    made.backbone.unet.register_forward_hook(
        lambda module, args, kwargs, output: seen.append(len(args[0] if args else kwargs["sample"])), with_kwargs=True
    )
    objective(batch, seed=0, step=0)["loss"].backward()
    assert seen == [len(batch)]


@pytest.mark.parametrize(
    "bad", [{"weight": -1.0}, {"ramp": -1}, {"confidence": 1.5}, {"dropout": 1.0}, {"colour": 2.0}, {"hidden": 1.0}]
)
def test_numbers_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="came"):
        SelfTeaching(**bad)


def test_a_steady_average_moves_at_its_rate_from_the_start() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    average = averaged(module, 0.9, steady=True)
    torch.nn.init.ones_(module.weight)
    average.step(module.parameters())
    assert average.shadow_params[0].item() == pytest.approx(0.1)


def test_the_teacher_leaves_batch_statistics_and_counters_alone() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    average, x = averaged(module, 0.9, steady=True), torch.randn(8, 2)
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    told = Averaged(module, average)(x)
    assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())
    assert module.training and torch.allclose(told, module[0](x) / (1 + module[1].eps) ** 0.5)
    assert len(average.shadow_params) == len(list(module.parameters()))


def test_the_rate_is_for_pictures_not_for_steps() -> None:
    assert decay_of(0.998, 80, 80) == pytest.approx(0.998)
    assert decay_of(0.998, 80, 8) ** 10 == pytest.approx(0.998)


def names(letters: str) -> list[tuple[str, bool]]:
    return [(letter, False) for letter in letters]


def test_features_are_made_once_and_do_not_hang_on_who_came_along() -> None:
    seen: list[int] = []

    def compute(images: torch.Tensor, texts: Sequence[str]) -> list[torch.Tensor]:
        seen.append(len(images))
        return [images * 3, images[:, :1, ::2, ::2]]

    images = torch.rand(4, 3, 8, 8)
    cache = FeatureCache(compute, room=10_000_000)
    once = cache(images[:3], names("abc"), [""] * 3)
    again = cache(images[[2, 0, 3]], names("cad"), [""] * 3)
    assert seen == [1, 1, 1, 1]
    assert torch.equal(again[0][0], once[0][2]) and torch.equal(again[1][1], once[1][0])
    torch.testing.assert_close(once[0], images[:3] * 3, rtol=1e-3, atol=1e-3)


def test_a_mirror_image_has_features_of_its_own(batch: Batch) -> None:
    _, made = self_taught()
    some = batch.take([0, 1])
    kept, plain = ReadoutObjective(made, TASKS, cache=10_000_000), ReadoutObjective(made, TASKS)
    for _ in range(2):
        for asked in (some, some.flip()):
            for mine, own in zip(kept.features(asked), plain.features(asked), strict=True):
                torch.testing.assert_close(mine, own, rtol=2e-3, atol=2e-3)
    assert len(kept.cache.kept) == 4 and not torch.equal(kept.features(some)[0], kept.features(some.flip())[0])


@pytest.mark.parametrize("how", [SelfTeaching(mirror=True), SelfTeaching(mirror=True, colour=0.5)])
def test_a_mirroring_teacher_looks_at_the_mirror_images_of_what_it_answers_for(batch: Batch, how: SelfTeaching) -> None:
    objective, _ = self_taught(how)
    seen: list[Batch] = []
    look = objective.objective.features

    def features(asked: Batch, keep: bool = True) -> list[torch.Tensor]:
        seen.append(asked)
        return look(asked, keep)

    objective.objective.features = features
    losses = objective(batch, seed=0, step=0)
    assert torch.equal(seen[-1].images, batch.images[3:].flip(-1)) and seen[-1].keys == batch.keys[3:]
    plain = self_taught(replace(how, mirror=False))[0](batch, seed=0, step=0)
    assert losses["created"] != plain["created"] and losses["loss"].requires_grad


def test_features_without_room_are_made_anew_and_are_the_same() -> None:
    calls: list[int] = []

    def compute(images: torch.Tensor, texts: Sequence[str]) -> list[torch.Tensor]:
        calls.append(1)
        return [images / 3]

    image = torch.rand(1, 3, 4, 4)
    full, none = FeatureCache(compute, 1000), FeatureCache(compute, 0)
    first, kept = full(image, names("a"), [""]), full(image, names("a"), [""])
    assert len(calls) == 1
    made, anew = none(image, names("a"), [""]), none(image, names("a"), [""])
    assert len(calls) == 3
    assert all(torch.equal(first[0], other[0]) for other in (kept, made, anew))


def test_a_batch_takes_what_belongs_to_its_samples(batch: Batch) -> None:
    some = batch.take([4, 1])
    assert some.keys == (batch.keys[4], batch.keys[1]) and some.labelled == (False, True)
    assert torch.equal(some.images[1], batch.images[1])
    assert torch.equal(some.truths["depth"].values[1], batch.truths["depth"].values[1])
    assert replace(batch, labelled=()).take([0]).labelled == ()


def test_features_that_were_kept_serve_passes_in_bfloat16() -> None:
    images = torch.rand(3, 3, 4, 4)
    cache = FeatureCache(lambda image, texts: [image * 2], 10_000)
    with torch.autocast("cpu", torch.bfloat16):
        first, again = (cache(images, names("abc"), ("", "", ""))[0] for _ in range(2))
    assert first.dtype == torch.float32 and torch.equal(first, again)
    assert torch.equal(first, (images * 2).half().float())
