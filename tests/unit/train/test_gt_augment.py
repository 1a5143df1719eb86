"""Corrupted truths: what each kind does, and that the aim stays the clean truth whatever it does."""

import pytest
import torch

from denoisight.annotations import Batch, Labels, Mask
from denoisight.data.scenes import CLASSES, PARTS, Scenes
from denoisight.diffusion.noise import add_noise
from denoisight.diffusion.prediction import KINDS as PREDICTIONS
from denoisight.diffusion.prediction import clean_from, output_from
from denoisight.diffusion.schedule import SCHEDULES
from denoisight.errors import RecipeError, UsageError
from denoisight.tasks import TASKS, Task, make_tasks
from denoisight.train.gt_augment import ALL, KINDS, ON_POLICY, ON_TRUTH, STRENGTHS, GtAugment, corrupt
from denoisight.train.noised import noised


@pytest.fixture(scope="module")
def batch() -> Batch:
    scenes = Scenes("train", 6, (32, 32))
    return Batch.of([scenes[i] for i in range(6)])


def task(name: str) -> Task:
    return make_tasks([name], PARTS if name == "parts" else CLASSES)[0]


def seeds(batch: Batch, run: int = 0) -> list[tuple[int, str, int]]:
    return [(run, key, 0) for key in batch.keys]


def canvas(name: str, batch: Batch, strength: float, *kinds: str, run: int = 0) -> torch.Tensor:
    amount = torch.full((len(batch),), strength)
    return corrupt(task(name), batch.truths, batch.images, amount, GtAugment(kinds), seeds(batch, run))


FITTING = [(name, kind) for name in TASKS for kind in KINDS if kind not in ON_POLICY and task(name).kind in KINDS[kind]]


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_a_kind_changes_most_canvases_at_full_strength_and_none_at_strength_zero(name, kind, batch):
    own = task(name)
    clean = own.codec.encode(batch.truths[own.truth], batch.images).pixels
    torch.testing.assert_close(canvas(name, batch, 0.0, kind), clean)
    change = (canvas(name, batch, 1.0, kind) - clean).abs().flatten(1).mean(1)
    assert (change > 1e-4).sum() >= 3 and change.isfinite().all()


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_stronger_is_farther_from_the_truth(name, kind, batch):
    own = task(name)
    clean = own.codec.encode(batch.truths[own.truth], batch.images).pixels
    weak, strong = (
        torch.stack([(canvas(name, batch, s, kind, run=run) - clean).abs().mean() for run in range(8)]).mean()
        for s in (0.3, 1.0)
    )
    assert weak < strong


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_a_corruption_belongs_to_its_item(name, kind, batch):
    """The same in any batch, another with another run; only a mask of an unknown rival looks at its neighbours."""
    together = canvas(name, batch, 1.0, kind)
    truths = {key: truth[2:3] for key, truth in batch.truths.items()}
    alone = corrupt(task(name), truths, batch.images[2:3], torch.ones(1), GtAugment((kind,)), seeds(batch)[2:3])
    torch.testing.assert_close(together[2:3], alone)
    assert not torch.equal(together, canvas(name, batch, 1.0, kind, run=1))


def test_all_stands_for_what_fits_the_task():
    everything = GtAugment(("all",))
    assert everything.of(task("depth")) == ("blur", "drift")
    assert everything.of(task("semantic")) == ("swap", "jitter")
    assert set(everything.of(task("referring"))) == {"shape", "shift", "confuse", "colour"}
    assert set(ALL) == {task(name).kind for name in TASKS}


def test_a_mask_is_confused_with_another_thing_of_its_own_picture(batch):
    mask, ids = batch.truths["mask"], batch.truths["instances"].ids
    assert isinstance(mask, Mask)
    confused = ON_TRUTH["confuse"](mask, torch.ones(len(batch)), torch.full((len(batch), 4), 0.6), batch.truths)
    for before, after, numbers in zip(mask.probability, confused.probability, ids, strict=True):
        wrong = (after > 0) & (before == 0)
        assert len(numbers[wrong].unique()) <= 1 and not (numbers[wrong] == 0).any()
        for values, share in ((after[before == 1], 0.4), (after[wrong], 0.6)):
            torch.testing.assert_close(values, torch.full_like(values, share))


def test_swapped_labels_are_labels_of_the_picture_and_unknown_ones_stay_unknown(batch):
    truth = batch.truths["semantic"]
    assert isinstance(truth, Labels)
    holes = truth.ids.clone()
    holes[:, :4] = 255
    changed = ON_TRUTH["swap"](Labels(holes, truth.classes), torch.ones(6), torch.rand(6, 256), batch.truths).ids
    assert ((changed == 255) == (holes == 255)).all() and (changed != holes).any()
    for before, after in zip(holes, changed, strict=True):
        assert set(after.unique().tolist()) <= set(before.unique().tolist())


def test_depth_stays_grey_and_normals_do_not(batch):
    drifted = canvas("depth", batch, 1.0, "drift")
    torch.testing.assert_close(drifted, drifted[:, :1].expand_as(drifted))
    normals = canvas("normals", batch, 1.0, "drift") - batch.truths["normals"].vectors
    assert not torch.allclose(normals, normals[:, :1].expand_as(normals))


@pytest.mark.parametrize("schedule", STRENGTHS)
def test_strengths_lie_between_zero_and_the_most_and_rise_with_the_noise(schedule):
    levels = SCHEDULES["scaled-linear-zero-terminal"]().at(torch.arange(1000))
    strengths = GtAugment(("blur",), strength=0.7, schedule=schedule).strengths(levels, 1000)
    assert (strengths >= 0).all() and strengths.max() <= 0.7 + 1e-6 and strengths[-1] == pytest.approx(0.7)
    assert (strengths.diff() >= -1e-6).all()


@pytest.mark.parametrize("schedule", ["scaled-linear", "scaled-linear-zero-terminal", "cosine", "flow"])
@pytest.mark.parametrize("predicts", PREDICTIONS)
@pytest.mark.parametrize("kinds", [("blur",), ("on-policy",), ("on-policy-exact",)])
@pytest.mark.parametrize("how", ["lambda", "time", "constant"])
def test_an_oracle_that_returns_the_aim_reconstructs_the_clean_truth(schedule, predicts, kinds, how):
    """For any corruption and any t, in double precision."""
    noise_levels = SCHEDULES[schedule]()
    if predicts == "eps" and noise_levels.alphas[-1] == 0:
        pytest.skip("noise prediction says nothing where alpha = 0")
    t = torch.arange(0, 1000, 37)
    level = noise_levels.at(t, torch.float64)
    generator = torch.Generator().manual_seed(0)
    clean, corrupted, wrong = torch.randn(3, len(t), 2, 4, 4, generator=generator, dtype=torch.float64)
    gt = GtAugment(kinds, schedule=how)
    x, aim, _ = noised(
        *(clean, corrupted, level, gt.strengths(level, 1000), [(0, f"{i}", 0) for i in t.tolist()]),
        gt=gt,
        predicts=predicts,
        schedule=noise_levels,
        teacher=lambda x, level: wrong,
    )
    torch.testing.assert_close(clean_from(predicts, aim, x, level), clean, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(x, noised_plainly(clean, level, t), atol=1e-3)


def noised_plainly(clean, level, t):
    plain = GtAugment()
    return noised(
        *(clean, clean, level, torch.zeros(len(t)), [(0, f"{i}", 0) for i in t.tolist()]),
        gt=plain,
        predicts="x0",
        schedule=SCHEDULES["scaled-linear"](),
        teacher=lambda x, level: x,
    ).x


def exactly(teacher, t=300, predicts="v"):
    schedule = SCHEDULES["scaled-linear"]()
    level = schedule.at(torch.full((4,), t), torch.float64)
    clean = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gt = GtAugment(("on-policy-exact",), schedule="constant")
    x, aim, _ = noised(
        *(clean, clean, level, gt.strengths(level, 1000), [(0, f"{i}", 0) for i in range(4)]),
        gt=gt,
        predicts=predicts,
        schedule=schedule,
        teacher=teacher,
    )
    return schedule, level, clean, x, aim


def test_the_exact_on_policy_step_is_the_samplers_own():
    """It lands where DDIM lands that starts at the noisier level and takes one step to t."""
    seen = []

    def teacher(x, level):
        seen.append((x, level))
        return torch.sin(3 * x)

    schedule, level, _, x, _ = exactly(teacher)
    before, earlier = seen[0]
    assert (earlier.t > level.t).all()
    clean = clean_from("v", torch.sin(3 * before), before, earlier)
    noise = (before - earlier.alpha[:, None, None, None] * clean) / earlier.sigma[:, None, None, None]
    torch.testing.assert_close(x, add_noise(clean, noise, level))


def test_a_perfect_teacher_leaves_everything_as_it_was():
    clean = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, level, _, x, aim = exactly(lambda x, level: output_from("v", clean, x, level))
    plain = noised_plainly(clean, level, torch.arange(4))
    torch.testing.assert_close(x, plain, rtol=1e-6, atol=1e-6)


def test_the_naive_target_takes_the_corrupted_truth_for_the_truth():
    schedule = SCHEDULES["scaled-linear"]()
    level = schedule.at(torch.tensor([100, 900]), torch.float64)
    clean, corrupted = torch.randn(2, 2, 1, 4, 4, dtype=torch.float64)
    for predicts in PREDICTIONS:
        x, aim, _ = noised(
            *(clean, corrupted, level, torch.ones(2), [(0, "a", 0), (0, "b", 0)]),
            gt=GtAugment(("blur",), target="naive"),
            predicts=predicts,
            schedule=schedule,
            teacher=lambda x, level: x,
        )
        torch.testing.assert_close(clean_from(predicts, aim, x, level), corrupted)


def test_input_perturbation_adds_noise_that_the_aim_does_not_tell_of():
    schedule = SCHEDULES["scaled-linear"]()
    level = schedule.at(torch.full((64,), 500), torch.float64)
    clean = torch.zeros(64, 1, 8, 8, dtype=torch.float64)
    x, aim, _ = noised(
        *(clean, clean, level, torch.zeros(64), [(0, f"{i}", 0) for i in range(64)]),
        gt=GtAugment(perturb=0.5),
        predicts="eps",
        schedule=schedule,
        teacher=lambda x, level: x,
    )
    rest = x / level.sigma[0] - aim
    assert aim.std() == pytest.approx(1, abs=0.05) and rest.std() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"kinds": ("blurr",)}, "Unknown gt-augment kind 'blurr'"),
        ({"kinds": ("on-policy", "on-policy-exact")}, "exclude each other"),
        ({"kinds": ("on-policy-exact",), "target": "naive"}, "naive target knows neither"),
        ({"perturb": 0.1, "target": "naive"}, "naive target knows neither"),
        ({"strength": 0.0}, "strength is 0.0"),
        ({"strength": 1.5}, "strength is 1.5"),
        ({"perturb": -0.1}, "perturb is -0.1"),
    ],
)
def test_bad_values_are_refused_at_birth(bad, error):
    with pytest.raises(RecipeError, match=error):
        GtAugment(**bad)


def test_an_unknown_schedule_lists_the_known_ones():
    with pytest.raises(UsageError, match="constant, lambda, time"):
        GtAugment(("blur",), schedule="linear")


def test_a_kind_that_fits_no_task_is_refused():
    with pytest.raises(RecipeError, match="'swap' is for Labels, which none of these tasks has: depth"):
        GtAugment(("swap",)).check([task("depth")])
    GtAugment(("swap", "blur")).check([task("depth"), task("semantic")])
