"""ObjectMeta: what may be written there, checked for every kind in one way, with upstream's texts and field paths.

The functions take the metadata as plain values and yield causes; they change nothing. Maps are visited in sorted order,
so that the same object always gives the same answer (upstream's order is random).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kybern.machinery import names
from kybern.machinery.causes import forbidden, invalid, not_supported, required, too_long
from kybern.machinery.errors import Cause

type Check = Callable[[str], Iterable[str]]

ANNOTATIONS_LIMIT = 256 * 1024
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
OWNER_FIELDS = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
IMMUTABLE = "field is immutable"


def validate(
    metadata: Mapping[str, Any],
    namespaced: bool,
    name: Check = names.dns1123_subdomain,
    path: str = "metadata",
) -> Iterable[Cause]:
    """What is wrong with the metadata of a new object, after its name was generated."""
    prefix = metadata.get("generateName")
    if prefix:
        for says in names.generated(name, prefix):
            yield invalid(f"{path}.generateName", prefix, says)
    yield from _name(metadata.get("name") or "", name, path)
    yield from _namespace(metadata.get("namespace") or "", namespaced, path)
    yield from _generation(metadata.get("generation") or 0, path)
    yield from labels(metadata.get("labels"), f"{path}.labels")
    yield from annotations(metadata.get("annotations"), f"{path}.annotations")
    yield from owners(metadata.get("ownerReferences"), f"{path}.ownerReferences")
    yield from finalizers(metadata.get("finalizers"), f"{path}.finalizers")
    yield from managed_fields(metadata.get("managedFields"), f"{path}.managedFields")


def validate_update(
    new: Mapping[str, Any], old: Mapping[str, Any], path: str = "metadata"
) -> Iterable[Cause]:
    """What is wrong with the metadata of an object that replaces another."""
    if old.get("deletionTimestamp"):
        yield from _no_new_finalizers(new.get("finalizers") or [], old.get("finalizers") or [], path)
    if not new.get("resourceVersion"):
        yield invalid(f"{path}.resourceVersion", "", "must be specified for an update")
    generation = new.get("generation") or 0
    yield from _generation(generation, path)
    if generation < (old.get("generation") or 0):
        yield invalid(f"{path}.generation", generation, "must not be decremented")
    for key in ("name", "namespace", "uid"):
        if (new.get(key) or "") != (old.get(key) or ""):
            yield invalid(f"{path}.{key}", new.get(key) or "", IMMUTABLE)
    for key in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if new.get(key) != old.get(key):
            # A time is a struct to upstream and printed as JSON, which looks the same as a quoted string.
            yield invalid(f"{path}.{key}", new.get(key), IMMUTABLE)
    yield from labels(new.get("labels"), f"{path}.labels")
    yield from annotations(new.get("annotations"), f"{path}.annotations")
    yield from owners(new.get("ownerReferences"), f"{path}.ownerReferences")
    yield from managed_fields(new.get("managedFields"), f"{path}.managedFields")


def _name(text: str, check: Check, path: str) -> Iterable[Cause]:
    if not text:
        yield required(f"{path}.name", "name or generateName is required")
        return
    for says in check(text):
        yield invalid(f"{path}.name", text, says)


def _namespace(text: str, namespaced: bool, path: str) -> Iterable[Cause]:
    field = f"{path}.namespace"
    if not namespaced:
        if text:
            yield forbidden(field, "not allowed on this type")
    elif not text:
        yield required(field)
    else:
        for says in names.dns1123_label(text):
            yield invalid(field, text, says)


def _generation(number: int, path: str) -> Iterable[Cause]:
    if number < 0:
        yield invalid(f"{path}.generation", number, "must be greater than or equal to 0")


def label_name(key: str, path: str) -> Iterable[Cause]:
    for says in names.label_key(key):
        yield invalid(path, key, says)


def labels(values: Mapping[str, str] | None, path: str) -> Iterable[Cause]:
    for key, value in sorted((values or {}).items()):
        yield from label_name(key, path)
        for says in names.label_value(value):
            yield invalid(path, value, says)


def annotations(values: Mapping[str, str] | None, path: str) -> Iterable[Cause]:
    total = 0
    for key, value in sorted((values or {}).items()):
        for says in names.label_key(key.lower()):
            yield invalid(path, key, says)
        total += len(key.encode()) + len(value.encode())
    if total > ANNOTATIONS_LIMIT:
        yield too_long(path, ANNOTATIONS_LIMIT)


def owners(references: Iterable[Mapping[str, Any]] | None, path: str) -> Iterable[Cause]:
    found = list(references or ())
    controller = ""
    for reference in found:
        yield from _owner(reference, path)
        if not reference.get("controller"):
            continue
        this = f"{reference.get('kind', '')}/{reference.get('name', '')}"
        if controller:
            says = (
                'Only one reference can have Controller set to true. Found "true" in references for '
                f"{controller} and {this}"
            )
            yield invalid(path, [_in_order(one) for one in found], says)
        else:
            controller = this


def _in_order(reference: Mapping[str, Any]) -> dict[str, Any]:
    return {key: reference[key] for key in OWNER_FIELDS if key in reference}


def _owner(reference: Mapping[str, Any], path: str) -> Iterable[Cause]:
    """Upstream gives the path of the list, not of the one reference."""
    version = reference.get("apiVersion") or ""
    if not version or version.count("/") > 1 or version.endswith("/"):
        yield invalid(f"{path}.apiVersion", version, "version must not be empty")
    for key in ("kind", "name", "uid"):
        if not reference.get(key):
            yield invalid(f"{path}.{key}", reference.get(key) or "", "must not be empty")
    if version == "v1" and reference.get("kind") == "Event":
        says = "/v1, Kind=Event is disallowed from being an owner"
        yield invalid(path, _in_order(reference), says)


STANDARD_FINALIZERS = frozenset({"kubernetes", ORPHAN, FOREGROUND})


def qualified_finalizers(values: Iterable[str] | None, path: str) -> Iterable[Cause]:
    """On creation of upstream's own kinds: a finalizer is a standard one, or has a domain."""
    for at, value in enumerate(values or ()):
        if "/" not in value and value not in STANDARD_FINALIZERS:
            says = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"{path}[{at}]", value, says)


def finalizers(values: Iterable[str] | None, path: str) -> Iterable[Cause]:
    found = list(values or ())
    for value in found:
        for says in names.label_key(value):
            yield invalid(path, value, says)
    if ORPHAN in found and FOREGROUND in found:
        yield invalid(path, found, f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set")


def _no_new_finalizers(new: list[str], old: list[str], path: str) -> Iterable[Cause]:
    extra = sorted(set(new) - set(old))
    if extra:
        shown = ", ".join(f'"{value}"' for value in extra)
        says = (
            "no new finalizers can be added if the object is being deleted, found new finalizers "
            f"[]string{{{shown}}}"
        )
        yield forbidden(f"{path}.finalizers", says)


def managed_fields(entries: Iterable[Mapping[str, Any]] | None, path: str) -> Iterable[Cause]:
    for at, entry in enumerate(entries or ()):
        here = f"{path}[{at}]"
        operation = entry.get("operation") or ""
        if not operation:
            yield required(f"{here}.operation", "must not be empty")
        elif operation not in {"Apply", "Update"}:
            yield not_supported(f"{here}.operation", operation, ("Apply", "Update"))
        kind = entry.get("fieldsType") or ""
        if kind and kind != "FieldsV1":
            yield invalid(f"{here}.fieldsType", kind, "must be `FieldsV1`")
        yield from field_manager(entry.get("manager") or "", f"{here}.manager")
        if len((entry.get("subresource") or "").encode()) > 256:
            yield too_long(f"{here}.subresource", 256)


def field_manager(text: str, path: str) -> Iterable[Cause]:
    """The name of who writes: at most 128 bytes, all printable."""
    if len(text) <= 128 and text.isascii() and text.isprintable():
        return
    if len(text.encode(errors="surrogatepass")) > 128:
        yield too_long(path, 128)
    at = 0
    for sign in text:
        if not sign.isprintable():
            yield invalid(path, text, f"invalid character U+{ord(sign):04X} (at position {at})")
        at += len(sign.encode(errors="surrogatepass"))
