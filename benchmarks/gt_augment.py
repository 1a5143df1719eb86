"""What corrupting truths costs a training step of the embedded model.

    OMP_NUM_THREADS=1 python benchmarks/gt_augment.py

Steps with and without corruption take turns on the same batches, best of several each; first it is checked that both
aim at the same truth. On-policy corruption has a network pass of its own, and is shown beside.
"""

import time

import torch

from denoisight.annotations import Batch
from denoisight.data.scenes import Scenes
from denoisight.diffusion.timesteps import law
from denoisight.predict.load import load
from denoisight.predict.model import task_of
from denoisight.recipes.embedded import embedded
from denoisight.tasks.instruct import INSTRUCT
from denoisight.train.gt_augment import GtAugment
from denoisight.train.objectives import DenoiseObjective, Teaching

ROUNDS = 9
PROMISE = 0.10


def main() -> None:
    recipe, parts = embedded(), load("embedded", device="cpu").parts
    scenes = Scenes("train")
    batch = Batch.of([scenes[i] for i in range(recipe.batch)])
    tasks = [task_of(entry) for entry in parts.config.denoises if entry.name != INSTRUCT]
    chances = law("ramp", parts.backbone.schedule, parts.backbone.predicts)
    teaching = Teaching(**recipe.teaching.model_dump())
    arms = {
        name: DenoiseObjective(parts.backbone.train(), tasks, chances, teaching, GtAugment(kinds))
        for name, kinds in (("none", ()), ("all", ("all",)), ("on-policy", ("on-policy",)))
    }
    check(arms["none"], arms["all"], batch)
    best = dict.fromkeys(arms, float("inf"))
    for step in range(ROUNDS):
        for name, objective in arms.items():
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                objective(batch, seed=0, step=step)["loss"].backward()
            best[name] = min(best[name], time.perf_counter() - began)
            objective.zero_grad()
    for name, seconds in best.items():
        print(f"{name:10} {seconds:.3f} s a step of {recipe.batch} images, {seconds / best['none'] - 1:+.1%}")
    if best["all"] > (1 + PROMISE) * best["none"]:
        print(f"corruption costs more than the promised {PROMISE:.0%}")


def check(plain: DenoiseObjective, corrupted: DenoiseObjective, batch: Batch) -> None:
    """A network that knows the clean canvases of a step has no loss in either arm."""
    roles = [role for role in plain._roles(0, 0) if role in plain.tasks]
    assert roles == [role for role in corrupted._roles(0, 0) if role in corrupted.tasks]
    image = plain.backbone.latents.encode(batch.images * 2 - 1)
    for role in roles:
        assert torch.equal(plain._canvas(role, batch, image)[0], corrupted._canvas(role, batch, image)[0])


if __name__ == "__main__":
    main()
