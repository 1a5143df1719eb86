"""Images of a few pixels in memory, with every truth."""

from dataclasses import dataclass

import torch

from denoisight.annotations import Boxes, Depth, Labels, Mask, Normals, Query, Sample

CLASSES = ("wall", "floor", "thing")


@dataclass(frozen=True)
class MemoryReader:
    samples: tuple[Sample, ...]
    name: str = "memory"
    truths: tuple[str, ...] = ("depth", "normals", "semantic", "mask", "saliency", "instances", "boxes")
    classes: tuple[str, ...] = CLASSES
    notes: tuple[str, ...] = ()

    @property
    def keys(self):
        return tuple(sample.key for sample in self.samples)

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


def make_sample(index, height=12, width=16):
    """Walls over a floor, farther the higher; noise makes every sample another one."""
    generator = torch.Generator().manual_seed(index)
    draw = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    depth = torch.linspace(6, 1, height)[:, None] + draw(height, width)
    normals = torch.zeros(3, height, width)
    normals[2, : height // 2] = normals[1, height // 2 :] = 1.0
    ids = torch.zeros(height, width, dtype=torch.int64)
    ids[height // 2 :] = 1
    ids[draw(height, width) > 0.8] = 2
    truths = {
        "depth": Depth.of(torch.where(draw(height, width) > 0.9, 0.0, depth)),
        "normals": Normals.of(normals + 0.3 * draw(3, height, width)),
        "semantic": Labels(ids, CLASSES),
    }
    truths |= things(draw, height, width)
    query = Query(draw(3, height, width), text="a wall and a floor", key=f"item-{index:02d}")
    return Sample(query, truths, {"mask": f"thing {index}"})


def things(draw, height, width):
    """A large and a small thing side by side; the words mean the small one."""
    ids = torch.zeros(height, width, dtype=torch.int64)
    edge = 4 + int(draw(1) * 5)
    ids[2:10, 1:edge], ids[4:7, edge + 1 : edge + 4] = 1, 2
    xyxy = torch.tensor([[1.0, 2, edge, 10], [edge + 1, 4, edge + 4, 7]])
    kinds, certain = torch.tensor([2, 2]), torch.ones(2)
    return {
        "mask": Mask.of(ids == 2),
        "saliency": Mask.of(ids == 1),
        "instances": Labels(ids, ()),
        "boxes": Boxes(xyxy, kinds, certain, certain.bool(), (height, width), CLASSES),
    }
