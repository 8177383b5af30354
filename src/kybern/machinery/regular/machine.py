"""Runs a pattern over a text in one pass, however the pattern is built: all ways through it at once.

For patterns on which Python's engine would go back and try again for longer than anybody waits. Ways are kept in the order
in which Python would try them, so that the match is the same; where only the answer counts, sets of them are remembered.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from kybern.machinery.regular.tree import At, Either, Many, Node, One, Row

_END, _LINE, _WORD, _OTHER = range(4)
_KEPT = 10_000
_PLACES: dict[str, Callable[[int, int], bool]] = {
    r"\A": lambda before, _after: before == _END,
    r"\Z": lambda _before, after: after == _END,
    "(?m:^)": lambda before, _after: before in (_END, _LINE),
    "(?m:$)": lambda _before, after: after in (_END, _LINE),
    r"(?a:\b)": lambda before, after: (before == _WORD) != (after == _WORD),
    r"(?a:\B)": lambda before, after: (before == _WORD) == (after == _WORD),
}


@dataclass(frozen=True, slots=True)
class _Step:
    """One instruction: goes on to ``to``, in that order; over a sign, or where a place is, or at once."""

    to: tuple[int, ...] = ()
    sign: re.Pattern[str] | None = None
    place: str = ""


def _kind(sign: str) -> int:
    if not sign:
        return _END
    if sign == "\n":
        return _LINE
    return _WORD if sign == "_" or (sign.isascii() and sign.isalnum()) else _OTHER


@dataclass(slots=True)
class Machine:
    """Steps are numbered from the end: step 0 is the match."""

    steps: list[_Step] = field(default_factory=lambda: [_Step()])
    start: int = 0
    _known: dict[tuple[frozenset[int], str, int], frozenset[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Node) -> "Machine":
        found = cls()
        found.start = found._build(node, 0)
        return found

    def _put(self, step: _Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _build(self, node: Node, then: int) -> int:
        """Where the node begins, when ``then`` comes after it."""
        match node:
            case One(text):
                return self._put(_Step((then,), sign=re.compile(text)))
            case At(text):
                return self._put(_Step((then,), place=text))
            case Row(parts):
                for part in reversed(parts):
                    then = self._build(part, then)
                return then
            case Either(choices):
                return self._put(_Step(tuple(self._build(each, then) for each in choices)))
            case Many():
                return self._many(node, then)

    def _many(self, node: Many, then: int) -> int:
        """What is there at least is written out; without a bound the last of it comes back to itself."""
        least, entry = node.least, then
        if node.most is None:
            loop = self._put(_Step())
            entry = self._build(node.of, loop)
            self.steps[loop] = self._fork(entry, then, node)
            if least == 0:
                entry = self._put(self._fork(entry, then, node))
            least = max(least - 1, 0)
        else:
            for _ in range(node.most - least):
                entry = self._put(self._fork(self._build(node.of, entry), then, node))
        for _ in range(least):
            entry = self._build(node.of, entry)
        return entry

    @staticmethod
    def _fork(more: int, then: int, node: Many) -> _Step:
        return _Step((then, more) if node.lazy else (more, then))

    def _open(self, at: int, before: int, after: int, seen: set[int]) -> list[int]:
        """The steps over a sign, and the match, that are reached at once, the first way first."""
        found: list[int] = []
        stack = [at]
        while stack:
            at = stack.pop()
            if at in seen:
                continue
            seen.add(at)
            step = self.steps[at]
            if at == 0 or step.sign is not None:
                found.append(at)
            elif not step.place or _PLACES[step.place](before, after):
                stack.extend(reversed(step.to))
        return found

    def _over(self, at: int, sign: str) -> bool:
        wanted = self.steps[at].sign
        return wanted is not None and bool(sign) and wanted.match(sign) is not None

    def matches(self, text: str) -> bool:
        """Whether there is a match somewhere."""
        before = _END
        now = frozenset(self._open(self.start, before, _kind(text[:1]), set()))
        for at, sign in enumerate(text):
            if 0 in now:
                return True
            now = self._next(now, sign, _kind(text[at + 1 : at + 2]))
        return 0 in now

    def _next(self, now: frozenset[int], sign: str, after: int) -> frozenset[int]:
        key = (now, sign, after)
        found = self._known.get(key)
        if found is None:
            seen: set[int] = set()
            reached: list[int] = []
            before = _kind(sign)
            for at in now:
                if self._over(at, sign):
                    reached += self._open(self.steps[at].to[0], before, after, seen)
            reached += self._open(self.start, before, after, seen)
            found = frozenset(reached)
            if len(self._known) < _KEPT:
                self._known[key] = found
        return found

    def find(self, text: str, at: int) -> tuple[int, int] | None:
        """Where the first match from a place on begins and ends."""
        best: tuple[int, int] | None = None
        threads: list[tuple[int, int]] = []
        before = _kind(text[at - 1 : at]) if at else _END
        for place in range(at, len(text) + 1):
            sign = text[place : place + 1]
            after = _kind(sign)
            threads, best = self._ways(threads, place, (before, after), best)
            if best is not None and not threads:
                return best
            threads = [(self.steps[step].to[0], begin) for step, begin in threads if self._over(step, sign)]
            before = after
        return best

    def _ways(
        self,
        threads: list[tuple[int, int]],
        place: int,
        around: tuple[int, int],
        best: tuple[int, int] | None,
    ) -> tuple[list[tuple[int, int]], tuple[int, int] | None]:
        """Every way to go on from here, the first one first; what comes after a match is not wanted any more."""
        seen: set[int] = set()
        found: list[tuple[int, int]] = []
        fresh = [] if best is not None else [(self.start, place)]
        for step, begin in [*threads, *fresh]:
            for reached in self._open(step, *around, seen):
                if reached == 0:
                    return found, (begin, place)
                found.append((reached, begin))
        return found, best
