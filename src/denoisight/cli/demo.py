"""denoisight demo"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def demo(
    *,
    out: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("runs/demo"),
    max_time: str = "140s",
    overwrite: bool = True,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")] = False,
) -> None:
    """Predict, adapt to forty labelled pictures, measure on sixty others, report: about four minutes on two cores.

    Parameters
    ----------
    max_time
        How long to adapt.
    """
    from ..recipes.demo import demo as run

    page = run(out, max_time=max_time, overwrite=overwrite, quiet=quiet)
    print(page.resolve())
