"""Whether anything is left to train while a loop of the user's own is under way."""

from freezeviz.errors import NothingTrainableWarning, warn_or_log
from freezeviz.explorer._controller import Change, Controller
from freezeviz.train import OwnRun


def watch_idle(controller: Controller) -> None:
    """Tell when the last trainable parameter is frozen while the run is under way.

    A `Trainer` goes on and changes nothing then. A loop of the user's own may not: in PyTorch the
    next ``loss.backward()`` raises, with words that do not name the click that it comes from.
    """
    is_idle = False

    def look(change: Change) -> None:
        nonlocal is_idle
        run = controller.run
        if change.kind != "state" or not isinstance(run, OwnRun) or not run.is_under_way:
            return
        structure, frozen, _, _ = controller.masks()
        was_idle, is_idle = is_idle, bool(frozen.any() and frozen[structure.is_parameter].all())
        if is_idle and not was_idle:
            advice = getattr(controller.adapter, "when_all_frozen", "")
            text = f"every parameter is frozen: the loop trains nothing. {advice}".rstrip()
            controller.note(text)
            warn_or_log(text, NothingTrainableWarning)

    controller.subscribe(look)
