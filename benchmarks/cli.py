"""How soon the command answers: `python benchmarks/cli.py`.

Whole processes, best and median of several, after one that warms the disk; the answer is checked first.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMAND = Path(sys.executable).with_name("denoisight")
CASES = {
    "--help": (["--help"], "Commands"),
    "--version": (["--version"], "."),
    "config show": (["config", "show", "depth", "--data", "scenes:8"], "tasks"),
}
RUNS = 9
PROMISE_S = 0.4


def main() -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {RUNS} runs each")
    for name, (words, expected) in CASES.items():
        seconds = []
        for _ in range(RUNS + 1):
            began = time.perf_counter()
            done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=True)
            seconds.append(time.perf_counter() - began)
            assert expected in done.stdout, f"{name} no longer says {expected!r}"
        best, middle = min(seconds[1:]), statistics.median(seconds[1:])
        print(f"{name:12} best {best:.3f} s  median {middle:.3f} s")
        if name == "--help" and middle > PROMISE_S:
            print(f"--help is slower than the promised {PROMISE_S} s")


if __name__ == "__main__":
    main()
