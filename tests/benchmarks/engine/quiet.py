"""Whether other programs were busy while an engine was timed; known on Linux only."""

import os
import time
from pathlib import Path

DISTURBED = 0.10  # of one core


class Others:
    """Measures how many cores were busy with other programs while a process worked.

    Parameters
    ----------
    pid : int
        The process that is not an other.
    """

    def __init__(self, pid: int):
        self._pid = pid
        self._begin = time.perf_counter(), _machine(), _process(pid)

    def busy(self) -> float:
        """Return the number of cores that others used since this was made; 0 if unknown."""
        begin, machine, process = self._begin
        now = _machine()
        if machine is None or now is None:
            return 0.0
        seconds = time.perf_counter() - begin
        return max(0.0, (now - machine) - (_process(self._pid) - process)) / seconds


def wait_for_quiet(longest: float) -> None:
    """Wait until other programs rest, but not for longer than some seconds."""
    end = time.perf_counter() + longest
    while time.perf_counter() < end:
        others = Others(os.getpid())
        time.sleep(0.1)
        # The clock that counts here ticks a hundred times a second.
        if others.busy() <= 2 * DISTURBED:
            return


def _machine() -> float | None:
    """Return the seconds that all cores have been busy."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(field) for field in fields]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _process(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
