"""kubernetes.urls: absolute URLs and paths, and their parts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from kybern.machinery import url
from kybern.machinery.cel import reading, types
from kybern.machinery.cel.functions import Function, Library, Overload
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError

URL = types.opaque("kubernetes.URL")


@dataclass(frozen=True, slots=True)
class UrlValue:
    TYPE: ClassVar[Type] = URL
    url: url.Url


def of_string(text: str) -> UrlValue:
    try:
        url.parse_request(text)
        return UrlValue(url.parse(text))
    except url.UrlError as problem:
        raise EvaluationError(f"URL parse error during conversion from string: {problem}") from None


def is_url(text: str) -> bool:
    try:
        url.parse_request(text)
    except url.UrlError:
        return False
    return True


def _part(name: str, overload: str, result: Type, call: Callable[[UrlValue], Any]) -> Function:
    return Function(name, (Overload(overload, (URL,), result, call, member=True),))


_READ = Overload(
    "string_to_url", (types.STRING,), URL, of_string,
    estimate=reading.estimate(), count=reading.count(), size=reading.same,
)  # fmt: skip
LIBRARY = Library(
    "kubernetes.urls",
    (
        Function("url", (_READ,)),
        Function("isURL", (Overload("is_url_string", (types.STRING,), types.BOOL, is_url),)),
        _part("getScheme", "url_get_scheme", types.STRING, lambda value: value.url.scheme),
        _part("getHost", "url_get_host", types.STRING, lambda value: value.url.host),
        _part("getHostname", "url_get_hostname", types.STRING, lambda value: value.url.hostname),
        _part("getPort", "url_get_port", types.STRING, lambda value: value.url.port),
        _part("getEscapedPath", "url_get_escaped_path", types.STRING, lambda value: value.url.escaped_path),
        _part(
            "getQuery",
            "url_get_query",
            types.map_of(types.STRING, types.list_of(types.STRING)),
            lambda value: value.url.values(),
        ),
    ),
)
