"""How well do boxes come back that were painted on the image as frames?

    python studies/frames/run.py

Frames the things of 200 training scenes, spoils the pictures as imperfect networks would (noise of 0.1 and 0.3, half
the size and back), reads the boxes again with each thickness, margin and number of paints, and writes F1 and PQ at an
IoU of a half into results.json, beside those of centre and size maps; and a few scenes into looks.png: image, frames,
what is read from them, frames spoilt by half the size and noise of 0.1, what is read from those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from denoisight.annotations import Boxes, Sample, resize_image, stack
from denoisight.codecs import Codec
from denoisight.codecs.boxes import CentreBoxes
from denoisight.codecs.frames import Frames
from denoisight.data.scenes import VERSION, Scenes
from denoisight.metrics.things import boxes_counts, things_scores
from denoisight.render import overlay, to_rgb
from denoisight.runtime import write_json

SCENES = 200
SHOWN = (1, 2, 5, 8)
HERE = Path(__file__).parent


def noisy(level: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    return lambda pixels, draw: pixels + level * torch.randn(pixels.shape, generator=draw)


def lossy(level: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    return lambda pixels, draw: resize_image(resize_image(noisy(level)(pixels, draw), 32, 32), 64, 64)


SPOILS = {
    "as drawn": noisy(0.0),
    "noise 0.1": noisy(0.1),
    "noise 0.3": noisy(0.3),
    "noise 0.1, half size": lossy(0.1),
    "noise 0.3, half size": lossy(0.3),
}
WIDTHS = {"1/64": 1 / 64, "1/32": 1 / 32, "1/24": 1 / 24, "1/16": 1 / 16}
MARGINS = (-0.2, -0.1, 0.0, 0.1, 0.2)
ARMS: dict[str, Codec[Boxes]] = {
    "centre and size maps": CentreBoxes(),
    **{f"thickness {name}": Frames(thickness=width) for name, width in WIDTHS.items()},
    **{f"margin {margin:g}": Frames(margin=margin) for margin in MARGINS},
    **{f"paints {paints}": Frames(paints=paints) for paints in (1, 2, 3, 6)},
}


def scores(codec: Codec[Boxes], samples: Sequence[Sample], spoil: str) -> dict[str, float]:
    draw = torch.Generator().manual_seed(0)
    sums: dict[str, Tensor] = {}
    for sample in samples:
        truth = sample.truths["boxes"]
        assert isinstance(truth, Boxes)
        read = codec.decode(SPOILS[spoil](codec.encode(truth, sample.image).pixels, draw), sample.image)
        for name, count in boxes_counts(stack([read]), stack([truth]), by_class=False).items():
            sums[name] = sums.get(name, torch.zeros(())) + count.sum()
    made = things_scores(sums)
    return {name: round(float(made[name]), 4) for name in ("f1", "pq")}


def looks(samples: Sequence[Sample]) -> Image.Image:
    draw, codec = torch.Generator().manual_seed(0), Frames()
    rows = []
    for sample in samples:
        drawn = codec.encode(sample.truths["boxes"], sample.image).pixels
        row = [to_rgb(sample.image)]
        for pixels in (drawn, SPOILS["noise 0.1, half size"](drawn, draw)):
            row += [to_rgb((pixels + 1) / 2), overlay(sample.image, codec.decode(pixels, sample.image))]
        rows.append(np.hstack([np.kron(picture, np.ones((3, 3, 1), np.uint8)) for picture in row]))
    return Image.fromarray(np.vstack(rows))


def main() -> None:
    scenes = Scenes("train", SCENES)
    samples = [scenes[i] for i in range(SCENES)]
    table = {name: {spoil: scores(codec, samples, spoil) for spoil in SPOILS} for name, codec in ARMS.items()}

    def mean(arm: str) -> float:
        return float(np.mean([row["f1"] for row in table[arm].values()]))

    best = max(MARGINS, key=lambda margin: mean(f"margin {margin:g}"))
    write_json(HERE / "results.json", {"scenes": VERSION, "judged": SCENES, "best_margin": best, "scores": table})
    looks([samples[i] for i in SHOWN]).save(HERE / "looks.png", optimize=True)
    for name, row in table.items():
        print(f"{name:24s}", *(f"{spoil}: {made['f1']:.3f} {made['pq']:.3f}" for spoil, made in row.items()), sep="  ")
    print("best margin", best)


if __name__ == "__main__":
    main()
