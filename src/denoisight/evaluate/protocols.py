"""How each number is made, frozen. Where papers disagree there are two protocols with two names."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..data import scenes
from ..data.open import open_data
from ..data.readers import Reader, camvid
from ..errors import ProtocolError, pick, shortlist
from ..metrics import Pooling
from ..metrics.align import LEAST_DISPARITY, Alignment
from ..metrics.normals import BIN_DEG


@dataclass(frozen=True)
class Protocol:
    """One task on one list of images, and every choice that moves its numbers.

    `data` (a folder's name, or "scenes") and `split` name the images, `count` and `list_hash` pin them down,
    and for scenes, made on demand, `data_version` and `size` (height, width) too. The prediction is brought
    to the truth's size as `resize` says, then both are cut to `crop` (top, left, height, width). Depth is
    judged strictly inside `range_m` after `alignment`, labels by `classes`. Both poolings are always
    reported; `pooling` is the one to quote. None and () mean: does not apply.
    """

    name: str
    data: str
    split: str
    task: str
    truth: str
    count: int
    list_hash: str
    pooling: Pooling
    resize: str
    source: str
    data_version: str | None = None
    size: tuple[int, int] | None = None
    crop: tuple[int, int, int, int] | None = None
    range_m: tuple[float, float] | None = None
    alignment: Alignment | None = None
    quirks: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.range_m is None) != (self.alignment is None) or (self.classes and self.alignment is not None):
            raise ProtocolError(
                f"Protocol {self.name} ({self.task}) must have a range and an alignment (depth), or classes "
                "(labels), or none of them (all others)."
            )

    def check(self, keys: Collection[str]) -> None:
        """Raises `ProtocolError` where these are not the protocol's images."""
        if list_hash(keys) != self.list_hash:
            raise ProtocolError(
                f"Protocol {self.name} ({self.task}) judges {self.count} given images of {self.data}, but "
                f"{len(keys)} came that are not this list ({shortlist(sorted(keys), 2)}); give the whole "
                "list, or ask for a partial run, which its results will call partial."
            )


def list_hash(keys: Iterable[str]) -> str:
    """SHA-256 of the sorted keys, one a line: which images, whatever their order."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def find(name: str, task: str) -> Protocol:
    """The protocol for one task. Raises `UsageError` naming those that there are."""
    by_task = {protocol.task: protocol for protocol in pick(PROTOCOLS, name, "protocol")}
    return pick(by_task, task, f"task of protocol {name}")


def open_images(protocol: Protocol, data: str | Path | None = None) -> Reader:
    """The protocol's images; `data` says where they are if not in the data folder under their usual name.

    For referring they come with their true instances, which some trivial baselines are told.
    """
    where, truths = data or protocol.data, [protocol.truth]
    if protocol.task == "referring":
        truths.append("instances")
    if protocol.size is None:
        return open_data(where, protocol.split, truths)
    return open_data(f"{where}:{protocol.count}", protocol.split, truths, size=protocol.size)


ALIGNMENTS: dict[str, Alignment] = {"": "depth", "/metric": "none", "/disparity": "disparity", "/log": "log"}
"""What is appended to a protocol's name, and how depth is aligned then."""

_QUIRKS: dict[Alignment, tuple[str, ...]] = {
    "none": (),
    "depth": (),
    "disparity": (
        "predictions that are not positive stay out of the fit",
        f"aligned disparity is clipped at {LEAST_DISPARITY:g} 1/m",
    ),
    "log": (),
}


@dataclass(frozen=True)
class _Rules:
    """How a task about single things is judged, on whatever images."""

    truth: str
    source: str
    quirks: tuple[str, ...]


_THINGS = {
    "referring": _Rules(
        "mask",
        "Yang et al., CVPR 2022 (LAVT): test.py; Zhao et al., ICCV 2023 (VPD): refer/test.py",
        (
            "an item is an image with one expression",
            "inside is a probability of 0.5 and above",
            "miou is the mean over items, oiou the sum of intersections by that of unions",
            "p@X counts an IoU of X or more",
            "a union without a pixel has an IoU of 0",
        ),
    ),
    "saliency": _Rules(
        "saliency",
        "Vandenhende et al., TPAMI 2021: evaluation/eval_sal.py, without its second sigmoid",
        ("max_f is the best over one cut for all images, 0.05 to 0.95, with beta^2 = 0.3", "miou cuts at 0.5"),
    ),
    "instances": _Rules(
        "instances",
        "pq: Kirillov et al., CVPR 2019, as one class; ap: Lin et al., ECCV 2014 (COCO), by faster-coco-eval",
        ("things of all classes are judged as one class", "for ap, larger predictions are taken to be surer"),
    ),
    "detection": _Rules(
        "boxes",
        "f1: IoU above a half, best score first; ap: Lin et al., ECCV 2014 (COCO), by faster-coco-eval",
        ("things of all classes are judged as one class",),
    ),
}


@dataclass(frozen=True)
class _Images:
    """The images that protocols are about, and what there is to judge on them."""

    data: str
    split: str
    count: int
    list_hash: str
    data_version: str | None = None
    size: tuple[int, int] | None = None
    range_m: tuple[float, float] | None = None
    normals: bool = False
    classes: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    """Which of the tasks about single things."""


def _scenes(split: str, count: int, list_hash: str) -> _Images:
    return _Images(
        "scenes",
        split,
        count,
        list_hash,
        scenes.VERSION,
        size=(64, 64),
        range_m=(0.1, 40.0),
        normals=True,
        classes=scenes.CLASSES,
        parts=scenes.PARTS,
        things=("referring", "saliency", "instances", "detection"),
    )


_IMAGES = {
    "scenes/val": _scenes("val", 200, "b8d0015fe9acff8ff774434e06960171bb38f843f7759c535baf7056a411e064"),
    "scenes/test": _scenes("test", 500, "ff5768966ddb63070284bc00acf9a5b8cfd55627ba94a587bb94e1afd9465ab2"),
    "scenes/shifted": _scenes("shifted", 500, "86d16c52a5725af4bc262aab1dd048d0e7d6e05d30e2d73424b9d576ef78b3d7"),
    "camvid-240/val": _Images(
        "camvid_240x180",
        "val",
        101,
        "76fa530e818b0bb8716bb9d9ebfdde4e908e8ee9c8850ff65af4e512bb233481",
        classes=camvid.CLASSES,
    ),
    "camvid-240/test": _Images(
        "camvid_240x180",
        "test",
        101,
        "1534f44388cf734b75ce56af4f882c2b8763c8c93e0c75b429a4df40aa34b3a5",
        classes=camvid.CLASSES,
    ),
    "kitchen/val": _Images(
        "kitchen_rgbd_272x208",
        "val",
        9,
        "7ba53c2f99967ad220726d9597d0bcd2cabd7a2fa01fda6169d62b230c296abc",
        range_m=(1e-3, 10.0),
    ),
    "kitchen/test": _Images(
        "kitchen_rgbd_272x208",
        "test",
        39,
        "8861ce34b134cbcc31a440947ecb3586217d3ef3acca392ab2e533105978d673",
        range_m=(1e-3, 10.0),
    ),
    "kitti-object/all": _Images(
        "kitti_object",
        "all",
        10,
        "1ccf353147036ef2082d66104f21def896cc64cc2c6741217108a21e47df3c87",
        range_m=(1e-5, 80.0),
    ),
    "coco-refer/val": _Images(
        "coco_panoptic_320",
        "val",
        27,
        "7aa935a33ef9d5a914451a9f9aa67fff33e83898077d15daba05fb420c471ed8",
        things=("referring",),
    ),
    "coco-refer/test": _Images(
        "coco_panoptic_320",
        "test",
        50,
        "3f48e25ca1ea730128c35175058ebdabfc5867bc2e4eb886c90228509a6c9dd0",
        things=("referring",),
    ),
}


def _protocols(name: str, images: _Images) -> dict[str, tuple[Protocol, ...]]:
    """All that can be judged on these images, by protocol name."""
    common = partial(
        Protocol,
        data=images.data,
        split=images.split,
        count=images.count,
        list_hash=images.list_hash,
        data_version=images.data_version,
        size=images.size,
    )
    table: dict[str, tuple[Protocol, ...]] = {}
    if images.range_m is not None:
        for suffix, alignment in ALIGNMENTS.items():
            depth = common(
                name=name + suffix,
                task="depth",
                truth="depth",
                pooling="per-image",
                resize="prediction to truth, bilinear",
                source="Ke et al., CVPR 2024 (Marigold): script/depth/eval.py",
                range_m=images.range_m,
                alignment=alignment,
                quirks=_QUIRKS[alignment],
            )
            table[name + suffix] = (depth,)
    if images.normals:
        normals = common(
            name=name,
            task="normals",
            truth="normals",
            pooling="pooled",
            resize="prediction to truth, bilinear, to unit length again",
            source="pooled: Bae & Davison, CVPR 2024 (DSINE); per-image: Marigold, script/normals/eval.py",
            quirks=(f"medians from bins of {BIN_DEG:g} degrees",),
        )
        table[name] = (*table.get(name, ()), normals)
    for task, classes in (("semantic", images.classes), ("parts", images.parts)):
        if classes:
            labels = common(
                name=name,
                task=task,
                truth=task,
                pooling="pooled",
                resize="prediction to truth, nearest",
                source="Everingham et al., IJCV 2010 (PASCAL VOC)",
                classes=classes,
                quirks=("a class in neither truth nor prediction is left out of the mean",),
            )
            table[name] = (*table.get(name, ()), labels)
    for task in images.things:
        rules = _THINGS[task]
        judged = common(
            name=name,
            task=task,
            truth=rules.truth,
            pooling="pooled",
            resize="prediction to truth, nearest",
            source=rules.source,
            quirks=rules.quirks,
        )
        table[name] = (*table.get(name, ()), judged)
    return table


PROTOCOLS: dict[str, tuple[Protocol, ...]] = {
    key: value for name, images in _IMAGES.items() for key, value in _protocols(name, images).items()
}
