"""The body of a request as a plain value: JSON, YAML or protobuf, checked against the kind's schema.

Everything that is wrong with a body is told in upstream's words, with the kind that was sent and the kind that was
expected. What the schema does not know is dropped, and told as the client asked for: not at all, as warnings, or as an
error (``fieldValidation``).
"""

from collections.abc import Callable
from typing import Any

from kybern.api import kinds
from kybern.apiserver import problems
from kybern.apiserver.engine import Call
from kybern.machinery import codec
from kybern.machinery.errors import BadRequest, Details, UnsupportedMediaType
from kybern.machinery.kind import Kind, Raw
from kybern.machinery.schema import Schema, strict_error, unhandled

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
_DELETION = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_OPTIONS = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"
SCHEME = "pkg/api/legacyscheme/scheme.go:30"
_SCHEMES = {
    "apiextensions.k8s.io": "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55",
    "apiregistration.k8s.io": "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28",
}


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower() or JSON


def unsupported() -> UnsupportedMediaType:
    return UnsupportedMediaType("415: Unsupported Media Type", Details())


def parse(data: bytes, content_type: str, *, duplicates: bool = False) -> tuple[Any, list[str]]:
    """A body as a value, and complaints about fields that it has twice. Raises BadRequest with upstream's reason."""
    media = media_type(content_type)
    if media == PROTOBUF:
        # Its tables are loaded when the first such body comes.
        from kybern.machinery import protobuf  # noqa: PLC0415

        return protobuf.decode(data), []
    if media == YAML:
        return codec.decode_yaml(data, duplicates)
    if media != JSON:
        raise unsupported()
    return codec.decode_json(data, duplicates)


def decode(call: Call, data: bytes, content_type: str, kind: Kind | None = None, schema: str = "") -> Raw:
    """The body of a create or update: of the call's kind, defaults filled in."""
    expected = kind or call.kind
    if expected.custom and media_type(content_type) == PROTOBUF:
        raise unsupported()
    try:
        raw, twice = _read(data, content_type, duplicates=call.options.validation != "Ignore")
        raw = headed(raw)
    except BadRequest as problem:
        raise _unrecognized(expected, data, problem.message) from problem
    if expected.custom and not raw.get("kind"):
        # Which of its ways upstream goes, and whom it takes the body for, depends on how strictly it looks.
        text = f"Object 'Kind' is missing in '{data.decode(errors='replace')}'"
        if call.options.validation == "Ignore":
            raise unhandled({"kind": expected.kind, "apiVersion": expected.api_version}, expected.kind, text)
        raise _unrecognized(expected, data, text)
    identify(expected, raw)
    told = (lambda found: codec.in_order(data, found)) if media_type(content_type) == JSON else list
    checked(call, expected, raw, twice, schema, told)
    if not schema:
        expected.rules.default(raw)
    return raw


def _read(data: bytes, content_type: str, *, duplicates: bool = False) -> tuple[Any, list[str]]:
    """As ``parse``, in the words that upstream's decoder has for what is no JSON or YAML."""
    try:
        return parse(data, content_type, duplicates=duplicates)
    except BadRequest as problem:
        media, text = media_type(content_type), problem.message
        text = text.removeprefix("error converting YAML to JSON: ") if media == YAML else text
        raise BadRequest(_UNPARSED + text if media == JSON else text) from problem


_HEAD = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
)
_UNPARSED = "couldn't get version/kind; json parse error: "
_SHOWN = 30


def headed(raw: Any) -> Raw:
    """A body that may say what it is; null says nothing. Raises BadRequest in the words of Go's decoder."""
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise BadRequest(f"{_UNPARSED}json: cannot unmarshal {_go_type(raw)} into Go value of type {_HEAD}")
    for key in ("apiVersion", "kind"):
        value = raw.get(key)
        if value is not None and not isinstance(value, str):
            text = f"json: cannot unmarshal {_go_type(value)} into Go struct field .{key} of type string"
            raise BadRequest(f"{_UNPARSED}{text}")
    version = raw.get("apiVersion") or ""
    if version.count("/") > 1:
        raise BadRequest(f"unexpected GroupVersion string: {version}")
    return raw


def _unrecognized(kind: Kind, data: bytes, says: str) -> BadRequest:
    """With how the body begins: as text when that is JSON, else in hexadecimal digits."""
    more = " ..." if len(data) > _SHOWN else ""
    start = data[:_SHOWN]
    shown = start.decode(errors="replace") if start[:1] == b"{" else start.hex() or "<empty>"
    return BadRequest(
        f"the object provided is unrecognized (must be of type {kind.kind}): {says} ({shown}{more})"
    )


def _go_type(value: Any) -> str:
    if isinstance(value, dict):
        return "object"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "number"


def identify(kind: Kind, raw: Raw) -> None:
    """The body is of the expected kind and version; what it does not say is taken as meant. Raises BadRequest."""
    if kind.custom:
        _identify_custom(kind, raw)
        return
    version = raw.get("apiVersion") or kind.api_version
    name = raw.get("kind") or kind.kind
    raw["apiVersion"], raw["kind"] = version, name
    if (version, name) == (kind.api_version, kind.kind):
        return
    group, _, short = version.rpartition("/")
    known = kinds.of_kind(group, short, name)
    if known is not None and name != kind.kind:
        raise BadRequest(_other(kind, short, name))
    if known is None:
        scheme = _SCHEMES.get(kind.group, SCHEME)
        raise BadRequest(
            f'{name} in version "{short}" cannot be handled as a {kind.kind}: '
            f'no kind "{name}" is registered for version "{version}" in scheme "{scheme}"'
        )
    raise BadRequest(
        f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
    )


def _identify_custom(kind: Kind, raw: Raw) -> None:
    """Bodies of custom kinds must say what they are; the kind itself is a matter of validation."""
    version = raw.get("apiVersion")
    if not raw.get("kind"):
        text = f"Object 'Kind' is missing in '{codec.encode_json(raw).decode()}'"
        raise unhandled({}, kind.kind, text)
    if version != kind.api_version:
        raise BadRequest(
            f"the API version in the data ({version or ''}) does not match the expected API version "
            f"({kind.api_version})"
        )


def _other(kind: Kind, version: str, name: str) -> str:
    return (
        f'{name} in version "{version}" cannot be handled as a {kind.kind}: '
        f"converting ({version}.{name}) to ({kind.group or 'core'}.{kind.kind}): unknown conversion"
    )


def checked(
    call: Call,
    kind: Kind,
    raw: Raw,
    twice: list[str],
    schema: str = "",
    told: Callable[[list[str]], list[str]] = list,
) -> None:
    """Hold a value against its schema, in place; tell of what it has too much, in the order that ``told`` gives."""
    head = {"kind": raw.get("kind"), "apiVersion": raw.get("apiVersion")}
    _keep_reset(raw)
    unknown = Schema.load().of(schema or kind.schema).decode(raw, call.options.validation != "Ignore")
    found = told([*twice, *unknown]) if twice and unknown else [*twice, *unknown]
    if not isinstance(raw.get("metadata"), dict):
        raw["metadata"] = {}
    if not found:
        return
    if call.options.validation == "Strict":
        raise unhandled(head, kind.kind, strict_error(found))
    for text in found:
        call.warn(text)


def deletion(data: bytes, content_type: str) -> Raw | None:
    """The body of a deletion (DeleteOptions), None when there is none. Raises Unexpected: so upstream refuses these."""
    if not data:
        return None
    try:
        raw = {"kind": "DeleteOptions", "apiVersion": "v1", **headed(_read(data, content_type)[0])}
        _check_kind(raw)
        Schema.load().of(_DELETION).decode(raw, strict=False)
    except BadRequest as problem:
        said = problem.message.partition(" cannot be handled as a DeleteOptions: ")[2]
        raise problems.Unexpected(said or problem.message) from problem
    return raw


def _check_kind(raw: Raw) -> None:
    """Options of a deletion are of one kind, in whatever version."""
    kind, version = raw["kind"], raw["apiVersion"]
    if kind != "DeleteOptions":
        raise BadRequest(f'no kind "{kind}" is registered for version "{version}" in scheme "{_OPTIONS}"')


def _keep_reset(raw: Raw) -> None:
    """An empty list of managers asks for none at all, and would be dropped; a list with an empty entry asks the same."""
    metadata = raw.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") == []:
        metadata["managedFields"] = [{}]
