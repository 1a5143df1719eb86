"""The machine under the software: devices, seeds, ranks, files that are whole or absent, optional packages."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError

from .errors import DataError, MissingExtraError, UsageError
from .version import __version__

log = logging.getLogger(__name__)

LONG_S = 24 * 3600
"""After so long what another machine began to write and did not finish counts as given up."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
EMULATING = ("DEFAULT", "AVX2")
"""What torch calls CPUs on which a pass in bfloat16 takes about six times as long as in float32."""


def pick_device(name: str = "auto") -> torch.device:
    """ "auto" is the first of CUDA, MPS, CPU that is there; of several GPUs each rank of a machine gets its own.

    Raises `UsageError` where a named device is not there.
    """
    if name == "auto":
        name = _own_gpu() if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"Device {name!r} is not available here; use --device auto or cpu.") from error
    return device


def warn_of_emulation(device: torch.device, precision: str) -> None:
    """Say that half precision will be slow here, where it will."""
    if device.type == "cpu" and precision == "bf16" and torch.backends.cpu.get_cpu_capability() in EMULATING:
        log.warning("This CPU can only emulate bf16, several times slower than fp32; give --precision fp32.")


def _own_gpu() -> str:
    """By the rank on this machine as torchrun and SLURM tell it; where each rank sees one GPU, that is its own."""
    rank = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID"))
    return "cuda" if rank is None else f"cuda:{int(rank) % torch.cuda.device_count()}"


def item_seed(run_seed: int, key: str, step: int = 0) -> int:
    """A seed that belongs to the item, not to rank, batch or clock, so that results do not depend on those.

    Torch's CPU generator uses its low 32 bits, so among some 77,000 items two are likely to share their noise.
    """
    digest = hashlib.blake2b(f"{run_seed}\0{key}\0{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(run_seed: int, key: str, step: int = 0) -> torch.Generator:
    """A CPU generator for `item_seed`: draws are made on the CPU and moved, so that devices agree."""
    return torch.Generator().manual_seed(item_seed(run_seed, key, step))


def world() -> tuple[int, int]:
    """(rank, number of ranks) as torchrun and SLURM tell them; (0, 1) alone."""
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if size in os.environ and rank in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def writer() -> str:
    """This process, among all that may write to a folder that several machines share."""
    return f"{_machine()}-{os.getpid()}"


@cache
def _machine() -> str:
    """This machine, and the space that its process numbers are of, which a container has for itself."""
    try:
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        space = Path()
    return hashlib.blake2b(f"{platform.node()} {space}".encode(), digest_size=4).hexdigest()


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary name beside `path` that becomes `path` when the block ends well, and vanishes when not.

    Raises `DataError` when the disk is full or the folder cannot be written; what stood there before still stands.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{writer()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from error
    finally:
        if temporary.exists():
            temporary.unlink()


@contextmanager
def whole_folder(path: Path | str) -> Iterator[Path]:
    """The same for a folder: it is swapped in whole, and what stood there before goes only after that."""
    path = Path(path)
    temporary, old = (path.with_name(f".{path.name}.{writer()}.{end}") for end in ("tmp", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(None, "there is a file of this name")
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from error
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _below(folder: Path, pattern: str) -> Iterator[Path]:
    """As `rglob`, which stops where another process takes a folder away that it is about to look into."""
    for place, folders, names in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *names) if fnmatchcase(name, pattern))


def use_threads(count: int) -> None:
    """Of torch on a CPU; 0 leaves what it chose. Raises `UsageError` for fewer."""
    if count < 0:
        raise UsageError(f"{count} threads were asked for; give 1 or more, or 0 to leave the choice to torch.")
    if count:
        torch.set_num_threads(count)


def mend(folder: Path | str, pattern: str = ".*") -> None:
    """Tidy up after a process that was killed while it wrote below `folder`, of hidden names of this `pattern`.

    An old folder whose successor never came is put back; what was begun and not finished goes.
    """
    for path in sorted(_below(Path(folder), pattern)):
        begun = re.fullmatch(
            r"\.(?P<name>.+)\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)\.(?P<end>tmp|old)(\.\w+)?", path.name
        )
        with suppress(FileNotFoundError):  # it went with a folder above, or its writer was faster
            if begun is None or _is_written(path, begun["machine"], int(begun["process"])):
                continue
            if begun["end"] == "old" and not path.with_name(begun["name"]).exists():
                path.rename(path.with_name(begun["name"]))
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _is_written(path: Path, machine: str, process: int) -> bool:
    """Whether its writer lives or, on another machine, may live."""
    if machine != _machine():
        return time.time() - path.stat().st_mtime < LONG_S
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Add a line, or nothing where the disk is full."""
    line = (json.dumps(row, ensure_ascii=False) + "\n").encode()
    try:
        with path.open("ab", buffering=0) as file:
            start = file.seek(0, os.SEEK_END)
            try:
                while line:
                    line = line[file.write(line) :]
            except OSError:
                file.truncate(start)
                raise
    except OSError as error:
        raise DataError(f"Cannot write {path}: {error.strerror}. Free some space and run again to go on.") from error


def write_text(path: Path | str, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _unwritable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"Cannot write {path}: {reason}. Free some space, or choose another folder with --out.")


def optional(module: str, extra: str) -> ModuleType:
    """Import a package that only an extra brings; `MissingExtraError` names the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingExtraError(f"This needs {package}: pip install 'denoisight[{extra}]'.") from error


@cache
def versions() -> dict[str, str]:
    """What a result was made with; stands in every `results.json` and `env.json`."""
    packages = ("torch", "diffusers", "transformers", "accelerate", "numpy", "pillow")
    return {
        "denoisight": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }
