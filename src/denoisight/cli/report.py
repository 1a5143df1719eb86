"""denoisight report"""

from pathlib import Path


def report(run: Path, *, out: Path | None = None) -> None:
    """Write a run folder's report again, from what lies in it, as one HTML page.

    Parameters
    ----------
    run
        A run folder that `denoisight train` or `denoisight improve` wrote.
    out
        The page (default: report.html, or improve.html, in the run folder).
    """
    from ..recipes.pages.improve import PAGE, PLAN, write_improve_page
    from ..recipes.pages.run import write_run_report

    if (run / PLAN).is_file():
        print(write_improve_page(run, out or run / PAGE))
    else:
        print(write_run_report(run, out or run / "report.html"))
