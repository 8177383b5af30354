"""kubernetes.format: the named formats of strings, and what is wrong with one that has not got it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from kybern.machinery import names, url
from kybern.machinery.cel import measures, types
from kybern.machinery.cel.functions import Function, Library, Overload, Range
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import NONE, Optional
from kybern.machinery.structural.formats import fits

FORMAT = types.opaque("kubernetes.NamedFormat")
# What upstream takes the pattern of any format to be at most, when it estimates.
_PATTERN = 128


@dataclass(frozen=True, slots=True)
class FormatValue:
    """``pattern`` is how long upstream takes the pattern behind it to be."""

    TYPE: ClassVar[Type] = FORMAT
    name: str
    problems: Callable[[str], Iterable[str]] = field(compare=False)
    pattern: int = field(compare=False)


def _prefix(check: Callable[[str], Iterable[str]]) -> Callable[[str], Iterable[str]]:
    return lambda text: names.generated(check, text)


def _like(name: str, says: str) -> Callable[[str], Iterable[str]]:
    return lambda text: () if fits(name, text) else (says,)


def _uri(text: str) -> Iterable[str]:
    try:
        url.parse_request(text)
    except url.UrlError as problem:
        yield str(problem)


FORMATS = {
    "dns1123Label": FormatValue("DNS1123Label", names.dns1123_label, 30),
    "dns1123Subdomain": FormatValue("DNS1123Subdomain", names.dns1123_subdomain, 60),
    "dns1035Label": FormatValue("DNS1035Label", names.dns1035_label, 30),
    "qualifiedName": FormatValue("QualifiedName", names.label_key, 60),
    "dns1123LabelPrefix": FormatValue("DNS1123LabelPrefix", _prefix(names.dns1123_label), 30),
    "dns1123SubdomainPrefix": FormatValue("DNS1123SubdomainPrefix", _prefix(names.dns1123_subdomain), 60),
    "dns1035LabelPrefix": FormatValue("DNS1035LabelPrefix", _prefix(names.dns1035_label), 30),
    "labelValue": FormatValue("LabelValue", names.label_value, 40),
    "uri": FormatValue("URI", _uri, 1103),
    "uuid": FormatValue("uuid", _like("uuid", "does not match the UUID format"), 70),
    "byte": FormatValue("byte", _like("byte", "invalid base64"), 84),
    "date": FormatValue("date", _like("date", "invalid date"), 71),
    "datetime": FormatValue("datetime", _like("datetime", "invalid datetime"), 71),
}


def named(name: str) -> Optional:
    found = FORMATS.get(name)
    return NONE if found is None else Optional(present=True, value=found)


def validate(value: FormatValue, text: str) -> Optional:
    found = list(value.problems(text))
    return Optional(present=True, value=found) if found else NONE


def _estimate(sizes: tuple[Range, ...]) -> Range:
    return measures.by(measures.by(sizes[1], measures.TRAVERSAL), _PATTERN * measures.PATTERN)


def _count(arguments: tuple[Any, ...], _result: Any) -> int:
    text = measures.scaled(len(arguments[1]) + 1, measures.TRAVERSAL)
    return text * measures.scaled(arguments[0].pattern, measures.PATTERN)


_VALIDATE = Overload(
    "format-validate",
    (FORMAT, types.STRING),
    types.optional_of(types.list_of(types.STRING)),
    validate,
    member=True,
    estimate=_estimate,
    count=_count,
)


def _constant(name: str, value: FormatValue) -> Function:
    return Function(f"format.{name}", (Overload(f"format.{name}", (), FORMAT, lambda: value),))


LIBRARY = Library(
    "kubernetes.format",
    (
        Function("validate", (_VALIDATE,)),
        Function(
            "format.named", (Overload("format-named", (types.STRING,), types.optional_of(FORMAT), named),)
        ),
        *(_constant(name, value) for name, value in FORMATS.items()),
    ),
)
