"""Reads a pattern of Go's from left to right into a tree.

Flags hold from where they stand to the end of their group, over its alternatives; what stands under them is marked itself.
"""

import re
from dataclasses import dataclass, field, replace

from kybern.machinery.regular import classes
from kybern.machinery.regular.problem import PatternError
from kybern.machinery.regular.tree import At, Either, Many, Node, One, Row, size

_REPEAT = re.compile(r"[*+?]|\{(\d+)(?:(,)(\d*))?\}", re.ASCII)
_FLAGS = re.compile(r"\(\?([imsU]*)(?:-([imsU]+))?([:)])", re.ASCII)
_NAME = re.compile(r"\(\?P?<([A-Za-z0-9_]+)>", re.ASCII)
_MOST_REPEATS = _DEEPEST = 1000
_LARGEST = 30_000
_ANCHORS = {"A": r"\A", "z": r"\Z", "b": r"(?a:\b)", "B": r"(?a:\B)"}
_COUNTS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


@dataclass(frozen=True, slots=True)
class _Flags:
    fold: bool = False
    lines: bool = False
    dots: bool = False
    lazy: bool = False

    def changed(self, on: str, off: str) -> "_Flags":
        names = {"i": "fold", "m": "lines", "s": "dots", "U": "lazy"}
        return replace(self, **{names[sign]: True for sign in on}, **{names[sign]: False for sign in off})


@dataclass(slots=True)
class _Group:
    """One open group: its alternatives so far, and the flags outside it."""

    outside: _Flags
    choices: list[list[Node]] = field(default_factory=lambda: [[]])

    def node(self) -> Node:
        rows = [each[0] if len(each) == 1 else Row(tuple(each)) for each in self.choices]
        return rows[0] if len(rows) == 1 else Either(tuple(rows))


@dataclass(slots=True)
class Scan:
    text: str
    at: int = 0
    flags: _Flags = _Flags()
    groups: list[_Group] = field(default_factory=lambda: [_Group(_Flags())])
    names: set[str] = field(default_factory=set)
    # Whether the last part is one that could be repeated.
    item: bool = False

    def tree(self) -> Node:
        """The pattern; raises PatternError."""
        while self.at < len(self.text):
            self._step(self.text[self.at])
        if len(self.groups) > 1:
            raise PatternError("missing closing )", self.text)
        found = self.groups[0].node()
        if size(found) > _LARGEST:
            raise PatternError("expression too large", self.text)
        return found

    def _step(self, sign: str) -> None:
        repeat = _REPEAT.match(self.text, self.at)
        if repeat:
            self._repeat(repeat)
        elif sign == "(":
            self._open()
        elif sign == ")":
            self._close()
        elif sign == "|":
            self.at, self.item = self.at + 1, False
            self.groups[-1].choices.append([])
        elif sign == "[":
            written, self.at = classes.bracket(self.text, self.at)
            self._one(written)
        elif sign == "\\":
            self._escape()
        else:
            self.at += 1
            self._sign(sign)

    def _sign(self, sign: str) -> None:
        if sign == "^":
            self._add(At(r"(?m:^)" if self.flags.lines else r"\A"))
        elif sign == "$":
            self._add(At(r"(?m:$)" if self.flags.lines else r"\Z"))
        elif sign == ".":
            self._add(One("(?s:.)" if self.flags.dots else "."))
        else:
            self._one(re.escape(sign))

    def _one(self, written: str) -> None:
        self._add(One(f"(?i:{written})" if self.flags.fold else written))

    def _add(self, node: Node) -> None:
        self.groups[-1].choices[-1].append(node)
        self.item = True

    def _repeat(self, found: re.Match[str]) -> None:
        end = found.end()
        lazy = self.text[end : end + 1] == "?"
        end += lazy
        if not self.item:
            raise PatternError("missing argument to repetition operator", self.text[self.at : end])
        again = _REPEAT.match(self.text, end)
        if again:
            stop = again.end() + (self.text[again.end() : again.end() + 1] == "?")
            raise PatternError("invalid nested repetition operator", self.text[self.at : stop])
        least, most = _COUNTS.get(found[0]) or self._count(found)
        row = self.groups[-1].choices[-1]
        row[-1] = Many(row[-1], least, most, lazy != self.flags.lazy)
        self.at, self.item = end, False

    def _count(self, found: re.Match[str]) -> tuple[int, int | None]:
        least = int(found[1])
        most = (int(found[3]) if found[3] else None) if found[2] else least
        high = least if most is None else most
        row = self.groups[-1].choices[-1]
        if max(least, high) > _MOST_REPEATS or high < least or _repeats(row[-1]) * high > _MOST_REPEATS:
            raise PatternError("invalid repeat count", found[0])
        return least, most

    def _open(self) -> None:
        if self.text.startswith("(?", self.at):
            self._special()
        else:
            self._enter(self.at + 1, self.flags)

    def _enter(self, at: int, flags: _Flags) -> None:
        if len(self.groups) > _DEEPEST:
            raise PatternError("expression nests too deeply", self.text)
        self.groups.append(_Group(self.flags))
        self.at, self.flags, self.item = at, flags, False

    def _special(self) -> None:
        name = _NAME.match(self.text, self.at)
        if name:
            if name[1] in self.names:
                raise PatternError("duplicate capture group name", name[1])
            self.names.add(name[1])
            self._enter(name.end(), self.flags)
            return
        found = _FLAGS.match(self.text, self.at)
        if found is None or not (found[1] or found[2] or found[3] == ":"):
            self._unknown()
            return
        flags = self.flags.changed(found[1], found[2] or "")
        if found[3] == ":":
            self._enter(found.end(), flags)
        else:
            self.at, self.flags, self.item = found.end(), flags, False

    def _unknown(self) -> None:
        rest = self.text[self.at :]
        if rest.startswith(("(?P<", "(?<")) and not rest.startswith(("(?<=", "(?<!")):
            end = rest.find(">")
            raise PatternError("invalid named capture", rest[: end + 1] if end >= 0 else self.text)
        found = re.match(r"\(\?[imsU-]*.?", rest, re.DOTALL)
        if found is None or found.end() == len(rest):
            raise PatternError("missing closing )", self.text)
        raise PatternError("invalid or unsupported Perl syntax", found[0])

    def _close(self) -> None:
        if len(self.groups) == 1:
            raise PatternError("unexpected )", self.text)
        group = self.groups.pop()
        self.at, self.flags = self.at + 1, group.outside
        self._add(group.node())

    def _escape(self) -> None:
        sign = self.text[self.at + 1 : self.at + 2]
        if not sign:
            raise PatternError("trailing backslash at end of expression", "")
        if sign in _ANCHORS:
            self.at += 2
            self._add(At(_ANCHORS[sign]))
        elif sign == "Q":
            end = self.text.find("\\E", self.at)
            end = len(self.text) if end < 0 else end
            for each in self.text[self.at + 2 : end]:
                self._one(re.escape(each))
            self.at = min(end + 2, len(self.text))
        else:
            inside, self.at = classes.escape(self.text, self.at)
            self._one(f"[{inside}]")


def _repeats(node: Node) -> int:
    """How often the innermost part is there at the most, where that is bounded."""
    match node:
        case Many(of, least, most, _):
            return max(least, most or 1, 1) * _repeats(of)
        case Row(parts) | Either(parts):
            return max(map(_repeats, parts), default=1)
    return 1
