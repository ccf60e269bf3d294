"""What a notebook will need, imported while nobody waits for it."""

import importlib
import logging
import sys
from importlib.util import find_spec

_HOME = "freezeviz.widgets._bridge"


def import_when_idle() -> None:
    """In a kernel that can show widgets, import them when its loop is next idle.

    Else the first explorer waits for it: a third of the time until a small model's tree is seen.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    io_loop = getattr(getattr(shell, "kernel", None), "io_loop", None)
    if io_loop is not None and find_spec("anywidget") is not None:
        # From whatever thread the import runs in: a cell may run in a subshell's.
        io_loop.add_callback(_import)


def _import() -> None:
    try:
        importlib.import_module(_HOME)
    except Exception:  # said when an explorer is shown, which imports it again
        logging.getLogger("freezeviz").debug("importing %s failed", _HOME, exc_info=True)
