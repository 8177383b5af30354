"""Text as tokens. What is no token is reported as ANTLR's lexers report it, and passed over.

ANTLR says how far it had read when it knew that this becomes no token, and goes on behind that.
"""

import re
from typing import NamedTuple

from kybern.machinery.cel.source import Source

_ESCAPE = r"""\\(?:[abfnrtv"'\\?`]|[0-3][0-7]{2}|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"""
_PART_OF_ESCAPE = r"""\\(?:[0-3][0-7]?|[xX][0-9a-fA-F]?|u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7})?"""
_STRING = (
    rf'(?:"""(?:{_ESCAPE}|[^\\])*?"""|\'\'\'(?:{_ESCAPE}|[^\\])*?\'\'\''
    rf'|[rR]"""(?s:.)*?"""|[rR]\'\'\'(?s:.)*?\'\'\''
    rf'|"(?:{_ESCAPE}|[^\\"\n\r])*"|\'(?:{_ESCAPE}|[^\\\'\n\r])*\''
    rf'|[rR]"[^"\n\r]*"|[rR]\'[^\'\n\r]*\')'
)
_TOKEN = re.compile(
    "|".join(
        (
            r"(?P<BLANK>[\t \r\n\f]+|//[^\n]*)",
            r"(?P<NUM_FLOAT>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)",
            r"(?P<NUM_UINT>0x[0-9a-fA-F]+[uU]|[0-9]+[uU])",
            r"(?P<NUM_INT>0x[0-9a-fA-F]+|[0-9]+)",
            rf"(?P<BYTES>[bB]{_STRING})",
            rf"(?P<STRING>{_STRING})",
            r"(?P<IDENTIFIER>[A-Za-z_][A-Za-z0-9_]*)",
            r"(?P<ESC_IDENTIFIER>`[A-Za-z0-9_.\-/ ]+`)",
            r"(?P<SIGN>==|!=|<=|>=|&&|\|\||[<>\[\]{}().,\-!?:+*/%])",
        )
    )
)
_BROKEN = re.compile(
    rf"""(?:[rR]["'](?:[^"'\n\r])*|"(?:{_ESCAPE}|[^\\"\n\r])*(?:{_PART_OF_ESCAPE})?"""
    rf"""|'(?:{_ESCAPE}|[^\\'\n\r])*(?:{_PART_OF_ESCAPE})?|`[A-Za-z0-9_.\-/ ]*|[=&|])"""
)
_WORDS = frozenset({"in", "true", "false", "null"})
END = "<EOF>"
NAMED = ("NUM_FLOAT", "NUM_INT", "NUM_UINT", "STRING", "BYTES", "IDENTIFIER", "ESC_IDENTIFIER")
_ORDER = ("==", "!=", "in", "<", "<=", ">=", ">", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":",
          "+", "*", "/", "%", "true", "false", "null", *NAMED)  # fmt: skip


class Token(NamedTuple):
    """``kind`` is the sign or word itself, or what it is one of."""

    kind: str
    text: str
    at: int


def tokens(source: Source) -> list[Token]:
    text = source.text
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            at = _pass_over(source, at)
            continue
        kind = str(match.lastgroup)
        if kind != "BLANK":
            found.append(Token(_kind(kind, match[0]), match[0], at))
        at = match.end()
    found.append(Token(END, END, len(text)))
    return found


def _kind(group: str, text: str) -> str:
    return text if group == "SIGN" or text in _WORDS else group


def _pass_over(source: Source, at: int) -> int:
    begun = _BROKEN.match(source.text, at)
    end = min((begun.end() if begun else at) + 1, len(source.text))
    shown = source.text[at:end].replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    source.report(at, f"Syntax error: token recognition error at: '{shown}'")
    return end


def expected(kinds: frozenset[str]) -> str:
    """A set of kinds of tokens as ANTLR prints it: in the order of the grammar, signs in quotes."""
    if kinds == {END}:
        return END
    shown = [kind if kind in NAMED else f"'{kind}'" for kind in _ORDER if kind in kinds]
    return shown[0] if len(shown) == 1 else f"{{{', '.join(shown)}}}"
