"""What the generic engine needs to know of a kind, as data.

A kind is one ``Kind`` record: built-in ones are written in ``kybern.api``, one file a kind; custom ones are made at run
time from their definition. Routes, storage keys, discovery, OpenAPI, tables, watches and short names follow from it.

Objects are plain JSON values here (``Raw``): the API server keeps what it does not know, and decodes only on writes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kybern.machinery.errors import Cause

type Raw = dict[str, Any]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``: upstream's TableColumnDefinition. Priority above 0 shows only with ``-o wide``."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """How a kind prints. ``cells`` gives one value a column; ``now`` is Unix time in seconds, for ages.

    ``conditions`` gives the conditions of a row (upstream sets them for finished pods). ``unshown`` is an annotation that
    the metadata beside a row lack, since upstream makes tables of its types within, where that is a field.
    """

    columns: tuple[Column, ...]
    cells: Callable[[Raw, float], list[Any]]
    conditions: Callable[[Raw], list[Raw]] | None = None
    unshown: str = ""


@dataclass(frozen=True, slots=True)
class Subresource:
    """A path below an object. ``kind`` names what travels (Scale, Binding, Eviction, or the parent's own kind)."""

    name: str
    kind: str
    group: str = ""
    version: str = "v1"
    verbs: tuple[str, ...] = ("get", "patch", "update")


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a custom kind keeps its size; ``selector`` is empty when it has none."""

    spec: tuple[str, ...]
    status: tuple[str, ...]
    selector: tuple[str, ...] = ()


def _nothing(_new: Raw) -> None:
    return


def _keep(_new: Raw, _old: Raw) -> None:
    return


def _unstamped(_new: Raw, _old: Raw, _now: str) -> None:
    return


def _valid(_new: Raw, _old: Raw | None) -> Iterable[Cause]:
    return ()


def _quiet(_new: Raw, _old: Raw | None) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What no schema states about a kind; pure functions, run in this order on a write.

    ``default`` fills in API defaults (upstream's zz_generated.defaults and defaults.go). It runs on every decoded body,
    and on objects read from storage, so it must be idempotent.
    ``on_create`` sees the final name, uid and creationTimestamp: the engine sets them before.
    ``on_create`` and ``on_update`` are upstream's PrepareForCreate and PrepareForUpdate (status is dropped on create and
    kept from the old object on update by the engine itself, when the kind has a status subresource; generation is the
    engine's, too: see ``Kind.generation``).
    ``on_status`` is PrepareForUpdate of the status subresource (the engine keeps everything but status from the old one).
    ``stamp_status`` runs after it for what notes when the status changed; it is given the time on the wire.
    ``forget`` takes away what storing would lose (upstream's protobuf cannot tell an empty list from none); it runs
    last, once it is noted who manages which fields and nothing is wrong.
    ``validate`` yields what is wrong; old is None on create. ``validate_status`` the same for the status subresource.
    ``warnings`` yields texts for Warning headers.
    """

    default: Callable[[Raw], None] = _nothing
    on_create: Callable[[Raw], None] = _nothing
    on_update: Callable[[Raw, Raw], None] = _keep
    on_status: Callable[[Raw, Raw], None] = _keep
    stamp_status: Callable[[Raw, Raw, str], None] = _unstamped
    forget: Callable[[Raw], None] = _nothing
    validate: Callable[[Raw, Raw | None], Iterable[Cause]] = _valid
    validate_status: Callable[[Raw, Raw | None], Iterable[Cause]] = _valid
    warnings: Callable[[Raw, Raw | None], Iterable[str]] = _quiet


def wish_changed(new: Raw, old: Raw) -> bool:
    """Whether anything but metadata and status differs: what ``metadata.generation`` counts for most kinds."""
    apart = ("metadata", "status")
    return any(new.get(key) != old.get(key) for key in (new.keys() | old.keys()).difference(apart))


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a kind that is stored as another group or version becomes that one and back (in place on plain values).

    ``fields``: the field selectors that bear another name in the stored version, and that name.
    """

    group: str
    version: str
    to_stored: Callable[[Raw], Raw]
    from_stored: Callable[[Raw], Raw]
    fields: Mapping[str, str] = field(default_factory=dict)


class Translation(Protocol):
    """How versions become each other when only somebody else knows that, who is asked over the network.

    Each version then has a cache of its own, filled with converted objects; single objects are converted where they are
    read from the store or written to it. ``Conversion`` is None for such a kind.
    """

    @property
    def stored(self) -> str:
        """The apiVersion in which objects are kept."""
        ...

    async def convert(self, objects: Sequence[Raw], api_version: str) -> list[Raw]:
        """Objects of any versions as those of one, in their order. Raises ApiError."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One served resource. ``schema`` names its definition, e.g. ``io.k8s.api.core.v1.Pod``.

    ``storage`` is the etcd prefix below ``/registry/`` without slashes at the ends (``pods``, ``services/specs``); the key
    of an object is ``/registry/STORAGE/[NAMESPACE/]NAME``. A kind with verbs ("create",) and no storage is a review: it is
    answered, never kept. ``selectable`` are the field selectors beyond metadata.name and metadata.namespace.
    ``valid_name`` yields messages for a bad metadata.name (None: RFC 1123 subdomain).
    ``allow_create_on_update`` and ``allow_unconditional_update`` are upstream's strategy answers.
    ``graceful`` gives the grace period in seconds with which an object is deleted, None when it goes at once;
    arguments: the object and the asked period, None when not asked.
    ``generation`` tells whether an update (new, old; after on_update) counts in metadata.generation, which is 1 on create;
    None: the kind has no generation, the engine keeps what is there.
    ``status_on_create``: the status in a create body is kept (nodes), not dropped.
    ``on_foreign`` brings an object that upstream stored in an older version into this one, in place; None: what upstream
    stores differs in nothing but the name of the version.

    ``custom``: made from a definition. Then ``list_kind`` is what a list of it is called, ``deprecated`` the warning for
    those who still use this version, ``scale`` where its size is, and ``on_read`` brings a stored object into the form
    that the definition asks for today.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    schema: str
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    storage: str = ""
    subresources: tuple[Subresource, ...] = ()
    selectable: Mapping[str, Callable[[Raw], str]] = field(default_factory=dict)
    table: Table | None = None
    rules: Rules = field(default_factory=Rules)
    conversion: Conversion | None = None
    valid_name: Callable[[str], Iterable[str]] | None = None
    allow_create_on_update: bool = False
    allow_unconditional_update: bool = True
    graceful: Callable[[Raw, int | None], int | None] | None = None
    storage_version_hash: str = ""
    generation: Callable[[Raw, Raw], bool] | None = None
    status_on_create: bool = False
    on_foreign: Callable[[Raw], None] | None = None
    custom: bool = False
    list_kind: str = ""
    deprecated: str = ""
    scale: ScalePaths | None = None
    on_read: Callable[[Raw], None] | None = None
    translation: Translation | None = None

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """As upstream prints it in messages: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def listed(self) -> str:
        """What a list of this kind is called."""
        return self.list_kind or f"{self.kind}List"

    @property
    def has_status(self) -> bool:
        return any(sub.name == "status" for sub in self.subresources)

    def key(self, namespace: str, name: str) -> str:
        """The storage key of one object."""
        middle = f"{namespace}/" if self.namespaced else ""
        return f"/registry/{self.storage}/{middle}{name}"

    def prefix(self, namespace: str = "") -> str:
        """The storage prefix of all objects, or of those of one namespace."""
        middle = f"{namespace}/" if namespace and self.namespaced else ""
        return f"/registry/{self.storage}/{middle}"
