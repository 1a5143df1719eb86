"""Referring by how many other things share some of the words: the model, the model without words, the baselines.

    python studies/embedded/referring.py [MODEL] [--protocol scenes/test] [--limit N] [--out FILE]

Writes the mean IoU of each arm, with its standard error, by the number of confusers, by whether one of them shares
all words but one ("hard"), and by what decides (colour, kind, size, place, relation).
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from denoisight.annotations import Annotation, Query
from denoisight.data.open import open_data
from denoisight.data.scenes import Expression, Scenes
from denoisight.evaluate.baselines import baselines
from denoisight.evaluate.protocols import find, open_images
from denoisight.evaluate.results import Result
from denoisight.evaluate.run import Candidate, Predictor, evaluate_all
from denoisight.predict.load import load
from denoisight.predict.options import Options
from denoisight.recipes.judge import TRAINING_IMAGES, predictor
from denoisight.runtime import write_json

MOST_CONFUSERS = 4
"""Images with as many or more stand together."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("model", nargs="?", default="embedded")
    words.add_argument("--protocol", default="scenes/test")
    words.add_argument("--limit", type=int)
    words.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    asked = words.parse_args()
    results = judge(asked.model, asked.protocol, asked.limit)
    spoken = expressions(results[0])
    write_json(
        asked.out,
        {
            "protocol": asked.protocol,
            "model_hash": results[0].model_hash,
            "images": results[0].num_images,
            "overall": table(results, spoken, lambda expression: "all"),
            "by_confusers": table(results, spoken, confusers),
            "by_hardness": table(results, spoken, lambda expression: "hard" if expression.hard else "not hard"),
            "by_what_decides": table(results, spoken, lambda expression: expression.about),
        },
    )


def judge(name: str, protocol_name: str, limit: int | None) -> tuple[Result, ...]:
    model, protocol = load(name), find(protocol_name, "referring")
    images = open_images(protocol)
    training = open_data(f"scenes:{TRAINING_IMAGES}", "train", size=protocol.size or (64, 64))
    seeing = predictor(model, "referring", Options(batch=16))
    arms = {
        "model": Candidate(seeing, model.weights_hash),
        "model, words withheld": Candidate(without_words(seeing)),
        **{name: Candidate(rival) for name, rival in baselines(protocol, training, images=images).items()},
    }
    return evaluate_all(arms, protocol, images, batch=16, limit=limit, partial=limit is not None)


def without_words(predict: Predictor) -> Predictor:
    def answer(queries: Sequence[Query], seed: int) -> Sequence[Annotation]:
        return predict([replace(query, text="") for query in queries], seed)

    return answer


def expressions(result: Result) -> list[Expression | None]:
    """What was asked of each image, in the order of the result's rows; None where nothing could be."""
    scenes = Scenes(result.protocol.split, result.protocol.count, result.protocol.size or (64, 64))
    return [scenes.expression(int(key.rpartition("/")[2])) for key in result.keys]


def confusers(expression: Expression) -> str:
    count = min(len(expression.confusers), MOST_CONFUSERS)
    return f"{count} or more" if count == MOST_CONFUSERS else str(count)


def table(results: Sequence[Result], spoken: Sequence[Expression | None], group_of) -> dict[str, dict]:
    """Per group the number of images, and per arm the mean IoU with its standard error."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, expression in enumerate(spoken):
        if expression is not None:
            groups[group_of(expression)].append(row)
    return {
        group: {"images": len(rows), "miou": {result.predictor: mean(result, rows) for result in results}}
        for group, rows in sorted(groups.items())
    }


def mean(result: Result, rows: Sequence[int]) -> dict[str, float | None]:
    values = np.array(result.per_image["miou"])[rows]
    error = round(float(values.std(ddof=1) / np.sqrt(len(values))), 4) if len(values) > 1 else None
    return {"mean": round(float(values.mean()), 4), "standard_error": error}


if __name__ == "__main__":
    main()
