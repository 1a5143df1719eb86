"""RGB-D recordings: image/ (or rgb/) beside depth/ of 16-bit PNG, and a `meta.json` about the camera.

`meta.json` may give "depth_scale", file units to a metre (TUM RGB-D: 5000); without it they are millimetres.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError
from ..info import DatasetInfo, read_json


def is_rgbd(root: Path) -> bool:
    return (root / "meta.json").is_file() and (root / "depth").is_dir()


def rgbd_info(root: Path) -> DatasetInfo:
    """Metric depth alone; `DataError` where `meta.json` gives no usable scale."""
    meta = read_json(root / "meta.json") if (root / "meta.json").is_file() else {}
    scale = meta.get("depth_scale", 1000) if isinstance(meta, dict) else None
    if not isinstance(scale, (int, float)) or not scale > 0:
        raise DataError(f"{root / 'meta.json'} gives no positive depth_scale; write 1000 for millimetres.")
    return DatasetInfo(depth_scale=float(scale), kinds={"depth": "depth"})
