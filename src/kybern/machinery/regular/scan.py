"""Reads a pattern of Go's from left to right, and writes Python's.

Flags hold from where they stand to the end of their group, over its alternatives: ``m`` and ``U`` are worked into what is
written, ``i`` and ``s`` become groups of their own that are closed and opened again at each alternative.
"""

import re
from dataclasses import dataclass, field, replace

from kybern.machinery.regular import classes
from kybern.machinery.regular.problem import PatternError

_REPEAT = re.compile(r"[*+?]|\{(\d+)(?:(,)(\d*))?\}", re.ASCII)
_FLAGS = re.compile(r"\(\?([imsU]*)(?:-([imsU]+))?([:)])", re.ASCII)
_NAME = re.compile(r"\(\?P?<([A-Za-z0-9_]+)>", re.ASCII)
_MOST_REPEATS = _DEEPEST = 1000
_ANCHORS = {"A": r"\A", "z": r"\Z", "b": r"(?a:\b)", "B": r"(?a:\B)"}


@dataclass(frozen=True, slots=True)
class _Flags:
    fold: bool = False
    lines: bool = False
    dots: bool = False
    lazy: bool = False

    def changed(self, on: str, off: str) -> "_Flags":
        names = {"i": "fold", "m": "lines", "s": "dots", "U": "lazy"}
        return replace(
            self,
            **{names[sign]: True for sign in on},
            **{names[sign]: False for sign in off},
        )

    def group(self) -> str:
        """How a group begins in which they hold."""
        on = ("i" if self.fold else "") + ("s" if self.dots else "")
        off = ("" if self.fold else "i") + ("" if self.dots else "s")
        return f"(?{on}{f'-{off}' if off else ''}:"


@dataclass(slots=True)
class _Group:
    """One open parenthesis: where it is, the flags outside it, and whether flags opened a group of their own in it."""

    at: int
    outside: _Flags
    flagged: bool = False


@dataclass(slots=True)
class Scan:
    text: str
    at: int = 0
    flags: _Flags = _Flags()
    written: list[str] = field(default_factory=list)
    groups: list[_Group] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    flagged: bool = False
    # Where the last item begins in what is written; -1: there is none that could be repeated.
    item: int = -1

    def translate(self) -> str:
        while self.at < len(self.text):
            self._step(self.text[self.at])
        if self.groups:
            raise PatternError("missing closing )", self.text)
        if self.flagged:
            self.written.append(")")
        return "".join(self.written)

    def _step(self, sign: str) -> None:
        repeat = _REPEAT.match(self.text, self.at)
        if repeat:
            self._repeat(repeat)
        elif sign == "(":
            self._open()
        elif sign == ")":
            self._close()
        elif sign == "|":
            self.at += 1
            self.written.append(f")|{self.flags.group()}" if self._flagged() else "|")
            self.item = -1
        elif sign == "[":
            written, self.at = classes.bracket(self.text, self.at)
            self._item(written)
        elif sign == "\\":
            self._escape()
        else:
            self.at += 1
            self._item(self._sign(sign))

    def _sign(self, sign: str) -> str:
        if sign == "^":
            return r"(?m:^)" if self.flags.lines else r"\A"
        if sign == "$":
            return r"(?m:$)" if self.flags.lines else r"\Z"
        return "." if sign == "." else re.escape(sign)

    def _item(self, written: str) -> None:
        self.item = len(self.written)
        self.written.append(written)

    def _flagged(self) -> bool:
        return self.groups[-1].flagged if self.groups else self.flagged

    def _repeat(self, found: re.Match[str]) -> None:
        end = found.end()
        lazy = self.text[end : end + 1] == "?"
        end += lazy
        if self.item < 0:
            raise PatternError("missing argument to repetition operator", self.text[self.at : end])
        again = _REPEAT.match(self.text, end)
        if again:
            stop = again.end() + (self.text[again.end() : again.end() + 1] == "?")
            raise PatternError("invalid nested repetition operator", self.text[self.at : stop])
        if found[1]:
            self._count(found)
        self.written.insert(self.item, "(?:")
        self.written.append(f"){found[0]}{'?' if lazy != self.flags.lazy else ''}")
        self.at, self.item = end, -1

    def _count(self, found: re.Match[str]) -> None:
        least = int(found[1])
        most = int(found[3]) if found[3] else least
        if max(least, most) > _MOST_REPEATS or most < least:
            raise PatternError("invalid repeat count", found[0])

    def _open(self) -> None:
        if self.text.startswith("(?", self.at):
            self._special()
            return
        self._enter("(", self.at + 1, self.flags)

    def _enter(self, written: str, at: int, flags: _Flags) -> None:
        if len(self.groups) >= _DEEPEST:
            raise PatternError("expression nests too deeply", self.text)
        self.groups.append(_Group(len(self.written), self.flags))
        self.written.append(written)
        self.at, self.flags, self.item = at, flags, -1

    def _special(self) -> None:
        name = _NAME.match(self.text, self.at)
        if name:
            if name[1] in self.names:
                raise PatternError("duplicate capture group name", name[1])
            self.names.add(name[1])
            self._enter("(", name.end(), self.flags)
            return
        found = _FLAGS.match(self.text, self.at)
        if found is None or not (found[1] or found[2] or found[3] == ":"):
            self._unknown()
            return
        flags = self.flags.changed(found[1], found[2] or "")
        if found[3] == ":":
            self._enter(flags.group(), found.end(), flags)
        else:
            self._set(flags, found.end())

    def _unknown(self) -> None:
        rest = self.text[self.at :]
        if rest.startswith(("(?P<", "(?<")) and not rest.startswith(("(?<=", "(?<!")):
            end = rest.find(">")
            raise PatternError("invalid named capture", rest[: end + 1] if end >= 0 else self.text)
        found = re.match(r"\(\?[imsU-]*.?", rest, re.DOTALL)
        if found is None or found.end() == len(rest):
            raise PatternError("missing closing )", self.text)
        raise PatternError("invalid or unsupported Perl syntax", found[0])

    def _set(self, flags: _Flags, at: int) -> None:
        if self._flagged():
            self.written.append(")")
        elif self.groups:
            self.groups[-1].flagged = True
        else:
            self.flagged = True
        self.written.append(flags.group())
        self.flags, self.at, self.item = flags, at, -1

    def _close(self) -> None:
        if not self.groups:
            raise PatternError("unexpected )", self.text)
        group = self.groups.pop()
        self.written.append("))" if group.flagged else ")")
        self.at, self.flags, self.item = self.at + 1, group.outside, group.at

    def _escape(self) -> None:
        sign = self.text[self.at + 1 : self.at + 2]
        if not sign:
            raise PatternError("trailing backslash at end of expression", "")
        if sign in _ANCHORS:
            self.at += 2
            self._item(_ANCHORS[sign])
        elif sign == "Q":
            end = self.text.find("\\E", self.at)
            end = len(self.text) if end < 0 else end
            for each in self.text[self.at + 2 : end]:
                self._item(re.escape(each))
            self.at = min(end + 2, len(self.text))
        else:
            inside, self.at = classes.escape(self.text, self.at)
            self._item(f"[{inside}]")
