"""What a page saves: a plot as a picture, or the numbers of a run. Imported late for matplotlib."""

import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from freezeviz.errors import DataError
from freezeviz.train import History

MIME = {"png": "image/png", "svg": "image/svg+xml", "csv": "text/csv"}


def export(
    history: History,
    *,
    format: str,
    plot: str = "curves",
    metrics: Sequence[str] | None = None,
    smooth: float = 0.0,
    log: bool = False,
    x: str = "step",
) -> tuple[str, str, bytes]:
    """Return name, MIME type and content of a file.

    Parameters
    ----------
    history : History
    format : "png", "svg" or "csv"
        CSV has all numbers of the run, whatever is plotted.
    plot : "curves", "gradients" or "cost"
    metrics, smooth, log, x
        As of `History.plot`.

    Raises
    ------
    DataError
        If the history has not what is asked for.
    MissingExtraError
        If a picture is asked for and matplotlib is not installed.
    """
    if format == "csv":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.csv"
            history.to_csv(path)
            return "run.csv", MIME["csv"], path.read_bytes()
    try:
        if plot == "gradients":
            figure = history.plot_gradients(x=x)
        elif plot == "cost":
            figure = history.plot_cost(x=x)
        elif plot == "curves":
            figure = history.plot(metrics, smooth=smooth, log=log, x=x)
        else:
            raise ValueError(f"there is no plot {plot!r}")
    except ValueError as error:
        raise DataError(str(error)) from error
    content = BytesIO()
    figure.savefig(content, format=format, dpi=200)
    return f"{plot}.{format}", MIME[format], content.getvalue()
