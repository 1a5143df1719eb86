"""RGB-D recordings: image/ (or rgb/) beside depth/ of 16-bit PNG, and a `meta.json` about the camera.

`meta.json` may give "depth_scale", file units to a metre (TUM RGB-D: 5000); without it they are millimetres.
"""

from __future__ import annotations

from pathlib import Path

from ..info import DatasetInfo, positive, read_json


def is_rgbd(root: Path) -> bool:
    return (root / "meta.json").is_file() and (root / "depth").is_dir()


def rgbd_info(root: Path) -> DatasetInfo:
    """Metric depth alone; `DataError` where `meta.json` gives no usable scale."""
    meta = read_json(root / "meta.json") if (root / "meta.json").is_file() else {}
    stated = meta.get("depth_scale", 1000) if isinstance(meta, dict) else None
    scale = positive(root / "meta.json", "depth_scale", stated)
    return DatasetInfo(depth_scale=scale, kinds={"depth": "depth"})
