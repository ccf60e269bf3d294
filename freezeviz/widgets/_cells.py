"""Loops that keep a notebook's cell busy: clicks during them, and the end of the cell."""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from freezeviz.explorer import Explorer
from freezeviz.train import OwnRun, Run
from freezeviz.widgets._loop import running_kernel
from freezeviz.widgets._shell_door import shell_door

if TYPE_CHECKING:
    from freezeviz.widgets._bridge import Bridge

UNHEARD = (
    "Clicks take effect only when this cell ends: this kernel does not pass them on while a cell "
    "keeps it busy. explorer.run(function) trains in the background and leaves the notebook free."
)


def look_after_cells(explorer: Explorer) -> None:
    """Let clicks in while a loop keeps a cell busy, and take in when cells end; in a kernel only.

    Nothing here keeps the explorer: a run and a kernel outlive it.
    """
    kernel = running_kernel()
    if kernel is None:
        return
    known = weakref.ref(explorer)
    told = False

    def is_ours(comm_id: str) -> bool:
        bridge = _bridge(known())
        comm = None if bridge is None else bridge.widget.comm
        return comm is not None and comm.comm_id == comm_id

    @contextmanager
    def door(blocking: bool) -> Iterator[Callable[[], object] | None]:
        nonlocal told
        # In other threads: the loop is free, and clicks come to it as usual.
        shell = None
        if threading.current_thread() is threading.main_thread():
            shell = shell_door(kernel)
            bridge = _bridge(known())
            if shell is None and bridge is not None and blocking and not told:
                told = True
                bridge.tell(UNHEARD)
                print(UNHEARD)
        if shell is None:
            yield None
            return
        with shell.opened(is_ours) as hand_over:

            def between_steps() -> None:
                hand_over()
                if (bridge := _bridge(known())) is not None:
                    bridge.loop.catch_up()

            yield between_steps

    def begun(run: Run) -> None:
        weakref.finalize(explorer, run.add_door(door))

    def cell_ended(result: Any) -> None:
        explorer = known()
        run = None if explorer is None else explorer.run_view
        if isinstance(run, OwnRun):
            run.cell_ended(result.error_before_exec or result.error_in_exec)

    explorer.when_run(begun)
    events = kernel.shell.events
    events.register("post_run_cell", cell_ended)
    weakref.finalize(explorer, events.unregister, "post_run_cell", cell_ended).atexit = False


def _bridge(explorer: Explorer | None) -> "Bridge | None":
    bridge = getattr(explorer.face, "bridge", None) if explorer is not None else None
    return bridge if bridge is not None and bridge.is_open else None
