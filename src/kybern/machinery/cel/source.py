"""An expression's text, and what is wrong with it, printed as cel-go prints it: where, why, and the line with a mark below.

Columns count characters; the mark and its dots are wide under characters that are.
"""

from bisect import bisect_right
from dataclasses import dataclass

_LONGEST_LINE = 16384
_MOST_ISSUES = 100


@dataclass(frozen=True, slots=True)
class Issue:
    """``line`` counts from 1, ``column`` from 0."""

    line: int
    column: int
    message: str


class CompileError(Exception):
    """An expression that cannot be compiled. The text is what cel-go prints of all its issues."""

    def __init__(self, text: str, issues: tuple[Issue, ...] = ()) -> None:
        super().__init__(text)
        self.issues = issues


class Source:
    """Collects the issues of one expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.issues: list[Issue] = []
        self._starts = [0, *(at + 1 for at, sign in enumerate(text) if sign == "\n")]

    def report(self, at: int, message: str) -> None:
        line = bisect_right(self._starts, at)
        self.issues.append(Issue(line, at - self._starts[line - 1], message))

    def report_whole(self, message: str) -> None:
        """What is wrong with the expression, and nowhere in particular."""
        self.issues.append(Issue(-1, -1, message))

    def error(self) -> CompileError:
        ordered = sorted(self.issues, key=lambda issue: (issue.line, issue.column))
        shown = [self._shown(issue) for issue in ordered[:_MOST_ISSUES]]
        if len(ordered) > _MOST_ISSUES:
            shown.append(f"{len(ordered) - _MOST_ISSUES} more errors were truncated")
        return CompileError("\n".join(shown), tuple(ordered))

    def _shown(self, issue: Issue) -> str:
        # An expression without a character has no first one.
        column = issue.column + 1 if self.text else 0
        text = f"ERROR: <input>:{issue.line}:{column}: {issue.message}"
        if issue.line < 1 or not self.text:
            return text
        line = self.text.split("\n")[issue.line - 1]
        if len(line.encode(errors="surrogatepass")) > _LONGEST_LINE:
            return text
        before = "".join("." if ord(sign) < 128 else "\uff0e" for sign in line[: issue.column])
        mark = "\uff3e" if ord(line[issue.column : issue.column + 1] or " ") >= 128 else "^"
        return f"{text}\n | {line.replace('\t', ' ')}\n | {before}{mark}"
