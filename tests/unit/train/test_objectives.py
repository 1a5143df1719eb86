from typing import Any

import pytest
import torch

from denoisight.annotations import Batch
from denoisight.data.scenes import CLASSES, Scenes
from denoisight.diffusion import timesteps
from denoisight.diffusion.schedule import Level, scaled_linear
from denoisight.diffusion.timesteps import law
from denoisight.models.backbone import Condition
from denoisight.models.embedded import Network
from denoisight.models.folder import ModelConfig, Parts, TaskEntry, assemble
from denoisight.tasks import make_tasks
from denoisight.tasks.instruct import understand
from denoisight.train.ema import Averaged, averaged, swapped_in, trained
from denoisight.train.gt_augment import GtAugment
from denoisight.train.objectives import DenoiseObjective, ReadoutObjective, Teaching

TASKS = make_tasks(["depth", "normals", "semantic"], CLASSES)


@pytest.fixture(scope="module")
def batch() -> Batch:
    scenes = Scenes("train", 4, (32, 32))
    return Batch.of([scenes[i] for i in range(4)])


def parts(predicts: str = "x0", heads: bool = False) -> Parts:
    torch.manual_seed(0)
    entries = tuple(TaskEntry(name=t.name, classes=t.classes) for t in TASKS)
    network = Network(widths=(16, 32), text_width=16, text_layers=1)
    config = ModelConfig(name="tiny", network=network, predicts=predicts, denoises=entries, reads=entries)
    return assemble(config, {t.name: t.head.channels for t in TASKS} if heads else None)


def denoising(predicts: str = "x0") -> DenoiseObjective:
    backbone = parts(predicts).backbone
    return DenoiseObjective(backbone, TASKS, law("ct", backbone.schedule))


@pytest.mark.parametrize("predicts", ["eps", "v", "x0", "flow"])
def test_denoising_losses_are_named_finite_and_have_gradients(predicts: str, batch: Batch) -> None:
    objective = denoising(predicts)
    losses = objective(batch, seed=0, step=0)
    assert set(losses) == {"loss", "depth", "normals", "semantic"}
    torch.testing.assert_close(losses["loss"], torch.stack([losses[t.name] for t in TASKS]).mean())
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())


def test_a_loss_is_a_function_of_items_seed_and_step(batch: Batch) -> None:
    objective = denoising()
    once = objective(batch, seed=0, step=3)["loss"]
    torch.testing.assert_close(objective(batch, seed=0, step=3)["loss"], once, rtol=0, atol=0)
    assert objective(batch, seed=0, step=4)["loss"] != once
    assert objective(batch, seed=1, step=3)["loss"] != once


def test_each_item_keeps_its_noise_in_any_batch(batch: Batch) -> None:
    """Labels are valid everywhere, so the loss of a batch is the mean of its items' losses."""
    backbone = parts().backbone
    objective = DenoiseObjective(backbone, make_tasks(["semantic"], CLASSES), law("uniform", backbone.schedule))
    singles = [objective(one(batch, i), seed=0, step=0)["loss"] for i in range(len(batch))]
    torch.testing.assert_close(torch.stack(singles).mean(), objective(batch, seed=0, step=0)["loss"])


def one(batch: Batch, i: int) -> Batch:
    truths = {name: truth[i : i + 1] for name, truth in batch.truths.items()}
    return Batch(batch.images[i : i + 1], batch.texts[i : i + 1], batch.keys[i : i + 1], truths)


def test_invalid_pixels_teach_nothing(batch: Batch) -> None:
    """What stands in the truth where it is invalid must not reach the loss."""
    objective = denoising()
    depth = batch.truths["depth"]
    invalid = ~depth.valid
    assert invalid.any(), "the scenes of this test need some sky"
    garbage = type(depth)(torch.where(invalid, 1e4, depth.values), depth.valid, depth.gauge)
    changed = Batch(batch.images, batch.texts, batch.keys, {**batch.truths, "depth": garbage})
    before, after = (objective(b, seed=0, step=0)["depth"] for b in (batch, changed))
    torch.testing.assert_close(before, after)


def test_readout_reaches_backbone_and_heads(batch: Batch) -> None:
    objective = ReadoutObjective(parts(heads=True), TASKS)
    losses = objective(batch, seed=0, step=0)
    losses["loss"].backward()
    without = {name for name, p in objective.named_parameters() if p.grad is None}
    assert all("conv_out" in name or "conv_norm_out" in name for name in without)
    assert len(without) < 8


def test_a_few_steps_lower_the_loss(batch: Batch) -> None:
    objective = denoising()
    optimizer = torch.optim.AdamW(objective.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss = objective(batch, seed=0, step=0)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def teaching(batch: Batch, steps: int = 12, **how: Any) -> tuple[DenoiseObjective, list[list[str]], list[Condition]]:
    """The roles and conditions that the network is given over some steps."""
    backbone = parts().backbone
    names = ["depth", "referring", "saliency"]
    objective = DenoiseObjective(backbone, make_tasks(names, CLASSES), law("ct", backbone.schedule), Teaching(**how))
    roles, seen = [], []
    backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2]))
    for step in range(steps):
        with torch.no_grad():
            roles.append(list(objective(batch, seed=0, step=step))[1:])
    return objective, roles, seen


def test_creation_sees_no_image_and_perception_does(batch: Batch) -> None:
    _, roles, seen = teaching(batch, create=0.5)
    assert all(names == ["depth", "referring", "saliency", "create"] for names in roles)
    for cond in seen:
        perceiving, creating = cond.image[: 3 * len(batch)], cond.image[3 * len(batch) :]
        assert (creating == 0).all() and perceiving.flatten(1).abs().amax(1).min() > 0


def test_passes_draw_roles_in_proportion(batch: Batch) -> None:
    _, roles, _ = teaching(batch, steps=60, create=0.5, passes=2)
    count = {name: sum(name in names for names in roles) for name in ("create", "depth", "referring", "saliency")}
    # One of two stratified draws is always creation, so every other is a task.
    assert count["create"] == 60 and all(len(set(names)) == len(names) for names in roles)
    assert all(10 <= count[name] <= 32 for name in ("depth", "referring", "saliency"))


def test_weights_say_how_often_a_task_is_drawn(batch: Batch) -> None:
    _, roles, _ = teaching(batch, steps=60, passes=1, weights={"referring": 4.0, "depth": 0.5})
    count = {name: sum(name in names for names in roles) for name in ("depth", "referring", "saliency")}
    assert count["referring"] > 30 > count["saliency"] > count["depth"] and sum(count.values()) == 60


def test_balanced_errors_do_not_depend_on_how_strong_a_canvas_is() -> None:
    """A network that says the mean of its canvas has an error of 1, whether the canvas is pale or not."""
    backbone = parts().backbone
    objective = DenoiseObjective(backbone, (), law("ct", backbone.schedule), Teaching(create=1.0, balance=True))
    known = torch.ones(2, 12, 8, 8, dtype=torch.bool)
    for strength in (0.3, 1.0):
        clean = strength * torch.randn(2, 12, 8, 8, generator=torch.Generator().manual_seed(0))
        mean = objective._mean((clean - clean.mean()) ** 2, known, clean)
        torch.testing.assert_close(mean, torch.tensor(1.0))
    nothing = objective._mean(torch.zeros_like(clean), ~known, clean)
    assert nothing == 0


@pytest.mark.parametrize("predicts", ["x0", "v"])
def test_creation_is_judged_by_its_velocity_and_perception_is_not(batch: Batch, predicts: str) -> None:
    backbone = parts(predicts=predicts).backbone
    objective = DenoiseObjective(
        backbone, make_tasks(["depth"], CLASSES), law("ct", backbone.schedule), Teaching(create=0.5)
    )
    level = backbone.schedule.at(torch.tensor([200, 999, 200, 999]))
    weights = objective._weights(["depth", "create"], 2, level).flatten()
    expected = level.sigma[2:] ** -2 if predicts == "x0" else torch.ones(2)
    torch.testing.assert_close(weights, torch.cat([torch.ones(2), expected]))


def test_conditions_are_dropped_as_often_as_asked(batch: Batch) -> None:
    objective, _, seen = teaching(batch, steps=40, drop=0.2)
    with torch.no_grad():
        empty = objective.backbone.text([""])[0]
    blind = torch.cat([cond.image.flatten(1).abs().amax(1) == 0 for cond in seen]).float()
    mute = torch.cat([(cond.text == empty).all(-1).all(-1) for cond in seen]).float()
    # Words in two fifths (alone, and with the image), the image in two fifths, both in one.
    for share, expected in ((blind.mean(), 0.4), (mute.mean(), 0.4), ((blind * mute).mean(), 0.2)):
        assert abs(float(share) - expected) < 4 * (expected * (1 - expected) / len(blind)) ** 0.5


def test_a_referred_mask_is_asked_for_in_its_own_words(batch: Batch) -> None:
    backbone = parts().backbone
    asked: list[str] = []
    backbone.text.register_forward_pre_hook(lambda module, inputs: asked.extend(inputs[0]))
    objective = DenoiseObjective(backbone, make_tasks(["referring"], CLASSES), law("ct", backbone.schedule))
    objective(batch, seed=0, step=0)
    assert asked == [f"segment {phrase}" for phrase in batch.phrases["mask"]]
    assert batch.phrases["mask"] != batch.texts


def test_paraphrases_ask_for_the_same_task(batch: Batch) -> None:
    backbone = parts().backbone
    asked: list[str] = []
    backbone.text.register_forward_pre_hook(lambda module, inputs: asked.extend(inputs[0]))
    how = Teaching(paraphrase=1.0)
    objective = DenoiseObjective(backbone, make_tasks(["depth"], CLASSES), law("ct", backbone.schedule), how)
    for step in range(10):
        objective(batch, seed=0, step=step)
    assert {understand(words)[0] for words in asked} == {"depth"} and len(set(asked)) > 2


def test_sampling_and_scaling_have_the_same_expected_gradient(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Summed exactly over all levels of a short schedule, at the same noise."""
    backbone = parts("v").backbone
    backbone.schedule = scaled_linear(6)
    chances = law("ct2", backbone.schedule, "v", 0.2)
    gradients = []
    for scaling in (False, True):
        objective = DenoiseObjective(backbone, make_tasks(["depth"], CLASSES), chances, scaling=scaling)
        total = torch.zeros(())
        for t in range(6):
            # How often the objective draws t, and the loss it then has.
            share = objective.law[t] / objective.law.sum()
            monkeypatch.setattr(timesteps, "draw", lambda law, count, generator=None, t=t: torch.full((count,), t))
            total = total + share * objective(batch, seed=0, step=0)["loss"]
        gradients.append(torch.autograd.grad(total, list(backbone.unet.parameters())))
        assert torch.equal(objective.law, objective.even) == scaling
    for sampled, scaled in zip(*gradients, strict=True):
        torch.testing.assert_close(sampled, scaled, rtol=1e-4, atol=1e-6)


def corrupting(batch: Batch, *kinds: str, **how: Any) -> tuple[DenoiseObjective, list[torch.Tensor]]:
    """An objective after a pass, and what the network was given."""
    backbone = parts("x0").backbone
    gt = GtAugment(kinds, **how)
    objective = DenoiseObjective(backbone, TASKS, law("uniform", backbone.schedule), gt=gt)
    seen: list[torch.Tensor] = []
    backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    objective(batch, seed=0, step=0)["loss"].backward()
    return objective, seen


def test_truths_are_corrupted_and_the_aim_is_not(batch: Batch) -> None:
    """For x0 prediction the aim is the clean canvas: a network that says it has no loss, whatever it is given."""
    _, (plain,) = corrupting(batch)
    objective, (corrupted,) = corrupting(batch, "all", schedule="constant")
    assert (plain - corrupted).abs().flatten(1).amax(1).min() > 1e-3
    clean = torch.cat([objective._canvas(task.name, batch, plain)[0] for task in TASKS])
    objective.backbone.forward = lambda x, level, cond: clean  # type: ignore[method-assign]
    assert objective(batch, seed=0, step=0)["loss"] == 0


@pytest.mark.parametrize("kind", ["on-policy", "on-policy-exact"])
def test_on_policy_corruption_asks_the_teacher_without_gradients(batch: Batch, kind: str) -> None:
    backbone = parts("x0").backbone
    objective = DenoiseObjective(backbone, TASKS, law("uniform", backbone.schedule), gt=GtAugment((kind,)))
    asked = []

    def teacher(x: torch.Tensor, level: Level, cond: Condition) -> torch.Tensor:
        asked.append((level.t, torch.is_grad_enabled()))
        return torch.zeros_like(x)

    objective.teacher = teacher
    objective(batch, seed=0, step=0)["loss"].backward()
    ((t, with_gradient),) = asked
    assert len(t) == len(TASKS) * len(batch) and not with_gradient


def test_creation_is_never_corrupted(batch: Batch) -> None:
    backbone = parts().backbone
    gt = GtAugment(("blur", "on-policy"), schedule="constant")
    clean, corrupted = (
        DenoiseObjective(backbone, (), law("uniform", backbone.schedule), Teaching(create=1.0), GtAugment()),
        DenoiseObjective(backbone, TASKS, law("uniform", backbone.schedule), Teaching(create=0.5), gt),
    )
    with torch.no_grad():
        losses = [objective(batch, seed=0, step=0)["create"] for objective in (clean, corrupted)]
    torch.testing.assert_close(*losses)


def test_a_module_under_averaged_weights_is_called_without_being_changed() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    module[0].bias.requires_grad_(False)
    average, x = averaged(module, 0.9), torch.randn(5, 3)
    before = [p.detach().clone() for p in trained(module)]
    average.step(trained(module))
    with torch.no_grad():
        for p in trained(module):
            p += 1
    raw = module(x)
    teacher = Averaged(module, average)
    told = teacher(x)
    assert not told.requires_grad and torch.equal(module(x), raw) and not torch.allclose(told, raw)
    with swapped_in(average, module):
        torch.testing.assert_close(module(x), told)
    # A checkpoint brings another list of averages.
    average.load_state_dict({**average.state_dict(), "shadow_params": [2 * weights for weights in before]})
    assert not torch.allclose(teacher(x), told)
