"""Which prediction and which timestep law for the embedded model?

    python studies/parametrisation/run.py

A rough trial on a small network and small pictures. Every arm trains from nothing on the same scenes for the
same number of steps, with three seeds, and is scored on 64 scenes of the validation split with two denoising
steps. Each finished run is a line of results.jsonl; the same command goes on where it was stopped. README.md is
written from the results.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from denoisight.data.scenes import VERSION
from denoisight.recipes.base import override
from denoisight.recipes.embedded import embedded
from denoisight.recipes.launch import train
from denoisight.runtime import versions

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
ARMS = {
    "x0, ct": {"predicts": "x0", "timesteps": "ct"},
    "x0, uniform": {"predicts": "x0", "timesteps": "uniform"},
    "v, uniform": {"predicts": "v", "timesteps": "uniform"},
    "v, ct": {"predicts": "v", "timesteps": "ct"},
}
SEEDS = (0, 1, 2)
STEPS = 300
SMALL = {"res": 32, "network": {"widths": (32, 64), "text_width": 32, "text_layers": 1}}
SCORES = ("depth/abs_rel", "normals/mean", "semantic/miou")


def main() -> None:
    done = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    for seed in SEEDS:
        for arm, noise in ARMS.items():
            if any((row["arm"], row["seed"], row["steps"]) == (arm, seed, STEPS) for row in done):
                continue
            row = {
                "arm": arm,
                "seed": seed,
                "steps": STEPS,
                "scenes": VERSION,
                **run(noise, seed),
                "versions": versions(),
            }
            done.append(row)
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
    write_table([row for row in done if row["steps"] == STEPS])


def run(noise: dict[str, str], seed: int) -> dict[str, float]:
    """The validation scores of one training run's averaged weights at its end."""
    short = {
        **SMALL,
        "steps": STEPS,
        "max_time": "",
        "seed": seed,
        "noise": noise,
        "validations": 1,
        "optim": {"warmup": 50, "ema": 0.99},
    }
    with tempfile.TemporaryDirectory() as folder:
        best = train(override(embedded(), short), Path(folder) / "run", quiet=True).best
    return {name: best[name] for name in SCORES}


def write_table(rows: list[dict]) -> None:
    lines = [
        "# Parametrisation and timestep law of the embedded model",
        "",
        f"{STEPS} steps of 8 scenes and three tasks, {len(SEEDS)} seeds, 64 scenes of `scenes/val`, 32 x 32 pixels,",
        "widths 32 and 64, two DDIM steps; mean ± standard deviation over seeds. Written from `results.jsonl` by",
        "`python studies/parametrisation/run.py`.",
        "",
        "| arm | seeds | " + " | ".join(SCORES) + " |",
        "|---|---:|" + "---:|" * len(SCORES),
    ]
    for arm in ARMS:
        own = [row for row in rows if row["arm"] == arm]
        cells = [_spread([row[score] for row in own]) for score in SCORES]
        lines.append(f"| {arm} | {len(own)} | " + " | ".join(cells) + " |")
    (HERE / "README.md").write_text("\n".join(lines) + "\n")


def _spread(values: list[float]) -> str:
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}" if values else ""


if __name__ == "__main__":
    main()
