import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from small_objective import Line
from torch import nn

from denoisight.annotations import Batch, Sample
from denoisight.data.augment import Augment
from denoisight.data.open import open_data
from denoisight.data.unlabelled import Joined, Unlabelled
from denoisight.errors import DataError
from denoisight.train.batches import Stream, batches
from denoisight.train.checkpoint import latest, load_checkpoint, prune, save_checkpoint
from denoisight.train.ema import averaged, swapped_in
from denoisight.train.loop import NotFinite, fit, warmup_cosine


def bright(value: float, key: str) -> Batch:
    return Batch(torch.full((1, 3, 4, 4), value), ("",), (key,), {})


def run(objective: nn.Module, data: list[Batch], accumulate: int = 1, **more) -> list:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    optimizer = torch.optim.SGD(objective.parameters(), 0.1)
    wrapped, optimizer = accelerator.prepare(objective, optimizer)
    rate = {"lr": lambda step: 0.1, **more}
    return list(fit(wrapped, data, optimizer, accelerator, seed=0, start=0, accumulate=accumulate, clip=1e9, **rate))


def test_accumulated_batches_make_one_step() -> None:
    data = [bright(0.2, "a"), bright(0.8, "b")]
    together = Line()
    records = run(together, data, accumulate=2)
    assert [r.step for r in records] == [1]
    assert records[0].images == 2
    assert float(records[0].losses["loss"]) == pytest.approx((0.2**2 + 0.8**2) / 2)
    # d/dw of the mean of (w - 0.2)^2 and (w - 0.8)^2 at 0 is -1; the rate is 0.1.
    assert float(together.weight.detach()) == pytest.approx(0.1)


def test_a_loss_that_is_no_number_is_named_with_its_step_and_items() -> None:
    data = [bright(0.5, "good"), bright(float("nan"), "bad one"), bright(0.5, "later")]
    with pytest.raises(NotFinite, match="step 2, on the items bad one"):
        run(Line(), data, check_every=3)


def test_the_rate_rises_then_falls_to_zero() -> None:
    rate = warmup_cosine(1.0, 10, lambda step: step / 100)
    assert rate(0) == pytest.approx(0.1, abs=1e-3)
    assert rate(9) == pytest.approx(1.0, abs=0.03)
    assert rate(100) == 0
    falling = [rate(step) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)


def test_averages_are_swapped_in_and_out() -> None:
    line = Line()
    average = averaged(line, 0.9)
    for value in (0.0, 0.0, 1.0):
        with torch.no_grad():
            line.weight.fill_(value)
        average.step(line.parameters())
    with swapped_in(average, line):
        inside = float(line.weight.detach())
        assert not line.training
    assert 0 < inside < 1
    assert float(line.weight.detach()) == 1
    assert line.training


def test_checkpoints_restore_everything(tmp_path: Path) -> None:
    line, other = Line(), Line()
    optimizers = [torch.optim.AdamW(m.parameters(), 0.1) for m in (line, other)]
    averages = [averaged(m, 0.9) for m in (line, other)]
    line(bright(0.5, "a"), 0, 0)["loss"].backward()
    optimizers[0].step()
    averages[0].step(line.parameters())
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, line, optimizers[0], averages[0], {"best": None})
    prune(tmp_path)
    assert latest(tmp_path) == tmp_path / "step-000003"
    assert len(list(tmp_path.iterdir())) == 2
    state = load_checkpoint(tmp_path / "step-000003", other, optimizers[1], averages[1])
    assert state == {"step": 3, "best": None}
    assert torch.equal(line.weight, other.weight)
    assert torch.equal(averages[0].shadow_params[0], averages[1].shadow_params[0])
    moments = [o.state_dict()["state"][0]["exp_avg"] for o in optimizers]
    assert torch.equal(*moments)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    line = Line()
    optimizer, average = torch.optim.AdamW(line.parameters(), 0.1), averaged(line, 0.9)
    folder = save_checkpoint(tmp_path, 1, line, optimizer, average, {})
    (folder / "weights.safetensors").write_bytes(b"cut")
    with pytest.raises(DataError, match="step-000001"):
        load_checkpoint(folder, line, optimizer, average)


def stream(batch: int = 4) -> Stream:
    return Stream(open_data("scenes:6", size=(16, 16)), ["depth"], (16, 16), Augment(), batch, seed=0)


def test_a_step_can_be_made_again_by_any_process() -> None:
    whole = list(batches(stream(), 0, 5, workers=0))
    later = list(batches(stream(), 3, 5, workers=1))
    for a, b in zip(whole[3:], later, strict=True):
        assert a.keys == b.keys
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.truths["depth"].values, b.truths["depth"].values)


def test_a_run_of_many_steps_is_not_listed_before_its_first() -> None:
    tracemalloc.start()
    try:
        first = next(batches(stream(), 100_000, 200_000, workers=0))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 5e6 and first.keys == next(batches(stream(), 100_000, 100_001, workers=0)).keys


def test_ranks_share_out_each_batch() -> None:
    whole = next(batches(stream(), 0, 1, workers=0))
    halves = [next(batches(stream(), 0, 1, workers=0, rank=rank, ranks=2)) for rank in (0, 1)]
    assert {*halves[0].keys, *halves[1].keys} == {*whole.keys}
    assert torch.equal(halves[1].images[0], whole.images[1])


def joined(labelled: int, pictures: int, batch: int, share: float = 0.5) -> Stream:
    """Scenes with truths, and others without."""
    scenes = open_data(f"scenes:{labelled}", size=(16, 16))
    others = Unlabelled(open_data(f"scenes:{pictures}", "val", size=(16, 16)), scenes)
    return Stream(Joined((scenes, others), share), ["depth"], (16, 16), Augment(), batch, seed=0)


@pytest.mark.parametrize(
    ("labelled", "pictures", "share", "each"),
    [(4, 12, 0.5, [4, 4, 4]), (4, 12, 0.0, [2, 2, 2]), (12, 4, 0.5, [6, 6, 6]), (4, 60, 0.3, [2, 2, 3])],
)
def test_every_batch_holds_its_share_of_labelled_samples(
    labelled: int, pictures: int, share: float, each: list[int]
) -> None:
    source = joined(labelled, pictures, 8, share)
    made = list(batches(source, 0, 12, workers=0))
    assert [8 - len(batch.unlabelled) for batch in made[:3]] == each
    counts = [Counter(key for batch in made for key in batch.keys if key.startswith("unlabelled") == other)
              for other in (False, True)]  # fmt: skip
    assert all(max(count.values()) - min(count.values()) <= 1 for count in counts if len(count) > 1)
    assert len(counts[0]) == labelled
    halves = [next(batches(source, 0, 1, workers=0, rank=rank, ranks=2)) for rank in (0, 1)]
    assert abs(len(halves[0].unlabelled) - len(halves[1].unlabelled)) <= 1


def test_labelled_samples_come_in_one_order_whatever_stands_beside_them() -> None:
    alone = Stream(open_data("scenes:4", size=(16, 16)), ["depth"], (16, 16), Augment(), 4, seed=0)
    beside = [key for batch in batches(joined(4, 12, 8), 0, 3, workers=0) for key in batch.keys[:4]]
    assert beside == [key for batch in batches(alone, 0, 3, workers=0) for key in batch.keys]


def test_a_mirrored_picture_is_the_mirror_image_of_the_fitted_one_to_the_pixel() -> None:
    """The difference of 21 and the 16 that is cut out of it is odd."""
    wide = open_data("scenes:6", size=(16, 21))
    straight, turned = (Stream(wide, ["depth"], (16, 16), Augment(flip, 1.0, 0.0), 6, seed=0) for flip in (0.0, 1.0))
    for slot in range(6):
        one, other = straight[(0, slot)], turned[(0, slot)]
        assert one.size == (16, 16) and other.query.mirrored and not one.query.mirrored
        assert torch.equal(other.image, one.image.flip(-1))
        assert torch.equal(other.truths["depth"].values, one.truths["depth"].values.flip(-1))


def test_every_item_comes_once_an_epoch() -> None:
    keys = [key for batch in batches(stream(batch=3), 0, 4, workers=0) for key in batch.keys]
    assert len(set(keys[:6])) == 6
    assert len(set(keys[6:])) == 6
    assert keys[:6] != keys[6:]


def test_visits_differ_by_augmentation_only() -> None:
    source = stream(batch=6)
    first = {s.key: s for s in (source[(0, slot)] for slot in range(6))}
    second = {s.key: s for s in (source[(1, slot)] for slot in range(6))}
    assert first.keys() == second.keys()
    assert any(not torch.equal(first[k].image, second[k].image) for k in first)


def test_a_batch_larger_than_the_data_holds_views_that_differ() -> None:
    stream = Stream(open_data("scenes:2", size=(16, 16)), ["depth"], (16, 16), Augment(), 8, seed=0)
    for step in range(3):
        samples = [stream[step, slot] for slot in range(8)]
        assert len({sample.key for sample in samples}) == 8 and len({base for base in map(_scene, samples)}) == 2
        assert len({sample.image.numpy().tobytes() for sample in samples}) == 8
    assert {stream[0, slot].key for slot in range(2)} == set(open_data("scenes:2", size=(16, 16)).keys)


def _scene(sample: Sample) -> str:
    return sample.key.partition(" again ")[0]
