"""Kernels are compiled when they are loaded, never in a step, and kept on disk.

Each kernel names the types that it takes. `compile_all` compiles all of them, or reads what an
earlier process has compiled from Numba's cache: beside this file, or in the user's cache folder
where that cannot be written to.
"""

import fcntl
import hashlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba as nb

_log = logging.getLogger("freezeviz")

# Sums may be added up in another order (in vectors), a * b + c may be one operation. What is not
# among them: promises that there are no NaN and no infinities.
FAST = {"reassoc", "contract", "arcp", "nsz"}

# Types of arguments. Inputs are read-only: frozen parameters come as views that are.
POINTER = nb.intp
INT = nb.intp
FLAG = nb.boolean
FLOAT = nb.float32


def read(ndim: int, dtype: Any = nb.float32) -> Any:
    """Return the type of an array that is read; arrays that may be written to fit as well."""
    return nb.types.Array(dtype, ndim, "C", readonly=True)


def write(ndim: int, dtype: Any = nb.float32) -> Any:
    """Return the type of an array that is written to."""
    return nb.types.Array(dtype, ndim, "C")


def _digest() -> str:
    """Return what changes when a function changes that kernels of other files may call."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        text = path.read_bytes()
        if b"\n@kernel(" not in text:
            found.update(text)
    return found.hexdigest()[:12]


# Numba's cache looks at a kernel's own file only. A kernel's name holds a digest of the files
# without kernels, so that it is compiled anew when a function that it calls has changed.
_DIGEST = _digest()
_kernels: list[tuple[Any, Any]] = []


def kernel(
    *types: Any, parallel: bool = False, fast: Any = FAST
) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that makes a kernel for arguments of some types, without a result.

    `fast` names what may be changed of the order of operations; False: nothing.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        function.__qualname__ = f"{function.__qualname__}_{_DIGEST}"
        dispatcher = nb.njit(
            cache=True,
            nogil=True,
            parallel=parallel,
            fastmath=fast,
            boundscheck=False,
            error_model="numpy",
        )(function)
        _kernels.append((dispatcher, types))
        return dispatcher

    return decorate


def compile_all() -> None:
    """Compile every kernel that this process has not compiled, or load it from the cache."""
    announced = None
    with _one_process():
        for dispatcher, types in _kernels:
            if dispatcher.signatures:
                continue
            dispatcher.compile(types)
            # Another type of argument is an error of ours, and no reason to compile in a step.
            dispatcher.disable_compile()
            if announced is None and sum(dispatcher.stats.cache_misses.values()):
                announced = time.perf_counter()
                _say(
                    "freezeviz: compiling its fast kernels for this machine; this happens once and "
                    "takes about a minute (fv.use_kernels('numpy') does without them) ..."
                )
    if announced is not None:
        _say(f"freezeviz: kernels compiled in {time.perf_counter() - announced:.0f} s.")


def _say(line: str) -> None:
    _log.info(line)
    # Who looks at the screen wonders what takes so long; a log that nobody set up is silent.
    if sys.stderr is not None:
        print(line, file=sys.stderr, flush=True)


@contextmanager
def _one_process() -> Iterator[None]:
    """Let one process of a user compile; the others wait, and find what it has compiled."""
    name = Path(tempfile.gettempdir()) / f"freezeviz-kernels-{os.getuid()}.lock"
    try:
        handle = os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError:
        # Nowhere to write: the worst that comes of it is that two processes compile the same.
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
