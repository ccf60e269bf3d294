"""Whether a message of a page comes in its turn, once, and from a page that is still there."""

import threading
from collections import OrderedDict

from freezeviz.widgets._messages import Message

MOST_GONE = 1_000  # views that said goodbye and are remembered

# Whatever comes of them twice or late, nothing is changed by it; and while a cell keeps the kernel
# busy the door before it lets later ones in first (see `_shell_door.py`).
HARMLESS = frozenset({"hello", "bye", "ask"})


class Turns:
    """The number of the latest message of each view: what comes after it is carried out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # messages may come in several threads
        self._latest: dict[str, int] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def refusal(self, message: Message) -> str | None:
        """Say why a message is not to be carried out; None if it is, and it is the latest then."""
        view, seq = message.view, message.seq
        with self._lock:
            if view in self._gone:
                return "the page that sent it is closed"
            latest = self._latest.get(view, -1)
            if seq <= latest and message.type not in HARMLESS:
                return f"it came twice, or after a later one (number {seq:,} after {latest:,})"
            self._latest[view] = max(seq, latest)
            if message.type == "bye":
                del self._latest[view]
                self._gone[view] = None
                if len(self._gone) > MOST_GONE:
                    self._gone.popitem(last=False)
        return None
