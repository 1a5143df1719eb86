"""Words that correct: what do corrections by an oracle, by chance and plain guidance bring for hard expressions?

    python -m studies.addp_guidance [--quick] [--table]

The embedded model is asked for things of which another shares all words but one. It is corrected once and twice by the
oracle, which sees the truth, and by a critic that names any of the confusers; each correction stays, or is taken back
where the truth says that it made the answer worse, as a person would who sees the mask. The same numbers of network
calls are spent on classifier-free guidance with more denoising steps, on ensembles, and on the best of several noises.
Weights, and how several negatives are weighed, are chosen on validation scenes for each arm; the test scenes are scored
with what was chosen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from studies.tables import COLOURS, interval

from denoisight.annotations import Mask, Query
from denoisight.data.scenes import VERSION, Scenes
from denoisight.predict.critics import Critic, chance, oracle
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.predict.options import Options
from denoisight.predict.prediction import Prediction
from denoisight.runtime import versions

HERE = Path(__file__).parent
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
ROUNDS = (1, 2, 3)
SEEDS = (0, 1, 2)
OTHER = 100
"""What the seeds of other noises are apart."""
VAL, TEST = 200, 500


@dataclass(frozen=True, eq=False)
class Item:
    """A hard expression of a scene, with the mask that it means and those that it may be confused with, by words."""

    query: Query
    truth: Mask
    confusers: tuple[tuple[str, Mask], ...]


def items(split: str, count: int) -> list[Item]:
    """The first hard expression of each scene that has one and whose confusers have words of their own."""
    scenes, found = Scenes(split), []
    for i in range(len(scenes)):
        if len(found) == count:
            break
        expression = next((e for e in scenes.expressions(i) if e.hard), None)
        if expression is None:
            continue
        sample, confusers = scenes[i], scenes.confusers(i, expression)
        mask = Mask.of(sample.truths["instances"].ids == expression.target)  # type: ignore[attr-defined]
        if confusers:
            found.append(Item(replace(sample.query, text=expression.text), mask, confusers))
    return found


def iou(answers: Sequence[Prediction], asked: Sequence[Item]) -> np.ndarray:
    """Of each answer with its truth."""
    pairs = [(answer.annotation.inside, item.truth.inside) for answer, item in zip(answers, asked, strict=True)]
    return np.array([float((a & b).sum()) / max(float((a | b).sum()), 1.0) for a, b in pairs])


def answers(model: Model, queries: Sequence[Query], **how: Any) -> list[Prediction]:
    """In one step, unless something else is said."""
    return list(model.stream(queries, "referring", Options(batch=64, **{"steps": 1, **how})))


def corrected(
    model: Model, asked: Sequence[Item], critics: Sequence[Critic], rounds: int, seed: int, **how: Any
) -> list[list[Prediction]]:
    """The answers before any correction and after each round; what its critic has no words for stays as it is."""
    now = answers(model, [item.query for item in asked], seed=seed, guidance=0.0)
    stages = [now]
    for _ in range(rounds):
        words = [critic(answer) for critic, answer in zip(critics, now, strict=True)]
        places = [i for i, word in enumerate(words) if word]
        again = [replace(now[i].query, avoid=(*now[i].query.avoid, str(words[i]))) for i in places]
        now = list(now)
        for i, answer in zip(places, answers(model, again, seed=seed, **how) if again else [], strict=True):
            now[i] = answer
        stages.append(now)
    return stages


def critics(name: str, asked: Sequence[Item], seed: int) -> list[Critic]:
    if name == "oracle":
        return [oracle(item.truth, item.confusers) for item in asked]
    return [chance([words for words, _ in item.confusers], seed) for item in asked]


def by_setting(model: Model, asked: Sequence[Item], seed: int) -> dict[str, dict[str, np.ndarray]]:
    """IoU by item for every arm and every setting of it."""
    plain = iou(answers(model, [item.query for item in asked], seed=seed, guidance=0.0), asked)
    scores: dict[str, dict[str, np.ndarray]] = {"plain": {"": plain}}
    queries = [item.query for item in asked]
    others = [iou(answers(model, queries, seed=seed + OTHER * k, guidance=0.0), asked) for k in ROUNDS]
    for rounds in ROUNDS:
        scores[f"best of {rounds + 1} noises"] = {"": np.max([plain, *others[:rounds]], 0)}
    for calls in (2, 4, 6):
        steps = calls // 2
        scores[f"guidance, {calls} calls"] = {
            f"w {w:g}, {steps} steps": iou(answers(model, queries, seed=seed, guidance=w, steps=steps), asked)
            for w in WEIGHTS[1:]
        }
        scores[f"ensemble, {calls} calls"] = {
            "": iou(answers(model, queries, seed=seed, guidance=0.0, ensemble=calls), asked)
        }
    for name in ("oracle", "random"):
        for weight in WEIGHTS[1:]:
            for negatives in ("mean", "sum"):
                how = {"guidance": weight, "negatives": negatives}
                stages = corrected(model, asked, critics(name, asked, seed), max(ROUNDS), seed, **how)
                values = np.array([iou(stage, asked) for stage in stages])
                for rounds in ROUNDS:
                    kept, best = values[rounds], values[: rounds + 1].max(0)
                    for end, value in (("", kept), (", or taken back", best)):
                        arm = scores.setdefault(f"{name}, {rounds} rounds{end}", {})
                        arm[f"w {weight:g}, {negatives}"] = value
    return scores


def measure(val: int, test: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Settings chosen on validation scenes by the mean over seeds, and the test scores [seeds, items] under them."""
    model = load("embedded", device="cpu")
    asked = {"val": items("val", val), "test": items("test", test)}
    scored = {split: [by_setting(model, asked[split], seed) for seed in seeds] for split in asked}
    result: dict[str, Any] = {}
    for arm, settings in scored["val"][0].items():
        on_val = {s: float(np.mean([run[arm][s] for run in scored["val"]])) for s in settings}
        best = max(on_val, key=lambda s: on_val[s])
        result[arm] = {
            "setting": best,
            "val": {s: round(v, 4) for s, v in on_val.items()},
            "test_means": {s: round(float(np.mean([run[arm][s] for run in scored["test"]])), 4) for s in settings},
            "test": [[round(float(x), 4) for x in run[arm][best]] for run in scored["test"]],
        }
    return {
        "model": model.weights_hash,
        "scenes": VERSION,
        "items": {split: len(found) for split, found in asked.items()},
        "seeds": list(seeds),
        "arms": result,
        "versions": versions(),
    }


def write(measured: Mapping[str, Any], folder: Path) -> None:
    """README.md with its table, and figure.svg."""
    arms, count = measured["arms"], measured["items"]
    plain = np.array(arms["plain"]["test"])
    lines = [
        "# Words that correct, on hard expressions",
        "",
        *wrap(
            f"{count['test']} hard expressions of as many test scenes: another thing of the scene shares all words "
            f"but one; {len(measured['seeds'])} noises each; the embedded model, in one step but where more are said. "
            f"Weight and kind of negatives are chosen on {count['val']} validation scenes, for each arm. Gain: points "
            "of mean IoU over the plain answer. Brackets: 95 % bootstrap intervals over items and seeds. Calls: "
            "network evaluations an item, at most. The oracle sees the truth, to tell when to correct and what: it "
            "bounds what a person could do. A correction may be taken back, and the best of several noises is taken, "
            "where the truth says so. Written by `python -m studies.addp_guidance --table` from `results.json`.",
            118,
        ),
        "",
        "| arm | chosen on validation | calls | mean IoU | gain in points |",
        "|---|---|---:|---:|---:|",
    ]
    for name, arm in arms.items():
        own = np.array(arm["test"])
        value = "{:.3f} [{:.3f}, {:.3f}]".format(*interval(own))
        gain = "" if name == "plain" else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * x for x in interval(own - plain)))
        lines.append(f"| {_said(name)} | {_said(arm['setting'])} | {_calls(name)} | {value} | {gain} |")
    lines += ["", "![Mean IoU against the weight](figure.svg)"]
    (folder / "README.md").write_text("\n".join(lines) + "\n")
    draw(arms, folder / "figure.svg")


def draw(arms: Mapping[str, Any], path: Path) -> None:
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.add_subplot()
    shown = {"guidance, 2 calls": "", "oracle, 1 rounds": "mean", "oracle, 2 rounds": "sum", "random, 2 rounds": "sum"}
    for (name, kind), colour in zip(shown.items(), COLOURS, strict=False):
        points = {float(s.split()[1].rstrip(",")): v for s, v in arms[name]["test_means"].items() if kind in s}
        points = {0.0: arms["plain"]["test_means"][""], **points}
        label = _said(f"{name} {kind}".strip())
        axes.plot(list(points), list(points.values()), "o-", color=colour, markersize=3, label=label)
    axes.set_xlabel("weight w")
    axes.set_ylabel("mean IoU, test")
    axes.grid(linewidth=0.4)
    axes.legend(fontsize=8, frameon=False)
    with rc_context({"svg.hashsalt": "addp_guidance"}):  # alike whenever it is drawn
        figure.savefig(path, metadata={"Date": None})


def _said(name: str) -> str:
    return name.replace(" 1 rounds", " one round").replace(" 1 steps", " one step")


def _calls(name: str) -> int:
    """The first answer takes one call, and the one after k corrections 1 + k."""
    numbers = [int(word) for word in name.split() if word.isdecimal()]
    if "rounds" in name:
        return sum(1 + k for k in range(numbers[0] + 1))
    return numbers[0] if numbers else 1


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--quick", action="store_true")
    flags.add_argument("--table", action="store_true", help="only write README.md from results.json")
    asked = flags.parse_args()
    folder = Path("runs/studies/addp_guidance-quick") if asked.quick else HERE
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    if not asked.table:
        measured = measure(8, 8, (0,)) if asked.quick else measure(VAL, TEST, SEEDS)
        path.write_text(json.dumps(measured) + "\n")
    write(json.loads(path.read_text()), folder)


if __name__ == "__main__":
    main()
