"""denoisight doctor"""

import importlib.util
import json
import os
import shutil
from pathlib import Path

from .flags import AsJson


def doctor(*, json_: AsJson = False) -> None:
    """Print versions, device, threads and disk, and say what is wrong with them; exits 1 if something is."""
    import torch

    from ..errors import DenoisightError
    from ..models.embedded import embedded_folder
    from ..runtime import pick_device, versions

    facts: dict[str, object] = {
        **versions(),
        "device": str(pick_device()),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
        "free disk (GB)": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        "offline": os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", ""),
        "data folder": os.environ.get("DENOISIGHT_DATA_DIR") or os.environ.get("BASE_DATA_DIR") or "not set",
    }
    troubles = list(_troubles(embedded_folder()))
    if json_:
        print(json.dumps({**facts, "troubles": troubles}, indent=2))
    else:
        for name, value in facts.items():
            print(f"{name:18} {value}")
    if troubles:
        raise DenoisightError(" ".join(troubles))


def _troubles(weights: Path):
    if not (weights / "model.json").exists():
        yield "The embedded model is missing from the package; install denoisight again."
    if importlib.util.find_spec("torchvision") is not None:
        try:
            importlib.import_module("torchvision")
        except (ImportError, RuntimeError) as error:
            yield f"torchvision is broken ({error}) and breaks transformers too; pip uninstall torchvision."
    if shutil.disk_usage(Path.cwd()).free < 2e9:
        yield "Less than 2 GB of disk are free here; runs write checkpoints."
