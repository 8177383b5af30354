"""What of a log is asked for (PodLogOptions): read, checked, and said to the kubelet in its form. Pure.

Texts are upstream's (ValidatePodLogOptions). Nobody may choose a stream: PodLogsQuerySplitStreams is alpha, and off.
"""

from collections.abc import Iterator, Mapping

from kybern.apiserver.options import flag, number
from kybern.machinery import times
from kybern.machinery.errors import BadRequest, Cause, Invalid

_FLAGS = ("follow", "previous", "timestamps")
_LEAST = {
    "sinceSeconds": (1, "greater than 0"),
    "tailLines": (0, "greater than or equal to 0"),
    "limitBytes": (1, "greater than 0"),
}


def to_kubelet(pod: str, query: Mapping[str, str]) -> Mapping[str, str]:
    """The query for the kubelet of a request's. Raises BadRequest for what cannot be read, Invalid for what may not be."""
    said = {name: "true" for name in _FLAGS if flag(query, name)}
    numbers = {name: number(query, name) for name in _LEAST}
    since = _time(query.get("sinceTime", ""))
    causes = [*_wrong(query, numbers)]
    if causes:
        raise Invalid.of("", "PodLogOptions", pod, causes)
    said |= {name: str(value) for name, value in numbers.items() if value is not None}
    if since:
        said["sinceTime"] = since
    return said


def _time(text: str) -> str:
    """Whole seconds, as the kubelet is told; "" for none."""
    if text in ("", "null"):
        return ""
    try:
        return times.form(times.parse(text))
    except times.TimeError as problem:
        raise BadRequest(str(problem)) from problem


def _wrong(query: Mapping[str, str], numbers: Mapping[str, int | None]) -> Iterator[Cause]:
    both = numbers["sinceSeconds"] is not None and bool(query.get("sinceTime"))
    for name in ("tailLines", "limitBytes", "sinceSeconds"):
        value, (least, words) = numbers[name], _LEAST[name]
        if name == "sinceSeconds" and both:
            text = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
            yield Cause("[]", "FieldValueForbidden", text)
        elif value is not None and value < least:
            yield Cause(name, "FieldValueInvalid", f"Invalid value: {value}: must be {words}")
    if "stream" in query:
        yield Cause("stream", "FieldValueForbidden", "Forbidden: may not be specified")
