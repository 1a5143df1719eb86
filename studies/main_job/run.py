"""The main job's numbers: the embedded model as shipped, and two adaptations to real photographs.

    DENOISIGHT_DATA_DIR=DATA python studies/main_job/run.py [CASE ...]

Runs each command below unless its results are there already, keeps their results.json beside this file and writes
the tables of the project's README from them. Two cores, about half an hour.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from denoisight.evaluate.results import Results
from denoisight.report.tables import markdown, score_tables

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
RUNS = Path("runs")
DATA = Path(os.environ.get("DENOISIGHT_DATA_DIR", "../shared/data"))

CASES: dict[str, list[list[str]]] = {
    "scenes-test": [["evaluate", "embedded", "--protocol", "scenes/test", "--task", "all"]],
    "scenes-shifted": [["evaluate", "embedded", "--protocol", "scenes/shifted", "--task", "all"]],
    "kitti-object": [
        ["evaluate", "embedded", "--protocol", "kitti-object/all", "--task", "depth", "--data", f"{DATA}/kitti_object"]
    ],
    "camvid": [
        ["train", "semantic", "--data", f"{DATA}/camvid_240x180", "--max-time", "10m", "-o", "runs/camvid"],
        ["evaluate", "runs/camvid", "--protocol", "camvid-240/test"],
    ],
    "kitchen": [
        ["train", "depth", "--data", f"{DATA}/kitchen_rgbd_272x208", "--max-time", "10m", "-o", "runs/kitchen"],
        ["evaluate", "runs/kitchen", "--protocol", "kitchen/test"],
    ],
}
BASELINES = {
    "vertical ramp",
    "mean training map",
    "facing above ground",
    "most frequent class",
    "most frequent class per pixel",
}
NOTE = (
    "Depth: mean over images; normals and labels: all pixels pooled. Brackets: 95 % bootstrap intervals over images. "
    "The mean map of kitti-object is made from some of the ten images that it is judged on."
)
SHOWN = {"abs_rel", "delta1", "rmse", "mean", "median", "within_11.25", "miou", "pixel_accuracy"}


def main() -> None:
    for name in sys.argv[1:] or CASES:
        if not (HERE / name / "results.json").exists():
            run(name, CASES[name])
    if all((HERE / name / "results.json").exists() for name in CASES):
        write_tables()


def run(name: str, commands: list[list[str]]) -> None:
    out = RUNS / "main_job" / name
    for words in commands:
        more = ["-o", str(out)] if words[0] == "evaluate" else ["--overwrite"]
        subprocess.run([sys.executable, "-m", "denoisight", *words, *more], check=True)
    (HERE / name).mkdir(exist_ok=True)
    for file in ("results.json", "per_image.csv"):
        shutil.copy(out / file, HERE / name / file)


def write_tables() -> None:
    """Put the tables between the markers of the README."""
    before, _, rest = README.read_text(encoding="utf-8").partition("<!-- scores -->\n")
    _, _, after = rest.partition("<!-- end of scores -->")
    README.write_text(f"{before}<!-- scores -->\n{tables()}<!-- end of scores -->{after}", encoding="utf-8")


def tables() -> str:
    """Per protocol and task, the deciding scores of the committed results with their intervals."""
    parts = []
    for name in CASES:
        results = [r.model_copy(update={"metrics": _few(r.metrics), "scores": _only(r.scores)}) for r in _read(name)]
        shown = [replace(table, note="") for table in score_tables(results, BASELINES) if table.rows]
        parts += [f"**{table.title}**\n\n{markdown(table)}" for table in shown]
    return "\n".join([*parts, f"{NOTE}\n"])


def _read(name: str):
    return Results.read(HERE / name).results


def _few(metrics: dict) -> dict:
    return {name: metric for name, metric in metrics.items() if name in SHOWN}


def _only(scores: dict) -> dict:
    return {pooling: _few(values) for pooling, values in scores.items()}


if __name__ == "__main__":
    main()
