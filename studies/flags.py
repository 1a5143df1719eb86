"""The command line that all studies of trainings have."""

import argparse
from pathlib import Path


def read_flags(about: str, quick: str) -> argparse.Namespace:
    """`[--quick] [--jobs N] [--table]`; `quick` says what the quick form does, which is never a result."""
    flags = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--quick", action="store_true", help=f"{quick}: no result")
    flags.add_argument("--table", action="store_true", help="only write README.md from results.jsonl")
    flags.add_argument("--jobs", type=int, help="runs at a time (default: one a core)")
    return flags.parse_args()


def quick_folder(study: Path) -> Path:
    """Where the quick form of a study writes, so that no result is touched."""
    folder = Path("runs/studies") / f"{study.name}-quick"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
