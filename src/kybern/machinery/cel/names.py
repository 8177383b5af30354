"""Names of fields as expressions write them: a field may be called ``my-field`` or ``in``, an identifier may not.

``__`` stands for nothing but itself spelled out, so every name has one spelling, and every spelling one name.
"""

import re

_WORDS = frozenset((
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
    "loop", "package", "namespace", "return", "var", "void", "while",
))  # fmt: skip
_SIGNS = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_WRITABLE = re.compile(r"[a-zA-Z_./-][a-zA-Z0-9_./-]*", re.ASCII)
_PLAIN = re.compile(r"[a-zA-Z0-9_]*", re.ASCII)


def reserved(name: str) -> bool:
    """Whether a name is a word of the language; behind a dot it may be written as it is all the same."""
    return name in _WORDS


def escaped(name: str) -> str | None:
    """The identifier for a field; None for one that expressions cannot name."""
    if name in _WORDS:
        return f"__{name}__"
    if _WRITABLE.fullmatch(name) is None:
        return None
    if "__" not in name and _PLAIN.fullmatch(name):
        return name
    return re.sub(r"__|[./-]", lambda sign: _SIGNS[sign[0]], name)


_SPELLINGS = {spelling: sign for sign, spelling in _SIGNS.items()}


def unescaped(identifier: str) -> str:
    """The field that an identifier stands for."""
    if identifier.startswith("__") and identifier.endswith("__") and identifier[2:-2] in _WORDS:
        return identifier[2:-2]
    return re.sub("|".join(_SPELLINGS), lambda spelling: _SPELLINGS[spelling[0]], identifier)
