"""Measured laws from the baselines of this study: `python -m studies.addp_depth.law`, once their seeds are done.

The gains of ten steps on validation images, over the mean training map, as `denoisight analyze` measures them; written
to law-x0.json and law-v.json, which the "measured" arms are trained by.
"""

import json
from pathlib import Path

import numpy as np
from studies.scenes import scenes

HERE = Path(__file__).parent
KINDS = ("x0", "v")
STEPS = 10


def path(kind: str) -> Path:
    return HERE / f"law-{kind}.json"


def main() -> None:
    from denoisight.diffusion.schedule import scaled_linear, timesteps
    from denoisight.metrics.depth import METRICS
    from denoisight.train.contribution import measure

    rows = [json.loads(line) for line in (HERE / "results.jsonl").read_text().splitlines()]
    schedule, trivial = scaled_linear(), mean_map()
    for kind in KINDS:
        paths = [row["scores"]["depth"]["val_path"] for row in rows if row["arm"] == f"{kind}, uniform"]
        law = measure(
            np.array(paths),
            trivial,
            timesteps(schedule, STEPS),
            "abs_rel",
            METRICS["abs_rel"],
            task="depth",
            model=f"{kind}, uniform",
            schedule=schedule.name,
            num_timesteps=schedule.num_timesteps,
        )
        law.write(path(kind))
        print(kind, len(paths), "seeds", np.round(law.shares, 3))


def mean_map() -> float:
    """What the mean training map scores on the validation images."""
    from denoisight.data.open import open_data, subset
    from denoisight.evaluate.baselines import baselines
    from denoisight.evaluate.own import own
    from denoisight.evaluate.run import count

    folder = str(scenes(8192))
    reader = subset(open_data(folder, "val", ("depth",)), 128)
    training = subset(open_data(folder, "train", ("depth",)), 200)
    protocol = own(reader, "depth", "val")
    rival = baselines(protocol, training, 200, images=reader)["mean training map"]
    return count(rival, protocol, reader, range(len(reader))).scores(protocol.pooling)["abs_rel"]


if __name__ == "__main__":
    main()
