"""The options of a request, from its query and (for deletions) its body, with upstream's checks and words."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kybern.machinery import selectors
from kybern.machinery.causes import forbidden, invalid, not_supported, required, too_long
from kybern.machinery.errors import BadRequest, Cause, Details, Invalid
from kybern.machinery.kind import Kind, Raw

_NUMBER = re.compile(r"[0-9]+")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_MOST = 1 << 63
_LONGEST_MANAGER = 128
_VALIDATIONS = ("Ignore", "Strict", "Warn")


def flag(query: Mapping[str, str], name: str) -> bool:
    """A query parameter that is true or false: all that is there and does not say no means yes, as upstream."""
    value = query.get(name)
    return value is not None and value != "0" and value.lower() != "false"


def number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not _WHOLE.fullmatch(text):
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    found = int(text)
    if not -_MOST <= found < _MOST:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": value out of range')
    return found


def version(text: str) -> int:
    """A resource version as a number; "" is 0."""
    if not text:
        return 0
    if not _NUMBER.fullmatch(text):
        problem = (
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
        raise BadRequest(f"invalid resource version: {problem}")
    return int(text)


@dataclass(slots=True)
class Selection:
    """Label and field selectors; what is not given selects everything."""

    labels: selectors.LabelSelector | None = None
    fields: tuple[tuple[str, str, str], ...] = ()

    def __bool__(self) -> bool:
        return self.labels is not None or bool(self.fields)


@dataclass(slots=True)
class ListOptions:
    selection: Selection = field(default_factory=Selection)
    limit: int = 0
    continued: str = ""
    version: str = ""
    match: str = ""
    timeout: int | None = None
    watch: bool = False
    bookmarks: bool = False
    initial: bool | None = None


def selection(kind: Kind, query: Mapping[str, str], name: str = "") -> Selection:
    """The selectors of a query; a name in the path selects by metadata.name, too."""
    labels = query.get("labelSelector", "")
    fields = query.get("fieldSelector", "")
    found = Selection(selectors.parse_labels(labels) if labels else None)
    required: list[tuple[str, str, str]] = []
    if fields:
        known = {"metadata.name", *kind.selectable} | ({"metadata.namespace"} if kind.namespaced else set())
        for requirement in selectors.parse_fields(fields).requirements:
            key, operator, value = requirement.key, requirement.op, requirement.value
            if key not in known:
                raise BadRequest(_unsupported(kind, key))
            required.append((key, "!=" if operator == "!=" else "=", value))
    if name:
        required.append(("metadata.name", "=", name))
    found.fields = tuple(required)
    return found


def _as_stored(kind: Kind, found: Selection) -> Selection:
    """The selection in the names of the stored version: objects are selected in that form."""
    if kind.conversion is not None:
        names = kind.conversion.fields
        found.fields = tuple((names.get(key, key), operator, value) for key, operator, value in found.fields)
    return found


def _unsupported(kind: Kind, key: str) -> str:
    if kind.selectable or kind.custom:
        return f"field label not supported: {key}"
    return f'"{key}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def list_options(kind: Kind, query: Mapping[str, str], name: str = "") -> ListOptions:
    if not query and not name:
        return ListOptions()
    found = ListOptions(
        _as_stored(kind, selection(kind, query, name)),
        max(0, number(query, "limit") or 0),
        query.get("continue", ""),
        query.get("resourceVersion", ""),
        query.get("resourceVersionMatch", ""),
        number(query, "timeoutSeconds"),
        flag(query, "watch"),
        flag(query, "allowWatchBookmarks"),
        flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    _check(found)
    return found


def _refused(causes: list[Cause]) -> Invalid:
    return Invalid.of("meta.k8s.io", "ListOptions", "", causes)


def _check(options: ListOptions) -> None:
    """Upstream's ValidateListOptions."""
    causes: list[Cause] = []
    match, watching = options.match, options.watch
    if watching and options.initial is not None and match != "NotOlderThan":
        text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(Cause("resourceVersionMatch", "FieldValueForbidden", f"Forbidden: {text}"))
    elif watching and match and options.initial is None:
        text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(Cause("resourceVersionMatch", "FieldValueForbidden", f"Forbidden: {text}"))
    elif not watching and options.initial is not None:
        text = "sendInitialEvents is forbidden for list"
        causes.append(Cause("sendInitialEvents", "FieldValueForbidden", f"Forbidden: {text}"))
    elif match and not watching:
        causes.extend(_check_match(options))
    if causes:
        raise _refused(causes)


def _check_match(options: ListOptions) -> list[Cause]:
    match, at = options.match, "resourceVersionMatch"
    if options.continued:
        return [
            Cause(
                at,
                "FieldValueForbidden",
                "Forbidden: resourceVersionMatch is forbidden when continue is provided",
            )
        ]
    if match not in ("Exact", "NotOlderThan"):
        text = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        return [Cause(at, "FieldValueNotSupported", text)]
    if not options.version:
        text = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        return [Cause(at, "FieldValueForbidden", text)]
    if match == "Exact" and options.version == "0":
        text = 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        return [Cause(at, "FieldValueForbidden", text)]
    return []


@dataclass(slots=True)
class WriteOptions:
    """Of create, update and patch."""

    dry_run: bool = False
    validation: str = "Warn"
    manager: str = ""
    force: bool = False


def write_options(query: Mapping[str, str], what: str, first: Iterable[Cause] = ()) -> WriteOptions:
    """``what`` is CreateOptions, UpdateOptions or PatchOptions; ``first`` what else is wrong with them."""
    causes = list(first)
    if not query and not causes:
        return WriteOptions()
    manager, dry = query.get("fieldManager", ""), _all(query, "dryRun")
    causes += _check_manager(manager)
    causes += _check_dry_run(dry)
    validation = query.get("fieldValidation", "") or "Warn"
    if validation not in _VALIDATIONS:
        causes.append(not_supported("fieldValidation", validation, _VALIDATIONS))
    if causes:
        raise Invalid.of("meta.k8s.io", what, "", causes)
    return WriteOptions(bool(dry), validation, manager, flag(query, "force"))


def patch_causes(query: Mapping[str, str], *, applying: bool) -> Iterator[Cause]:
    """An apply names its manager; nothing else is forced."""
    if applying and not query.get("fieldManager"):
        yield required("fieldManager", "is required for apply patch")
    elif not applying and "force" in query:
        yield forbidden("force", "may not be specified for non-apply patch")


def _all(query: Mapping[str, str], name: str) -> list[str]:
    """Everything that a query says under one name."""
    return [value for key, value in query.items() if key == name]


def _check_manager(manager: str) -> Iterator[Cause]:
    if len(manager.encode()) > _LONGEST_MANAGER:
        yield too_long("fieldManager", _LONGEST_MANAGER)
    for at, sign in enumerate(manager):
        if not sign.isprintable():
            place = len(manager[:at].encode())
            yield invalid(
                "fieldManager", manager, f"invalid character U+{ord(sign):04X} (at position {place})"
            )


def _check_dry_run(said: Sequence[str]) -> Iterator[Cause]:
    if any(one != "All" for one in said):
        yield not_supported("dryRun", list(said), ("All",))


@dataclass(slots=True)
class DeleteOptions:
    grace: int | None = None
    uid: str = ""
    version: str = ""
    propagation: str = ""
    orphan: bool | None = None
    dry_run: bool = False
    raw: Raw = field(default_factory=dict)


_POLICIES = ("Orphan", "Background", "Foreground")


def delete_options(query: Mapping[str, str], body: Raw | None) -> DeleteOptions:
    """Of the body when there is one, else of the query."""
    raw: Raw = dict(body) if body else _from_query(query)
    preconditions = raw.get("preconditions") or {}
    found = DeleteOptions(
        raw.get("gracePeriodSeconds"),
        preconditions.get("uid") or "",
        preconditions.get("resourceVersion") or "",
        raw.get("propagationPolicy") or "",
        raw.get("orphanDependents"),
        bool(raw.get("dryRun")),
        raw,
    )
    causes = _check_deletion(found)
    if causes:
        raise Invalid.of("meta.k8s.io", "DeleteOptions", "", causes)
    return found


def _from_query(query: Mapping[str, str]) -> Raw:
    raw: Raw = {}
    grace = number(query, "gracePeriodSeconds")
    if grace is not None:
        raw["gracePeriodSeconds"] = grace
    if "propagationPolicy" in query:
        raw["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query:
        raw["orphanDependents"] = flag(query, "orphanDependents")
    if "dryRun" in query:
        raw["dryRun"] = _all(query, "dryRun")
    return raw


def _check_deletion(options: DeleteOptions) -> list[Cause]:
    causes: list[Cause] = []
    if options.propagation and options.orphan is not None:
        text = f'Invalid value: "{options.propagation}": orphanDependents and deletionPropagation cannot be both set'
        causes.append(Cause("propagationPolicy", "FieldValueInvalid", text))
    if options.propagation and options.propagation not in _POLICIES:
        supported = '"Background", "Foreground", "Orphan", ""'
        text = f'Unsupported value: "{options.propagation}": supported values: {supported}'
        causes.append(Cause("propagationPolicy", "FieldValueNotSupported", text))
    causes += _check_dry_run(options.raw.get("dryRun") or [])
    return causes


def undeterminable(kind: Kind) -> BadRequest:
    return BadRequest("name must be provided", Details(kind=kind.plural, group=kind.group))
