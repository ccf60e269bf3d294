"""What is saved of a run: a plot as a picture, or all numbers."""

import tempfile
from io import BytesIO
from pathlib import Path

from freezeviz.errors import DataError
from freezeviz.explorer._looks import PlotLook
from freezeviz.train import History

MIME = {"png": "image/png", "svg": "image/svg+xml", "csv": "text/csv"}


def export(history: History, format: str, look: PlotLook) -> tuple[str, str, bytes]:
    """Return name, MIME type and content of a file.

    Parameters
    ----------
    history : History
    format : "png", "svg" or "csv"
        CSV has all numbers of the run, whatever is plotted.
    look : PlotLook

    Raises
    ------
    DataError
        If there is no such format, or if the history has not what is asked for.
    MissingExtraError
        If a picture is asked for and matplotlib is not installed.
    """
    if format not in MIME:
        raise DataError(f"expected a path that ends in .png, .svg or .csv, got {format!r}")
    if format == "csv":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.csv"
            history.to_csv(path)
            return "run.csv", MIME["csv"], path.read_bytes()
    try:
        if look.plot == "gradients":
            figure = history.plot_gradients(x=look.x)
        elif look.plot == "cost":
            figure = history.plot_cost(x=look.x)
        else:
            figure = history.plot(look.metrics, smooth=look.smooth, log=look.log, x=look.x)
    except ValueError as error:
        raise DataError(str(error)) from error
    content = BytesIO()
    figure.savefig(content, format=format, dpi=200)
    return f"{look.plot}.{format}", MIME[format], content.getvalue()
