"""Answers as YAML, as Go's library writes them: keys sorted, lists not indented, lines of 80 characters.

A text of several lines stands as a block; one that a reader would take for a number, a boolean, a time or nothing at all
is in double quotes.
"""

import re
from typing import Any

import yaml

try:
    from yaml import CSafeDumper as _Dumper
except ImportError:  # the C library is missing: slower, the same text
    from yaml import SafeDumper as _Dumper  # type: ignore[assignment]

_OTHER = re.compile(
    r"[-+]?(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"  # numbers
    r"|[-+]?0(?:b[01_]+|o?[0-7_]+|x[0-9a-fA-F_]+)"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"  # of base 60
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    r"|y|Y|n|N|yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"
    r"|~|null|Null|NULL|<<|"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?"  # times
)


class _GoDumper(_Dumper):
    """The dumper with Go's choice of styles."""


def _text(dumper: Any, value: str) -> Any:
    style = '"' if _OTHER.fullmatch(value) else "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_GoDumper.add_representer(str, _text)


def yaml_of(value: Any) -> bytes:
    text: bytes = yaml.dump(
        value,
        Dumper=_GoDumper,
        default_flow_style=False,
        allow_unicode=True,
        encoding="utf-8",
        width=80,
        sort_keys=True,
    )
    return text
