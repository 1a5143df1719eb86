"""What every task promises: its codec, words, head and loss belong together."""

from dataclasses import replace

import pytest
import torch

from denoisight.annotations import IGNORE, Boxes, Depth, Labels, Mask, Normals, box_iou, stack
from denoisight.errors import DataError, UsageError
from denoisight.models.text import Words
from denoisight.tasks import CODECS, LOSSES, TASKS, Reading, make_tasks
from denoisight.tasks.base import masked_mean

CLASSES = ("floor", "wall", "box", "ball")
EVERY = make_tasks("all", CLASSES)
every_task = pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
every_pixel_task = pytest.mark.parametrize(
    "task", [task for task in EVERY if task.kind is not Boxes], ids=lambda task: task.name
)


def draw(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


IMAGES = draw(1, 2, 3, 8, 12)


def known_pixels(seed):
    return draw(seed + 50, 8, 12) > 0.3


def truth_of(task, seed=0):
    valid = known_pixels(seed)
    if task.kind is Depth:
        return Depth(torch.where(valid, 1 + draw(seed, 8, 12), 0.0), valid)
    if task.kind is Normals:
        return Normals.of(torch.where(valid, draw(seed, 3, 8, 12) * 2 - 1, 0.0))
    if task.kind is Mask:
        return Mask(torch.where(valid, draw(seed, 8, 12).round(), 0.0), valid)
    if task.name == "instances":
        things = torch.zeros(8, 12, dtype=torch.long)
        things[1:4, 1:5], things[4:7, 6:11] = 1, 2
        return Labels(torch.where(valid, things.roll(seed % 3, 1), IGNORE), ())
    if task.kind is Labels:
        return Labels(torch.where(valid, (4 * draw(seed, 8, 12)).long(), IGNORE), CLASSES)
    raise AssertionError(f"draw a truth for {task.name} here")


def batch_of(task):
    return stack([truth_of(task, 0), truth_of(task, 9)])


def without_truth(truth):
    if isinstance(truth, Labels):
        return replace(truth, ids=torch.full_like(truth.ids, IGNORE))
    nothing = replace(truth, valid=torch.zeros_like(truth.valid))
    return Normals.of(torch.zeros_like(truth.vectors)) if isinstance(truth, Normals) else nothing


def perfect(task, truth):
    """The head's outputs that say exactly the truth."""
    if isinstance(truth, Mask):
        return 30 * (2 * truth.probability[:, None] - 1)
    if task.classes:
        ids = torch.where(truth.valid, truth.ids, 0)
        return 30 * torch.nn.functional.one_hot(ids, len(CLASSES)).movedim(-1, -3).float()
    return task.codec.encode(truth, IMAGES).pixels[:, : task.head.channels]


@every_task
def test_it_stands_in_the_table_under_its_name(task):
    assert TASKS[task.name](CLASSES).name == task.name
    assert task.head.channels >= 1 and task.truth
    assert task.classes in ((), CLASSES)


SIDES = ("floor", "left box", "right box", "ball")


def assert_mirrored(task, outputs):
    """What is read of a mirror image's outputs, turned back, is the mirror image of what is read."""
    straight, turned = (
        task.head.read(out, image) for out, image in ((outputs, IMAGES), (task.head.mirrored(outputs), IMAGES.flip(-1)))
    )
    expected = straight.annotation.flip()
    assert expected.tensors().keys() == turned.annotation.tensors().keys()
    for name, tensor in turned.annotation.tensors().items():
        torch.testing.assert_close(tensor, expected.tensors()[name], rtol=1e-4, atol=1e-4)
    if straight.uncertainty is not None:
        torch.testing.assert_close(turned.uncertainty, straight.uncertainty.flip(-1))


@every_pixel_task
def test_outputs_for_a_mirror_image_are_turned_back(task):
    assert_mirrored(task, perfect(task, batch_of(task)))


@pytest.mark.parametrize("loss", LOSSES["normals"])
def test_outputs_of_normals_are_turned_back_whatever_they_learn_by(loss):
    (task,) = make_tasks(["normals"], losses={"normals": loss})
    assert_mirrored(task, draw(3, 2, task.head.channels, 8, 12) * 2 - 1)


@pytest.mark.parametrize("name", ["semantic", "parts"])
def test_classes_that_are_named_by_side_change_places(name):
    (task,) = make_tasks([name], SIDES)
    outputs = draw(4, 2, 4, 8, 12)
    assert_mirrored(task, outputs)
    left = Labels(torch.full((8, 12), 1), SIDES)
    assert (left.flip().ids == 2).all() and torch.equal(left.flip().flip().ids, left.ids)
    assert torch.equal(task.head.mirrored(outputs)[:, 2], outputs[:, 1].flip(-1))


@every_pixel_task
def test_two_equal_outputs_merge_into_the_same_answer(task):
    outputs = perfect(task, batch_of(task))
    one, both = (task.head.read(out, IMAGES) for out in (outputs, task.head.merge(outputs, outputs)))
    for name, tensor in both.annotation.tensors().items():
        torch.testing.assert_close(tensor, one.annotation.tensors()[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss", ["angular-vmf", "vmf"])
def test_two_directions_are_no_surer_than_either_and_the_less_so_the_farther_they_are_apart(loss):
    (task,) = make_tasks(["normals"], losses={"normals": loss})
    image = IMAGES[:1, :, :1, :1]

    def reading(*vectors):
        one, other = (torch.tensor([*vector, 2.0])[None, :, None, None] for vector in vectors)
        return task.head.read(task.head.merge(one, other), image)

    alone = task.head.read(torch.tensor([1.0, 0.0, 0.0, 2.0])[None, :, None, None], image).uncertainty
    # Lengths say nothing: the mean of two directions lies in their middle.
    same, near, far = (reading((9.0, 0, 0), other) for other in ((1.0, 0, 0), (1.0, 0.5, 0), (0.0, 1.0, 0)))
    torch.testing.assert_close(same.uncertainty, alone)
    assert alone < near.uncertainty < far.uncertainty
    torch.testing.assert_close(far.annotation.vectors.flatten(), torch.tensor([0.5**0.5, 0.5**0.5, 0.0]))


@every_pixel_task
def test_its_codec_draws_its_kind_of_truth(task):
    truth = batch_of(task)
    canvas = task.codec.encode(truth, IMAGES)
    decoded = task.codec.decode(canvas.pixels, IMAGES)
    assert type(decoded) is type(truth) is task.kind
    assert torch.equal(canvas.valid, truth.valid)


@every_task
def test_the_embedded_model_knows_every_word_of_its_prompt(task):
    assert Words().unknown(task.instruct("the red ball")) == []
    assert task.instruct()
    assert replace(task, prompt="the {text} of it").instruct("red side") == "the red side of it"


def test_prompts_tell_tasks_apart():
    assert len({task.instruct() for task in EVERY}) == len(EVERY)


@every_pixel_task
def test_a_head_is_judged_by_its_valid_pixels(task):
    truth = batch_of(task)
    outputs = (4 * draw(3, 2, task.head.channels, 8, 12) - 2).requires_grad_()
    loss = task.head.loss(outputs, truth, IMAGES)
    assert loss.shape == () and torch.isfinite(loss) and loss > 0.1
    loss.backward()
    assert torch.isfinite(outputs.grad).all()
    moved = outputs.grad.abs().sum(1) > 0
    assert moved[truth.valid].float().mean() > 0.95
    assert not moved[~truth.valid].any()
    elsewhere = torch.where(truth.valid[:, None], outputs, 1e3 * draw(4, *outputs.shape))
    torch.testing.assert_close(task.head.loss(elsewhere, truth, IMAGES), loss)


@every_pixel_task
def test_the_truth_itself_costs_nothing(task):
    truth = batch_of(task)
    outputs = perfect(task, truth)
    assert 0 <= task.head.loss(outputs, truth, IMAGES) + 1e-6 < 1e-4
    # Certain answers stay certain until they are pushed far to the other side.
    away, far = (-outputs.sign(), 80.0) if task.kind is Mask else (torch.ones_like(outputs), 40.0)
    costs = [task.head.loss(outputs + s * away * draw(5, *outputs.shape), truth, IMAGES) for s in (0.0, 0.5, far)]
    assert costs[0] < costs[1] < costs[2] or task.kind is Labels and costs[0] <= costs[1] < costs[2]


@every_pixel_task
def test_where_nothing_is_known_nothing_is_learnt(task):
    outputs = draw(6, 2, task.head.channels, 8, 12).requires_grad_()
    loss = task.head.loss(outputs, without_truth(batch_of(task)), IMAGES)
    loss.backward()
    assert loss == 0
    assert torch.equal(outputs.grad, torch.zeros_like(outputs))


@every_pixel_task
def test_a_head_says_the_truth_in_the_right_kind_and_shape(task):
    truth = batch_of(task)
    reading = task.head.read(perfect(task, truth), IMAGES)
    assert isinstance(reading, Reading) and type(reading.annotation) is task.kind
    assert reading.annotation.size == (8, 12)
    assert {len(t) for t in reading.annotation.tensors().values()} == {2}
    again = task.head.loss(perfect(task, reading.annotation), truth, IMAGES)
    # What was unknown is answered too, and moves the middle of a thing.
    assert again < {"depth": 0.05, "instances": 0.1}.get(task.name, 1e-4)
    if reading.uncertainty is not None:
        assert reading.uncertainty.shape == (2, 8, 12)
        assert reading.uncertainty.abs().max() < 1e-5


@every_pixel_task
def test_a_head_reads_items_alone_as_in_a_batch(task):
    outputs = 4 * draw(7, 2, task.head.channels, 8, 12) - 2
    together = task.head.read(outputs, IMAGES)
    for i in range(2):
        alone = task.head.read(outputs[i : i + 1], IMAGES[i : i + 1])
        for name, tensor in alone.annotation.tensors().items():
            torch.testing.assert_close(tensor[0], together.annotation[i].tensors()[name])
        if together.uncertainty is not None:
            assert together.uncertainty.min() >= 0 and together.uncertainty.max() <= 1
            assert together.uncertainty.std() > 0.01


# ---- every loss that a head can learn by ----

EVERY_LOSS = [(name, loss) for name in LOSSES for loss in LOSSES[name]]
every_loss = pytest.mark.parametrize(("name", "loss"), EVERY_LOSS)


def saying(task, loss, truth):
    """The head's outputs that say exactly the truth, as surely as it can."""
    if isinstance(truth, Normals):
        sure = torch.full_like(truth.vectors[:, :1], 50.0)
        return torch.cat([truth.vectors, sure], dim=1)[:, : task.head.channels]
    if loss == "affine":
        return task.codec.encode(truth, IMAGES).pixels[:, :1]
    values = torch.where(truth.valid, truth.values, 1.0)[:, None]
    return values.log() if loss == "silog" else 3 * values - 7


@every_loss
def test_every_loss_is_lower_the_nearer_the_truth(name, loss):
    (task,) = make_tasks([name], CLASSES, losses={name: loss})
    truth = batch_of(task)
    perfect = saying(task, loss, truth)
    away = draw(5, *perfect.shape) * (torch.arange(task.head.channels) < 3)[:, None, None]
    costs = [task.head.loss(perfect + far * away, truth, IMAGES) for far in (0.0, 0.3, 3.0)]
    assert costs[0] < costs[1] < costs[2]
    if task.head.channels < 4:
        assert costs[0].abs() < 1e-4


@every_loss
def test_every_loss_is_of_valid_pixels_and_of_items_alone(name, loss):
    (task,) = make_tasks([name], CLASSES, losses={name: loss})
    truth = batch_of(task)
    outputs = (2 * draw(3, 2, task.head.channels, 8, 12) - 1).requires_grad_()
    whole = task.head.loss(outputs, truth, IMAGES)
    (gradient,) = torch.autograd.grad(whole, outputs)
    assert torch.isfinite(whole) and torch.isfinite(gradient).all()
    moved = gradient.abs().sum(1) > 0
    assert moved[truth.valid].float().mean() > 0.95 and not moved[~truth.valid].any()
    elsewhere = torch.where(truth.valid[:, None], outputs, 1e3 * draw(4, *outputs.shape))
    torch.testing.assert_close(task.head.loss(elsewhere, truth, IMAGES), whole)
    alone = [task.head.loss(outputs[i : i + 1], truth[i : i + 1], IMAGES[i : i + 1]) for i in range(2)]
    share = truth.valid.flatten(1).sum(1) / truth.valid.sum()
    torch.testing.assert_close(share[0] * alone[0] + share[1] * alone[1], whole)
    assert task.head.loss(outputs, without_truth(truth), IMAGES) == 0


@every_loss
def test_heads_read_what_every_loss_taught(name, loss):
    (task,) = make_tasks([name], CLASSES, losses={name: loss})
    truth = batch_of(task)
    reading = task.head.read(saying(task, loss, truth), IMAGES)
    told = reading.annotation
    assert type(told) is task.kind and told.size == (8, 12)
    assert (reading.uncertainty is not None) == (loss in ("angular-vmf", "vmf"))
    if isinstance(told, Normals):
        assert ((told.vectors * truth.vectors).sum(1)[truth.valid] > 1 - 1e-5).all()
    elif loss == "silog":
        assert told.gauge == "metres"
        torch.testing.assert_close(told.values[truth.valid], truth.values[truth.valid])
    elif loss == "ssi":
        assert told.gauge == "affine"
        for said, true, valid in zip(told.values, truth.values, truth.valid, strict=True):
            assert torch.corrcoef(torch.stack([said[valid], true[valid]]))[0, 1] > 1 - 1e-5


@pytest.mark.parametrize("loss", ["angular-vmf", "vmf"])
def test_a_head_that_is_less_sure_of_normals_says_so(loss):
    (task,) = make_tasks(["normals"], losses={"normals": loss})
    sure = torch.linspace(-20, 200, 96).view(1, 1, 8, 12)
    unsure = task.head.read(torch.cat([torch.ones(1, 3, 8, 12), sure], 1), IMAGES[:1]).uncertainty.flatten()
    assert (unsure.diff() <= 1e-4).all() and unsure.max() <= 1 and unsure[0] > 0.98 and 0 <= unsure[-1] < 0.08


def test_the_depth_losses_take_off_what_they_say():
    truth = batch_of(make_tasks("depth")[0])
    outputs = draw(3, 2, 1, 8, 12)
    (silog,), (ssi,) = (make_tasks("depth", losses={"depth": loss}) for loss in ("silog", "ssi"))
    torch.testing.assert_close(*(ssi.head.loss(x, truth, IMAGES) for x in (outputs, 5 * outputs - 3)))
    exact = truth.values.clamp(min=1e-6).log()[:, None]
    torch.testing.assert_close(silog.head.loss(exact + 0.4, truth, IMAGES), torch.tensor(0.5 * 0.4**2))
    for task, gauge in ((silog, "scale"), (ssi, "affine-disparity")):
        with pytest.raises(DataError, match=f"'{gauge}' cannot be learnt.*--losses.depth"):
            task.head.loss(outputs, replace(truth, gauge=gauge), IMAGES)


def test_detection_reads_the_boxes_that_its_head_was_taught():
    (detection,) = make_tasks("detection")
    corners = torch.tensor([[[2.0, 1, 8, 6], [6, 3, 11, 8]], [[1, 1, 5, 5], [0, 0, 0, 0]]])
    known = torch.tensor([[True, True], [True, False]])
    truth = Boxes(corners, torch.zeros(2, 2).long(), torch.ones(2, 2), known, (8, 12))
    outputs = detection.codec.encode(truth, IMAGES).pixels.requires_grad_()
    assert detection.head.loss(outputs, truth, IMAGES) == 0
    other = detection.head.loss(outputs.roll(2, -1), truth, IMAGES)
    other.backward()
    assert other > 0.1 and outputs.grad.abs().sum(1).bool().any()
    read = detection.head.read(outputs.detach(), IMAGES).annotation
    assert isinstance(read, Boxes) and read.valid.sum(1).tolist() == [2, 1]
    for found, present, true, real in zip(read.xyxy, read.valid, truth.xyxy, truth.valid, strict=True):
        assert box_iou(found[present], true[real]).amax(0).min() > 0.6


def test_labels_beyond_the_classes_are_ignored_by_the_head_as_by_the_codec():
    (semantic,) = make_tasks("semantic", CLASSES)
    truth = batch_of(semantic)
    beyond = replace(truth, ids=torch.where(truth.valid, truth.ids, 77))
    outputs = draw(8, 2, 4, 8, 12)
    assert semantic.head.loss(outputs, beyond, IMAGES) == semantic.head.loss(outputs, truth, IMAGES)


def test_the_masked_mean_is_over_valid_pixels():
    values, valid = torch.tensor([[1.0, 2.0, float("nan")]]), torch.tensor([[True, True, False]])
    assert masked_mean(values, valid) == 1.5
    assert masked_mean(values, torch.zeros(1, 3, dtype=torch.bool)) == 0


# ---- the table ----


def test_tasks_are_made_by_name():
    assert [task.name for task in make_tasks("normals, depth")] == ["normals", "depth"]
    assert [task.name for task in make_tasks(["depth"])] == ["depth"]
    assert [task.name for task in make_tasks("all", CLASSES)] == list(TASKS)
    (semantic,) = make_tasks("semantic", CLASSES)
    assert semantic.classes == CLASSES and semantic.head.channels == len(CLASSES)


@pytest.mark.parametrize(("name", "codec"), [(name, codec) for name in CODECS for codec in CODECS[name]])
def test_a_task_draws_its_truth_as_it_is_told(name, codec):
    (task,), (plain,) = make_tasks([name], CLASSES, {name: codec}), make_tasks([name], CLASSES)
    assert (task.codec == plain.codec) == (codec == CODECS[name][0])
    assert replace(task, codec=plain.codec, head=plain.head) == plain


@pytest.mark.parametrize(
    ("codecs", "says"),
    [({"depth": "rato"}, "Did you mean 'ratio'"), ({"semantic": "paint"}, "no choice of codecs for semantic")],
)
def test_codecs_that_a_task_lacks_are_refused(codecs, says):
    with pytest.raises(UsageError, match=says):
        make_tasks(list(codecs), CLASSES, codecs)


@pytest.mark.parametrize(
    ("losses", "says"),
    [({"depth": "silogg"}, "Did you mean 'silog'"), ({"semantic": "l2"}, "no choice of losses for semantic")],
)
def test_losses_that_a_task_lacks_are_refused(losses, says):
    with pytest.raises(UsageError, match=says):
        make_tasks(list(losses), CLASSES, losses=losses)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("dpeth", "Unknown task 'dpeth'. Did you mean 'depth'. Known: " + ", ".join(sorted(TASKS))),
        ("flow", "Known: " + ", ".join(sorted(TASKS))),
        ("depth,normals,depth", "named twice"),
        ("semantic", "1 to 255 classes"),
    ],
)
def test_names_that_mean_no_task_are_refused(names, says):
    with pytest.raises(UsageError, match=says):
        make_tasks(names)


@pytest.mark.parametrize("name", ["boundary", "saliency"])
def test_an_answer_is_not_changed_by_being_passed_on(name):
    """Whoever is taught what it says itself has nothing to learn, however few pixels are inside."""
    head = TASKS[name]().head
    outputs = (torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 2).requires_grad_()
    image = torch.zeros(2, 3, 8, 8)
    (head.taught or head.loss)(outputs, head.read(outputs.detach(), image).annotation, image).backward()
    torch.testing.assert_close(outputs.grad, torch.zeros_like(outputs), atol=1e-7, rtol=0)


def test_balanced_classes_weigh_the_same_of_truths_and_of_sure_answers():
    head = TASKS["boundary"]().head
    truth = Mask.of(torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.1)
    outputs, image = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.zeros(2, 3, 8, 8)
    torch.testing.assert_close(head.taught(outputs, truth, image), head.loss(outputs, truth, image))
