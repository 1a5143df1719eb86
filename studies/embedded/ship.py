"""Make a shipped model out of a finished run of its recipe.

    denoisight train --recipe embedded -o runs/embedded
    python studies/embedded/ship.py runs/embedded

(or embedded-create). Chooses each task's number of denoising steps on 200 scenes of the validation split, then writes
the weights in half precision, with their provenance, to where the package keeps them. What was measured goes to
steps.json.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from denoisight.data.open import open_data
from denoisight.data.scenes import VERSION
from denoisight.models.embedded import embedded_folder
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.recipes.base import Recipe, override, read_yaml
from denoisight.runtime import versions, write_json
from denoisight.train.validate import CHOOSE_BY, validate

HERE = Path(__file__).parent
STEPS = (1, 2, 4, 8)


def main(run: Path) -> None:
    model, recipe = load(run), override(Recipe(), read_yaml(run / "config.yaml"))
    steps, scores = best_steps(model, recipe.tasks) if recipe.tasks else ({}, {})
    entries = tuple(e.model_copy(update={"steps": steps.get(e.name)}) for e in model.parts.config.denoises)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = max((row for row in rows if "loss" in row), key=lambda row: row["step"])
    name = recipe.recipe
    provenance: dict[str, str | int | float] = {
        **scores,
        "command": told_command(run),
        "max_time": recipe.max_time,
        "total_steps": int(last["step"]),
        "hours": round(last["elapsed_s"] / 3600, 2),
        **({} if recipe.model == "new" else {"started_from_weights": load(recipe.model).weights_hash[:16]}),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, 1 thread",
        "scenes": VERSION,
        "torch": versions()["torch"],
    }
    model.parts = model.parts.with_config(name=name, denoises=entries)
    folder = embedded_folder(name)
    model.save_pretrained(folder, with_scores((run / "model" / "README.md").read_text(), scores), "fp16", provenance)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"steps {steps}, {size / 1e6:.1f} MB in {folder}")


def told_command(run: Path) -> str:
    """As it was given, but for where it wrote to."""
    words = json.loads((run / "env.json").read_text())["command"][1:]
    return " ".join(["denoisight", *(words[: words.index("-o")] if "-o" in words else words)])


def best_steps(model: Model, tasks: Sequence[str]) -> tuple[dict[str, int], dict[str, float]]:
    """For each task the number of steps with the best deciding score on 200 scenes of the validation split; those
    scores."""
    held_out = open_data("scenes:200", "val", size=(64, 64))
    scores = {steps: validate(model, tasks, "denoise", held_out, steps) for steps in STEPS}
    chosen, reached = {}, {}
    for task in tasks:
        metric, sign = CHOOSE_BY[task]
        name = f"{task}/{metric}"
        chosen[task] = min(STEPS, key=lambda steps: sign * scores[steps][name])
        reached[name] = round(scores[chosen[task]][name], 5)
    write_json(HERE / "steps.json", {"scenes": VERSION, "val, 200 scenes": scores, "chosen": chosen})
    return chosen, reached


def with_scores(card: str, scores: Mapping[str, float]) -> str:
    """The model card with these validation scores in place of the run's."""
    for name, value in scores.items():
        card = re.sub(rf"\| {name} \| [\d.]+ \|", f"| {name} | {value:.4f} |", card)
    return card


if __name__ == "__main__":
    main(Path(sys.argv[1]))
