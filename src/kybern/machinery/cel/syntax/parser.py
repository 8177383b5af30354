"""Reads expressions: cel-spec's grammar, operators by how strongly they bind."""

from collections.abc import Callable

from kybern.machinery.cel.source import Source
from kybern.machinery.cel.syntax.literals import READERS
from kybern.machinery.cel.syntax.macros import MACROS, MacroError, Macros
from kybern.machinery.cel.syntax.reader import BINDING, FIRST, LITERALS, StopError, TokenReader
from kybern.machinery.cel.syntax.tokens import END, Token, expected
from kybern.machinery.cel.syntax.tree import (
    Call,
    Entry,
    Field,
    Ident,
    ListLiteral,
    Literal,
    MapLiteral,
    Message,
    Node,
    Select,
)  # fmt: skip

_LONGEST, _DEEPEST = 100_000, 250
_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace",
     "return", "var", "void", "while"}
)  # fmt: skip
_OPERATORS = {kind: f"_{kind}_" for kind in BINDING} | {"in": "@in"}
_CONSTANTS = {"true": True, "false": False, "null": None}


def parse(source: Source, macros: Macros = MACROS) -> Node | None:
    """The tree, or None when the source got issues."""
    if len(source.text) > _LONGEST:
        size = len(source.text)
        source.report_whole(f"expression code point size exceeds limit: size: {size}, limit {_LONGEST}")
        return None
    try:
        found = _Parser(source, macros).whole()
    except StopError:
        return None
    return None if source.issues else found


class _Parser(TokenReader):
    def __init__(self, source: Source, macros: Macros) -> None:
        super().__init__(source)
        self._macros = macros
        self._depth = 0

    def whole(self) -> Node:
        found = self._expression(frozenset())
        self._end()
        return found

    def _expression(self, closing: frozenset[str]) -> Node:
        self._depth += 1
        self._limit(self._depth)
        self._closing.append(closing)
        found = self._or()
        question = self._taken("?")
        if question is not None:
            yes = self._or()
            self._match(":")
            no = self._expression(closing)
            found = self._call(question.at, "_?_:_", (found, yes, no))
        self._closing.pop()
        self._depth -= 1
        return found

    def _limit(self, depth: int) -> None:
        if depth > _DEEPEST:
            self._source.report_whole(f"expression recursion limit exceeded: {_DEEPEST}")
            raise StopError

    def _or(self) -> Node:
        return self._chain("||", lambda: self._chain("&&", lambda: self._operators(1)))

    def _chain(self, kind: str, term: Callable[[], Node]) -> Node:
        terms, places = [term()], []
        while (token := self._taken(kind)) is not None:
            places.append(token.at)
            terms.append(term())
        return _balanced(f"_{kind}_", terms, places)

    def _operators(self, least: int) -> Node:
        found = self._unary()
        count = 1
        while BINDING.get(self._next.kind, 0) >= least:
            token = self._take()
            count += 1
            self._limit(count)
            right = self._operators(BINDING[token.kind] + 1)
            found = self._call(token.at, _OPERATORS[token.kind], (found, right))
        return found

    def _unary(self) -> Node:
        if not self._begin():
            return Node(self._next.at)
        kind = self._next.kind
        if kind not in ("!", "-") or self._signed():
            return self._member()
        places = []
        while self._next.kind == kind:
            places.append(self._take().at)
        if kind == "-" and self._next.kind not in FIRST - {"!"}:
            self._no_way("-" * len(places))
        operand = self._member()
        return operand if len(places) % 2 == 0 else Call(places[0], "!_" if kind == "!" else "-_", (operand,))

    def _signed(self) -> bool:
        behind = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        return self._next.kind == "-" and behind.kind in ("NUM_INT", "NUM_FLOAT")

    def _member(self) -> Node:
        if not self._begin(without="!"):
            return Node(self._next.at)
        found = self._primary()
        count = 1
        while self._next.kind in (".", "["):
            count += 1
            self._limit(count)
            found = self._selection(found) if self._next.kind == "." else self._index(found)
        return found

    def _selection(self, operand: Node) -> Node:
        dot = self._take()
        optional = self._taken("?") is not None
        token = self._next
        if token.kind not in ("IDENTIFIER", "ESC_IDENTIFIER"):
            self._no_field(dot, token, optional=optional)
            return Node(dot.at)
        self._take()
        field = self._field(token)
        if optional:
            return Call(dot.at, "_?._", (operand, Literal(token.at, field)))
        opening = self._taken("(") if token.kind == "IDENTIFIER" else None
        if opening is None:
            return Select(dot.at, operand, field)
        return self._call(opening.at, field, self._arguments(), operand)

    def _no_field(self, dot: Token, token: Token, *, optional: bool) -> None:
        if optional:
            kinds = expected(frozenset({"IDENTIFIER", "ESC_IDENTIFIER"}))
            self._syntax(token, f"mismatched input '{token.text}' expecting {kinds}")
        elif token.kind in _CONSTANTS:
            self._syntax(token, f"mismatched input '{token.text}' expecting IDENTIFIER")
        else:
            self._no_way(dot.text)
        raise StopError

    def _field(self, token: Token) -> str:
        """A field in backticks is no syntax of v1.36, but of its grammar."""
        if token.kind == "ESC_IDENTIFIER":
            self._source.report(token.at, "unsupported syntax: '`'")
            return token.text[1:-1]
        return token.text

    def _index(self, operand: Node) -> Node:
        opening = self._take()
        optional = self._taken("?") is not None
        index = self._expression(frozenset({"]"}))
        self._match("]", self._after())
        return self._call(opening.at, "_[?_]" if optional else "_[_]", (operand, index))

    def _arguments(self) -> tuple[Node, ...]:
        found = self._list(")", frozenset({")"}), lambda: self._expression(frozenset({",", ")"})))
        self._match(")", self._after())
        return tuple(found)

    # What stands for itself

    def _primary(self) -> Node:
        token = self._next
        if token.kind in LITERALS or token.kind == "-":
            return self._literal()
        if token.kind in ("IDENTIFIER", "."):
            return self._named()
        self._take()
        if token.kind == "(":
            found = self._expression(frozenset({")"}))
            self._match(")", self._after())
            return found
        return self._items(token) if token.kind == "[" else self._entries(token)

    def _named(self) -> Node:
        first = self._next
        dot = self._taken(".")
        token = self._next
        if token.kind != "IDENTIFIER":
            self._no_field(first, token, optional=False)
        length = self._message_name()
        if length:
            return self._message("." if dot else "", length)
        self._take()
        opening = self._taken("(")
        if token.text in _RESERVED:
            self._source.report(first.at, f"reserved identifier: {token.text}")
            if opening is not None:
                self._arguments()
            return Node(first.at)
        name = f".{token.text}" if dot else token.text
        if opening is None:
            return Ident(token.at, name)
        return self._call(opening.at, name, self._arguments())

    def _message_name(self) -> int:
        """How many tokens name a type, when an opening brace follows them."""
        at = self._at + 1
        while self._tokens[at].kind == "." and self._tokens[at + 1].kind == "IDENTIFIER":
            at += 2
        return at - self._at if self._tokens[at].kind == "{" else 0

    def _message(self, dot: str, length: int) -> Node:
        name = dot + "".join(token.text for token in self._tokens[self._at : self._at + length])
        self._at += length
        opening = self._take()
        fields: list[Field] = []
        if self._taken(",") is None:
            while self._next.kind not in ("}", END):
                fields.append(self._initializer())
                if self._taken(",") is None:
                    break
        self._match("}", self._after())
        return Message(opening.at, name, tuple(fields))

    def _initializer(self) -> Field:
        optional = self._taken("?") is not None
        token = self._next
        if token.kind not in ("IDENTIFIER", "ESC_IDENTIFIER"):
            kinds = frozenset({"IDENTIFIER", "ESC_IDENTIFIER"} | (set() if optional else {"}", ",", "?"}))
            self._syntax(token, f"mismatched input '{token.text}' expecting {expected(kinds)}")
            raise StopError
        self._take()
        name = self._field(token)
        colon = self._match(":")
        return Field(colon.at, name, self._expression(frozenset({",", "}"})), optional)

    def _items(self, opening: Token) -> Node:
        optional: set[int] = set()
        count = 0

        def item() -> Node:
            nonlocal count
            if self._taken("?") is not None:
                optional.add(count)
            count += 1
            return self._expression(frozenset({",", "]"}))

        found = self._list("]", frozenset({"]", ",", "?"}), item, trailing=True)
        self._match("]", self._after())
        return ListLiteral(opening.at, tuple(found), frozenset(optional))

    def _entries(self, opening: Token) -> Node:
        found: list[Entry] = []

        def entry() -> Node:
            optional = self._taken("?") is not None
            key = self._expression(frozenset({":"}))
            colon = self._match(":")
            found.append(Entry(colon.at, key, self._expression(frozenset({",", "}"})), optional))
            return key

        self._list("}", frozenset({"}", ",", "?"}), entry, trailing=True)
        self._match("}", self._after())
        return MapLiteral(opening.at, tuple(found))

    def _literal(self) -> Node:
        first = self._next
        sign = "-" if self._taken("-") is not None else ""
        if sign and self._next.kind not in ("NUM_INT", "NUM_FLOAT"):
            self._no_way("-")
        token = self._take()
        if token.kind in _CONSTANTS:
            return Literal(first.at, _CONSTANTS[token.kind])
        try:
            return Literal(first.at, READERS[token.kind](sign + token.text))
        except ValueError as problem:
            self._source.report(first.at, str(problem))
            return Node(first.at)

    def _call(self, at: int, name: str, arguments: tuple[Node, ...], target: Node | None = None) -> Node:
        expand = self._macros.get((name, len(arguments), target is not None))
        if expand is None:
            return Call(at, name, arguments, target)
        try:
            return expand(at, target, arguments)
        except MacroError as problem:
            self._source.report(problem.at, str(problem))
            return Node(at)


def _balanced(function: str, terms: list[Node], places: list[int]) -> Node:
    """A chain of && or || as a tree that is no deeper than need be: its terms are in their order."""
    if len(terms) == 1:
        return terms[0]
    middle = len(places) // 2
    left = _balanced(function, terms[: middle + 1], places[:middle])
    right = _balanced(function, terms[middle + 1 :], places[middle + 1 :])
    return Call(places[middle], function, (left, right))
