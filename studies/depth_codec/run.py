"""What does an error of the canvas cost in depth, by codec?

    python studies/depth_codec/run.py

Draws the depth of 200 validation scenes with each codec, adds smooth errors of a given share of the canvas's own
spread, reads it again and judges it as `scenes/val` does, aligned by scale and shift. Writes results.json.
"""

from __future__ import annotations

from pathlib import Path

import torch

from denoisight.annotations import Batch, resize_image
from denoisight.codecs.affine import Affine
from denoisight.codecs.ratio import Ratio
from denoisight.data.scenes import VERSION, Scenes
from denoisight.metrics.depth import depth_counts, depth_scores
from denoisight.runtime import write_json

SCENES, BATCH = 200, 50
CODECS = {"affine": Affine(), "ratio, span 4": Ratio(4.0), "ratio, span 8": Ratio(8.0), "ratio, span 16": Ratio(16.0)}
SHARES = (0.0, 0.1, 0.2, 0.4)
"""Errors in shares of the canvas's standard deviation; 0 leaves what clipping costs."""


def main() -> None:
    sums: dict[tuple[str, float], dict[str, torch.Tensor]] = {}
    scenes, generator = Scenes("val", SCENES), torch.Generator().manual_seed(0)
    for first in range(0, SCENES, BATCH):
        batch = Batch.of([scenes[i] for i in range(first, first + BATCH)])
        truth = batch.truths["depth"]
        smooth = resize_image(torch.randn(BATCH, 1, 8, 8, generator=generator), 64, 64)
        smooth = smooth / smooth.std((-2, -1), keepdim=True)
        for name, codec in CODECS.items():
            pixels, valid = codec.encode(truth, batch.images)
            spread = torch.stack([p[0][v].std() for p, v in zip(pixels, valid, strict=True)])
            for share in SHARES:
                spoilt = pixels + share * spread[:, None, None, None] * smooth
                decoded = codec.decode(spoilt, batch.images)
                counts = depth_counts(decoded, truth, alignment="depth", range_m=(0.1, 40.0))
                total = sums.setdefault((name, share), {})
                for key, value in depth_scores(counts).items():
                    total[key] = total.get(key, 0) + value.nansum() / SCENES
    report = {
        name: {f"error {share:g}": round(float(sums[name, share]["abs_rel"]), 4) for share in SHARES} for name in CODECS
    }
    write_json(Path(__file__).with_name("results.json"), {"scenes": VERSION, "num": SCENES, "abs_rel": report})
    print(report)


if __name__ == "__main__":
    main()
