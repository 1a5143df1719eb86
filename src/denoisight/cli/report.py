"""denoisight report"""

from pathlib import Path


def report(run: Path, *, out: Path | None = None) -> None:
    """Write a run folder's report again, from what lies in it, as one HTML page.

    Parameters
    ----------
    run
        A run folder that `denoisight train` wrote.
    out
        The page (default: report.html in the run folder).
    """
    from ..recipes.pages import write_run_report

    print(write_run_report(run, out or run / "report.html"))
