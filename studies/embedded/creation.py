"""What does a model create when it is given captions?

    python -m studies.embedded.creation runs/embedded -o studies/embedded/creation.json --judge runs/judge

Creates an image for each of the first captions of scenes/test that the model's text encoder takes whole, lets a judge
(judge.py, trained here where its folder has none) read them, and compares the judge's features of created and of
real images. Beside it all, what the judge makes of the real images, and by chance: of the caption before. The same
command goes on where it was stopped; images lie beside the JSON, and a contact sheet of the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from studies.embedded.judge import PAIRS, Judge, captioned, open_judge, stated, table
from torch import Tensor

from denoisight.create.folder import create_folder, draw_sheet
from denoisight.create.synthesize import Creation
from denoisight.data.images import read_image, write_png
from denoisight.data.scenes import VERSION, Scenes
from denoisight.metrics.images import kid, kid_interval
from denoisight.predict.load import load
from denoisight.predict.model import Model
from denoisight.runtime import versions, write_json

FEATURES = "the judge's last layer, mean over places (128)"


def main() -> None:
    words = _words()
    judge, about = open_judge(words.judge)
    about["scenes/val"] = readings(judge, *captioned("val", range(len(Scenes("val")))))
    print("judge:", about, flush=True)

    model = load(words.model, "auto", words.precision)
    model.parts = model.parts.with_config(creates=True)
    how = Creation(words.steps, words.sampler, words.guidance, seed=words.seed, size=(64, 64), batch=words.batch)
    real, captions = _fitting(model, "test", words.num)
    folder = words.out.with_suffix("")
    create_folder(model, captions, folder, how)
    created = torch.stack([read_image(folder / "rgb" / f"{i:06d}.png") for i in range(1, len(captions) + 1)])
    write_png(words.out.with_suffix(".png"), draw_sheet(folder, words.show))

    sets = {"created": created, "test": real, "train": _fitting(model, "train", words.num)[0]}
    features = {name: judge.look(images)[1] for name, images in sets.items()}
    report = {
        "model": model.name,
        "weights": model.weights_hash[:16],
        "scenes": VERSION,
        "creation": {name: value for name, value in asdict(how).items() if name != "batch"},
        "num": len(captions),
        "judge": about,
        "read in created images": readings(judge, created, captions),
        "read in the real images": readings(judge, real, captions),
        "kid": {
            "features": FEATURES,
            "created, test": _distance(features["created"], features["test"]),
            "train, test": _distance(features["train"], features["test"]),
        },
        "versions": versions(),
    }
    write_json(words.out, report)
    print(report["read in created images"], report["kid"])


def readings(judge: Judge, images: Tensor, captions: Sequence[str]) -> dict[str, float]:
    """Shares of what captions state that the judge reads in their images; "by chance", in the next one's.

    "first" is the thing that a caption names first, the largest; "colour" and "kind" ask for only that much of it.
    """
    read = judge.look(images)[0] > judge.threshold
    truth = table(captions)
    first = torch.tensor([stated(caption)[0] for caption in captions])
    colours, kinds = (torch.tensor([names.index(pair[i]) for pair in PAIRS]) for i, names in enumerate(_names()))

    def found(shown: Tensor) -> dict[str, Tensor]:
        alike = {
            "first": torch.arange(len(PAIRS)) == first[:, None],
            "first, its colour": colours == colours[first][:, None],
            "first, its kind": kinds == kinds[first][:, None],
        }
        return {name: (shown & same).any(1).float().mean() for name, same in alike.items()} | {
            "all that is stated": (shown & truth).sum() / truth.sum()
        }

    shares = found(read)
    shares |= {f"{name}, by chance": share for name, share in found(read.roll(1, 0)).items()}
    shares["of what is read, stated"] = (read & truth).sum() / read.sum().clamp(min=1)
    return {name: round(share.item(), 4) for name, share in shares.items()}


def _names() -> tuple[list[str], list[str]]:
    colours, kinds = zip(*PAIRS, strict=True)
    return list(dict.fromkeys(colours)), list(dict.fromkeys(kinds))


def _distance(one: Tensor, other: Tensor) -> dict[str, float | list[float]]:
    """The distance of all, and where those of random halves lie."""
    low, high = kid_interval(one, other, size=len(one) // 2)
    return {"kid": round(kid(one, other), 6), "95 % of halves": [round(low, 6), round(high, 6)]}


def _fitting(model: Model, split: str, count: int) -> tuple[Tensor, list[str]]:
    """The first scenes whose captions name something and are not too long for the model."""

    def fit() -> Iterator[int]:
        for i in range(len(scenes)):
            caption = scenes.caption(i)
            if stated(caption) and not model.parts.backbone.text.excess(caption):
                yield i

    scenes = Scenes(split)
    chosen = [i for i, _ in zip(fit(), range(count), strict=False)]
    return captioned(split, chosen)


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the JSON to write")
    parser.add_argument("--judge", type=Path, required=True, help="folder of the judge")
    parser.add_argument("--num", type=int, default=500)
    parser.add_argument("--show", type=int, default=12, help="images on the contact sheet")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--sampler", default="ddim")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--precision", default="fp32")
    return parser.parse_args()


if __name__ == "__main__":
    main()
