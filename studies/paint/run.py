"""Which margin reads painted things best?

    python studies/paint/run.py

Paints the thing that each of 400 training scenes' phrases means, spoils the picture as an imperfect network would
(noise of 0.1 and 0.3, half the size and back), reads it again with each margin, and writes the mean IoU with the mask
into results.json. The best margin is the default of `codecs.paint.Paint`.
"""

from __future__ import annotations

from pathlib import Path

import torch

from denoisight.annotations import resize_image
from denoisight.codecs.paint import Paint
from denoisight.data.scenes import VERSION, Scenes
from denoisight.runtime import write_json

SCENES = 400
MARGINS = [round(0.1 * step, 1) for step in range(-6, 7)]
SPOILS = (0.1, 0.3)


def main() -> None:
    overlap = torch.zeros(len(SPOILS), len(MARGINS), dtype=torch.float64)
    scenes, judged = Scenes("train", SCENES), 0
    noise = torch.Generator().manual_seed(0)
    for scene in (scenes[i] for i in range(SCENES)):
        truth = scene.truths["mask"]
        if not truth.valid.any():
            continue
        judged += 1
        painted = Paint().encode(truth, scene.image).pixels
        for row, spoil in zip(overlap, SPOILS, strict=True):
            spoilt = painted + spoil * torch.randn(painted.shape, generator=noise)
            small = resize_image(resize_image(spoilt, 32, 32), 64, 64)
            for place, margin in enumerate(MARGINS):
                inside = Paint(margin=margin).decode(small, scene.image).inside
                row[place] += (inside & truth.inside).sum() / (inside | truth.inside).sum()
    means = overlap / judged
    report = {
        "scenes": VERSION,
        "judged": judged,
        "margins": MARGINS,
        "mean_iou": {f"noise {s:g}": [round(v, 4) for v in row.tolist()] for s, row in zip(SPOILS, means, strict=True)},
        "best": MARGINS[int(means.mean(0).argmax())],
    }
    write_json(Path(__file__).with_name("results.json"), report)
    print(report)


if __name__ == "__main__":
    main()
