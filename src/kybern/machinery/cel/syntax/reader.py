"""The tokens of an expression, one after the other, and what is said of one that does not fit.

Every message is what cel-go's parser, which ANTLR made, says in its place. Like that, this one goes on after a mistake, so
that an expression with two has two messages: it drops one token that does not belong, or skips to the next that may follow.
"""

from collections.abc import Callable
from typing import NoReturn

from kybern.machinery.cel.source import Source
from kybern.machinery.cel.syntax.tokens import END, Token, expected, tokens
from kybern.machinery.cel.syntax.tree import Node

LITERALS = frozenset({"NUM_FLOAT", "NUM_INT", "NUM_UINT", "STRING", "BYTES", "true", "false", "null"})
FIRST = LITERALS | {"[", "{", "(", ".", "-", "!", "IDENTIFIER"}
BINDING = {
    "==": 1, "!=": 1, "in": 1, "<": 1, "<=": 1, ">=": 1, ">": 1, "+": 2, "-": 2, "*": 3, "/": 3, "%": 3,
}  # fmt: skip
"""Operators by how strongly they bind."""
_BEHIND = frozenset(BINDING) | {"&&", "||", "?", END}


class StopError(Exception):
    """Enough is known to be wrong."""


class TokenReader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._tokens = tokens(source)
        self._at = 0
        self._recovering = False
        self._closing: list[frozenset[str]] = []

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._recovering = False
        if token.kind != END:
            self._at += 1
        return token

    def _taken(self, kind: str) -> Token | None:
        return self._take() if self._next.kind == kind else None

    def _syntax(self, token: Token, message: str) -> None:
        """After a mistake nothing is said before another token has fitted."""
        if not self._recovering:
            self._source.report(token.at, f"Syntax error: {message}")
        self._recovering = True

    def _match(self, kind: str, after: frozenset[str] = frozenset()) -> Token:
        """The next token is of a kind; or the one behind it, or one is made up when what comes may follow it."""
        token = self._next
        if token.kind == kind:
            return self._take()
        behind = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if behind.kind == kind and token.kind != END:
            self._syntax(token, f"extraneous input '{token.text}' expecting {expected(frozenset({kind}))}")
            self._take()
            return self._take()
        if token.kind in after:
            self._syntax(token, f"missing {expected(frozenset({kind}))} at '{token.text}'")
            return Token(kind, "", token.at)
        self._syntax(token, f"mismatched input '{token.text}' expecting {expected(frozenset({kind}))}")
        raise StopError

    def _begin(self, also: frozenset[str] = frozenset(), without: str = "") -> bool:
        """Whether what may come does come; one token too many is dropped, others are skipped."""
        token = self._next
        wanted = (FIRST | also) - {without}
        if token.kind in wanted:
            return True
        behind = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        extra = token.kind != END and behind.kind in wanted
        word = "extraneous" if extra else "mismatched"
        self._syntax(token, f"{word} input '{token.text}' expecting {expected(wanted)}")
        if extra:
            self._take()
            return True
        following = _BEHIND.union(*self._closing)
        while self._next.kind not in following:
            self._at += 1
        return False

    def _after(self) -> frozenset[str]:
        """What may come behind something that is closed."""
        return _BEHIND.union({".", "["}, *self._closing)

    def _no_way(self, before: str) -> NoReturn:
        """What is written so far leads nowhere, and the next token is where that shows."""
        token = self._next
        text = "" if token.kind == END else token.text
        self._syntax(token, f"no viable alternative at input '{before}{text}'")
        raise StopError

    def _list(
        self, end: str, also: frozenset[str], item: Callable[[], Node], *, trailing: bool = False
    ) -> list[Node]:
        """Items with commas between them, and behind them where that is allowed."""
        found: list[Node] = []
        if trailing and self._next.kind == ",":
            self._take()
            return found
        if self._next.kind == end or not self._begin(also):
            return found
        while True:
            found.append(item())
            if self._taken(",") is None or (trailing and self._next.kind == end):
                return found

    def _end(self) -> None:
        token, after = self._next, self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if token.kind != END:
            word = "extraneous" if after.kind == END else "mismatched"
            self._syntax(token, f"{word} input '{token.text}' expecting <EOF>")
