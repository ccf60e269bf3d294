"""The shortest policy that brings a fresh model to a state, and its text as code."""

import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from freezeviz.adapters import ModelAdapter
from freezeviz.errors import FreezevizWarning
from freezeviz.explorer._cover import TERM, Cover, Flips
from freezeviz.explorer._orders import Move, State
from freezeviz.explorer._patterns import Pattern, merged, patterns_of
from freezeviz.explorer._tree_state import TreeModel
from freezeviz.freezing import Policy, PolicyStep

FEW = 2  # so many paths are as short as it gets
MANY = 64  # paths that are not worth while to be written down
MOST_PATTERNS = 4
TRIED = 6  # patterns of each sort that are tried at a time
STEP = 30.0  # of a step, besides its terms


class _Step(NamedTuple):
    frozen: bool
    texts: tuple[str, ...]
    hold: bool = False


def code_of(adapter: ModelAdapter, policy: Policy) -> str:
    """Return code that does what a policy does, in the words of the model's framework."""
    code = getattr(adapter, "code", None)
    if code is not None:
        return code(policy)
    return f"fv.Policy.from_json('''\n{policy.to_json()}''').apply(model)\n"


def policy_of(model: TreeModel, state: State) -> Policy:
    """Return the shortest policy found that brings a fresh model to a state.

    What cannot be said is left out, with a `FreezevizWarning`.
    """
    search = _Search(model, state)
    candidates = [search.steps(use_patterns=True)]
    # Paths alone may be shorter: several that differ in a number are joined.
    if FEW < search.n_paths <= MANY:
        candidates.append(search.steps(use_patterns=False))
        candidates.append(search.frozen_only())
    steps = min(candidates, key=lambda steps: (search.off(steps), _cost(steps)))
    if search.off(steps):
        held = search.after(steps).held
        rows = model.layer_rows[held != state.held]
        names = ", ".join(repr(model.structure.paths[row]) for row in rows[:3].tolist())
        warnings.warn(
            f"whether {names}{', ...' if len(rows) > 3 else ''} is held cannot be said in a "
            "policy, which freezes and holds together; it is left out",
            FreezevizWarning,
            stacklevel=4,
        )
    return Policy(
        PolicyStep("freeze" if step.frozen else "unfreeze", " | ".join(step.texts), step.hold)
        for step in steps
    )


def _cost(steps: Iterable[_Step]) -> float:
    return sum(STEP + sum(TERM + len(text) for text in step.texts) for step in steps)


class _Search:
    """The search for the steps to one state of one model."""

    def __init__(self, model: TreeModel, target: State) -> None:
        self.model = model
        self.target = target
        self.index = model.index
        self.rule = model.rule
        self.n_paths = 0  # that it takes without patterns
        self._masks: dict[str, np.ndarray] = {}

    @property
    def cover(self) -> Cover:
        return self.model.kept("cover", lambda: Cover(self.index))

    @property
    def patterns(self) -> list[Pattern]:
        return self.model.kept("patterns", lambda: patterns_of(self.model.picker))

    # ---- what steps do -------------------------------------------------------------------------

    def mask(self, texts: Sequence[str]) -> np.ndarray:
        """What texts pick, together."""
        found = np.zeros(len(self.index), bool)
        for text in texts:
            if text not in self._masks:
                self._masks[text] = self.model.picker.pick(text)
            found |= self._masks[text]
        return found

    def after(self, steps: Iterable[_Step], state: State | None = None) -> State:
        """The state that steps lead to, from a fresh model."""
        moves = [Move(step.frozen, self.mask(step.texts), step.hold) for step in steps]
        return self.rule.after(self.rule.fresh() if state is None else state, moves)

    def off(self, steps: Iterable[_Step]) -> int:
        """How much is other than it should be after the steps."""
        state = self.after(steps)
        return int(
            (state.frozen != self.target.frozen).sum() + (state.held != self.target.held).sum()
        )

    # ---- the search ----------------------------------------------------------------------------

    def steps(self, *, use_patterns: bool) -> list[_Step]:
        """Steps to the target: first what is held, then the rest."""
        holding = self._holding(use_patterns)
        steps = [*holding, *self._freezing(self.after(holding), use_patterns)]
        steps = self._without_needless(steps)
        if not np.array_equal(self.after(steps).held, self.target.held):
            exact = self._texts_of(self.rule.moves(self.rule.fresh(), self.target))
            steps = min(steps, exact, key=self.off)
        return steps

    def frozen_only(self) -> list[_Step]:
        """Steps that unfreeze nothing."""
        if self.target.held.any():
            return []
        return self._texts_of([Move(True, self.target.frozen)])

    def _freezing(self, state: State, use_patterns: bool) -> list[_Step]:
        """Steps that set what is frozen, and leave alone what is held."""
        target = self.target.frozen
        held = self.rule.below(self.target.held)
        kept = held & target if held.any() else None
        free = np.zeros_like(target)
        chosen: list[Pattern] = []
        best = self.cover.solve(state.frozen, target, free, kept)
        flips = best.flips()
        cost = best.cost
        self.n_paths = len(flips.nodes)
        while use_patterns and len(flips.nodes) > FEW and len(chosen) < MOST_PATTERNS:
            tried = []
            for pattern in self._promising(flips, free):
                mask = self.mask([pattern.text])
                if target[mask].all() or not target[mask].any():
                    found = self.cover.solve(state.frozen, target, free | mask, kept)
                    tried.append((found.cost + TERM + len(pattern.text), pattern, found, mask))
            # What the patterns before cost is in both sums: in neither of the two.
            new_cost, pattern, best, mask = min(
                tried, key=lambda each: each[0], default=(cost, None, best, free)
            )
            if pattern is None or new_cost >= cost:
                break
            cost, flips, free = best.cost, best.flips(), free | mask
            chosen.append(pattern)
        steps = self._steps_of(flips)
        for frozen in (True, False):
            texts = [p.text for p in chosen if target[self.mask([p.text])].all() == frozen]
            steps = self._with(steps, frozen, texts, state)
        return steps + self._repairs(steps, state)

    def _promising(self, flips: Flips, free: np.ndarray) -> list[Pattern]:
        """Patterns all in one state: those with the most flips or parameters in them."""
        patterns = self.patterns
        if not patterns:
            return []
        index = self.index
        nodes = np.concatenate([pattern.nodes for pattern in patterns])
        starts = np.cumsum([0, *(len(pattern.nodes) for pattern in patterns[:-1])])

        def of_patterns(values: np.ndarray) -> np.ndarray:
            return np.add.reduceat(values[nodes], starts)

        frozen = of_patterns(index.sums(self.target.frozen))
        size = of_patterns(index.end - index.start)
        matters = of_patterns(index.sums(~free))
        # Of each flip the first name below it stands for it.
        first = np.bincount(index.start[flips.nodes], minlength=len(index.of_name))
        total = np.concatenate(([0], np.cumsum(first)))
        inside = of_patterns(total[index.end] - total[index.start])
        uniform = ((frozen == 0) | (frozen == size)) & (matters > 0)
        found: dict[int, None] = {}
        lengths = np.array([len(pattern.text) for pattern in patterns])
        for rank in (inside, matters):
            order = np.lexsort((lengths, -rank))
            found |= dict.fromkeys([i for i in order.tolist() if uniform[i]][:TRIED])
        return [patterns[i] for i in found]

    def _steps_of(self, flips: Flips) -> list[_Step]:
        """Flips as steps: those above before those below."""
        steps: list[_Step] = []
        for depth in np.unique(flips.depth).tolist():
            for frozen in (True, False):
                meant = flips.nodes[(flips.depth == depth) & (flips.frozen == frozen)]
                paths = [self.cover.paths[node] for node in meant.tolist()]
                if paths:
                    steps.append(_Step(frozen, tuple(merged(self.index, self.mask, paths))))
        return steps

    def _with(
        self, steps: list[_Step], frozen: bool, texts: Sequence[str], state: State
    ) -> list[_Step]:
        """Add texts: to a step that there is, where that comes to the same."""
        if not texts:
            return steps
        last = [*steps, _Step(frozen, tuple(texts))]
        wanted = self.after(last, state).frozen
        for i, step in enumerate(steps):
            if step.frozen == frozen:
                joined = [*steps[:i], _Step(frozen, (*step.texts, *texts)), *steps[i + 1 :]]
                if np.array_equal(self.after(joined, state).frozen, wanted):
                    return joined
        return last

    def _repairs(self, steps: list[_Step], state: State) -> list[_Step]:
        """Steps for what is wrong still: tied parameters that were reached by another name."""
        now = self.after(steps, state).frozen
        target = self.target.frozen
        moves = [Move(True, target & ~now), Move(False, now & ~target)]
        return self._texts_of(moves)

    def _texts_of(self, moves: Iterable[Move]) -> list[_Step]:
        return [
            _Step(
                move.frozen,
                tuple(merged(self.index, self.mask, self._paths_of(move.parameters))),
                move.hold,
            )
            for move in moves
            if move.parameters.any()
        ]

    def _paths_of(self, mask: np.ndarray) -> list[str]:
        paths = self.cover.paths_of(mask)
        if np.array_equal(self.index.covered(self.index.nodes[path] for path in paths), mask):
            return paths
        return list(self.index.names(mask))  # a path above has a tied parameter that is not meant

    def _holding(self, use_patterns: bool) -> list[_Step]:
        """Steps that hold what is to be held: paths of which all layers below are."""
        held = self.target.held
        if not held.any():
            return []
        index = self.index
        bad = np.zeros(len(index.nodes), bool)
        good = np.zeros(len(index.nodes), bool)
        bad[self.rule.carriers[~held]] = True
        good[self.rule.carriers[held]] = True
        parent = index.parent.tolist()
        for node in range(len(parent) - 1, 0, -1):
            bad[parent[node]] |= bad[node]
            good[parent[node]] |= good[node]
        usable = good & ~bad
        paths = self.cover.paths
        tops = [n for n in np.flatnonzero(usable).tolist() if not n or not usable[parent[n]]]
        texts: list[str] = []
        if use_patterns and len(tops) > FEW:
            texts = self._patterns_for(usable, tops)
            covered = self.mask(texts)
            tops = [n for n in tops if not covered[index.below(paths[n])].all()]
        texts += merged(self.index, self.mask, [paths[node] for node in tops])
        return self._held_apart(texts)

    def _patterns_for(self, usable: np.ndarray, tops: Sequence[int]) -> list[str]:
        left = np.zeros(len(self.index.nodes), bool)
        left[tops] = True
        texts: list[str] = []
        for _ in range(MOST_PATTERNS):
            fitting = [p for p in self.patterns if usable[p.nodes].all()]
            best = max(fitting, key=lambda p: (left[p.nodes].sum(), -len(p.text)), default=None)
            if best is None or left[best.nodes].sum() < 2:
                break
            texts.append(best.text)
            left[best.nodes] = False
        return texts

    def _held_apart(self, texts: Sequence[str]) -> list[_Step]:
        """Steps that hold texts: as one where that holds nothing more, say the module above all."""
        steps: list[_Step] = []
        for text in texts:
            for i, step in enumerate(steps):
                joined = _Step(True, (*step.texts, text), True)
                if not (self.after([joined]).held & ~self.target.held).any():
                    steps[i] = joined
                    break
            else:
                steps.append(_Step(True, (text,), True))
        return steps

    def _without_needless(self, steps: list[_Step]) -> list[_Step]:
        """Leave out what others have done already."""
        terms = [(i, text) for i, step in enumerate(steps) for text in step.texts]
        if not FEW <= len(terms) <= 40:
            return steps
        for i, text in terms:
            texts = tuple(other for other in steps[i].texts if other != text)
            shorter = [*steps[:i], steps[i]._replace(texts=texts), *steps[i + 1 :]]
            if self.off(shorter) <= self.off(steps):
                steps = shorter
        return [step for step in steps if step.texts]
