"""The shape of an admission plugin and of the request it sees.

A write goes: decode, default, every ``mutate`` in the order of PLUGINS, validation, every ``validate`` in the same order,
store. Plugins refuse by raising an ApiError (``Forbidden`` as a rule, made by ``refused``). They look other objects up
through ``Request.lookup``, which reads the API server's own caches and falls back to storage.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from kybern.auth.attributes import Attributes, Decision
from kybern.auth.user import User
from kybern.machinery.errors import Details, Forbidden, PassedOn
from kybern.machinery.kind import Kind, Raw

if TYPE_CHECKING:
    from kybern.admission.configured import Configured


class Lookup(Protocol):
    """Reads of other objects for a plugin. Kinds are named by group and plural."""

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        """From the cache."""
        ...

    async def labels(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, str] | None:
        """An object's labels from the cache, which has them without reading the object; None when it is absent."""
        ...

    async def get_live(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        """From storage, for when a stale cache would refuse wrongly."""
        ...

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Raw]:
        """From the cache."""
        ...


class Versions(Protocol):
    """Kinds that are one another in other versions or groups, and their objects."""

    def equivalents(self, kind: Kind) -> Sequence[Kind]:
        """The other kinds as which objects of this one are served."""
        ...

    async def convert(self, raw: Raw, kind: Kind, to: Kind) -> Raw:
        """An object as one of another such kind. Raises ApiError."""
        ...

    def named(self, api_version: str, kind: str) -> Kind | None:
        """The kind of a name, when it is served."""
        ...

    async def read(self, raw: Raw, kind: Kind) -> Raw:
        """An object that ``Lookup`` gave, as one of a kind."""
        ...

    def merged(self, kind: Kind, raw: Raw, config: Raw) -> Raw:
        """A configuration on top of an object, as applying does it. Raises ValueError."""
        ...

    def reread(self, kind: Kind, raw: Raw) -> Raw:
        """What somebody else made of an object, decoded and with defaults. Raises BadRequest."""
        ...


@dataclass(frozen=True, slots=True)
class Disguise:
    """A subresource whose object is a part of the one that is written: scale.

    ``show`` makes it of the whole, ``place`` puts a changed one back into the whole.
    """

    kind: Kind
    show: Callable[[Raw], Raw]
    place: Callable[[Raw, Raw], None]


@dataclass(slots=True)
class Again:
    """What the first round of the mutating plugins leaves for the second one.

    ``wanted``: somebody changed the object after one that wants to see changes. ``called`` are those of them that ran,
    ``due`` those among them that are to run again, ``last`` is what a plugin left of the object.
    """

    round: int = 0
    wanted: bool = False
    called: dict[str, set[str]] = field(default_factory=dict)
    due: dict[str, set[str]] = field(default_factory=dict)
    last: dict[str, Raw | None] = field(default_factory=dict)

    def changed(self, plugin: str) -> None:
        """All that ran before must see it."""
        self.due.setdefault(plugin, set()).update(self.called.pop(plugin, ()))
        self.wanted = True

    def skips(self, plugin: str, one: str) -> bool:
        """Whether one of a plugin's is not to run in this round."""
        return self.round > 0 and one not in self.due.get(plugin, ())


@dataclass(slots=True)
class Request:
    """A write on its way to storage. ``new`` is None for DELETE, ``old`` None for CREATE; plugins may change ``new``.

    ``operation`` is CREATE, UPDATE, DELETE or CONNECT; ``name`` may be empty when generateName is used.
    ``warnings`` go to the client as Warning headers. ``authorize`` asks what a user may do (signers, for one);
    ``charge`` stores the status of a ResourceQuota, and raises Conflict when it is not the newest.
    ``provision`` makes a namespace of a name as the server itself, and raises ApiError.
    ``annotations`` are for the audit log. ``configured`` are the webhooks and policies of the cluster, None where they
    have no say. ``again`` is there once one of them was called that may be called again.
    """

    operation: str
    kind: Kind
    namespace: str
    name: str
    subresource: str
    user: User
    new: Raw | None
    old: Raw | None
    lookup: Lookup
    dry_run: bool = False
    options: Raw = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    authorize: Callable[[Attributes], Decision] | None = None
    charge: Callable[[Raw], Awaitable[None]] | None = None
    provision: Callable[[str], Awaitable[None]] | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    configured: "Configured | None" = None
    disguise: Disguise | None = None
    again: Again | None = None

    def concerns(self, group: str, plural: str, subresource: str = "") -> bool:
        """Whether the write is on this resource."""
        kind = self.kind
        return (kind.plural, kind.group, self.subresource) == (plural, group, subresource)


type Hook = Callable[[Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One admission plugin under upstream's name. ``default`` says whether it is on without a flag.

    ``resources`` are the (group, plural) that it looks at, so that other writes need not pass it; empty for all.
    ``connects``: it looks at CONNECT as well, whose object (PodExecOptions) has no metadata. ``configure`` makes the plugin
    that runs of what AdmissionConfiguration says of it, {} when it says nothing; it raises ValueError. ``close`` ends
    what the plugin has open.
    """

    name: str
    mutate: Hook | None = None
    validate: Hook | None = None
    default: bool = True
    resources: frozenset[tuple[str, str]] = frozenset()
    connects: bool = False
    configure: "Callable[[Raw], Plugin] | None" = None
    close: Callable[[], Awaitable[None]] | None = None

    def looks_at(self, kind: Kind) -> bool:
        """Hooks are called for these kinds only, and rely on it."""
        return not self.resources or (kind.group, kind.plural) in self.resources


def refused(request: Request, message: str) -> Forbidden:
    """The 403 that upstream's admission.NewForbidden makes. An object that is to be named is known by its generateName."""
    kind = request.kind
    metadata = (request.new or {}).get("metadata") or {}
    name = request.name or metadata.get("name") or metadata.get("generateName") or "Unknown"
    details = Details(name=name, group=kind.group, kind=kind.plural)
    return Forbidden(f'{kind.group_resource} "{name}" is forbidden: {message}', details)


def denied(request: Request, message: str) -> Forbidden:
    """The 403 that upstream's apierrors.NewForbidden makes, which knows an object by its own name alone."""
    kind = request.kind
    name = ((request.new or {}).get("metadata") or {}).get("name") or ""
    shown = f'{kind.group_resource} "{name}"' if name else f"{kind.group_resource}"
    return Forbidden(
        f"{shown} is forbidden: {message}", Details(name=name, group=kind.group, kind=kind.plural)
    )


def failed(message: str) -> PassedOn:
    """The 500 without a reason that upstream answers when a plugin returns an error that is no status."""
    return PassedOn({"status": "Failure", "message": message, "code": 500})
