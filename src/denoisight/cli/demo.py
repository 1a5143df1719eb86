"""denoisight demo"""

from pathlib import Path

from .flags import Out, Quiet


def demo(
    *,
    out: Out = Path("runs/demo"),
    max_time: str = "140s",
    overwrite: bool = True,
    quiet: Quiet = False,
) -> None:
    """Predict, adapt to forty labelled pictures, measure on sixty others, report: about four minutes on two cores.

    Parameters
    ----------
    max_time
        How long to adapt.
    overwrite
        Replace an earlier demo in --out.
    """
    from ..recipes.demo import demo as run

    page = run(out, max_time=max_time, overwrite=overwrite, quiet=quiet)
    print(page.resolve())
