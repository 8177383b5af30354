"""Which kind, object and verb a path means (upstream's RequestInfo), from a table that follows from the kinds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kybern.api.kinds import of_resource
from kybern.machinery.kind import Kind

_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_READS = ("GET", "HEAD")
_OWN_OF_NAMESPACES = ("status", "finalize")


@dataclass(slots=True)
class Target:
    """What a resource path names. ``tail`` is what follows a subresource, with its slash (proxies).

    ``kind`` is None when the group and version have no such resource; ``plural`` then is what was asked for.
    """

    group: str
    version: str
    plural: str
    kind: Kind | None
    verb: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One group version and its kinds by plural."""

    group: str
    version: str
    kinds: Mapping[str, Kind]

    @property
    def name(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(slots=True)
class Table:
    """All that is served. ``stored`` gives the kind as which another one is kept."""

    versions: dict[tuple[str, str], Version] = field(default_factory=dict)
    # Kinds in the version in which they are stored, when that one is not served.
    unserved: dict[tuple[str, str, str], Kind] = field(default_factory=dict)
    # What ``kind`` has found since kinds were last put or dropped: admission asks it many times for each write.
    _found: dict[tuple[str, str], Kind] = field(default_factory=dict)

    @classmethod
    def of(cls, kinds: Iterable[Kind]) -> "Table":
        found: dict[tuple[str, str], dict[str, Kind]] = {}
        for kind in kinds:
            found.setdefault((kind.group, kind.version), {})[kind.plural] = kind
        table = cls({key: Version(*key, served) for key, served in found.items()})
        table._hide(kind for served in found.values() for kind in served.values())
        return table

    def _hide(self, kinds: Iterable[Kind]) -> None:
        """Know the versions in which kinds are stored, where they are switched off."""
        for conversion, plural in ((kind.conversion, kind.plural) for kind in kinds):
            if conversion is None:
                continue
            known = self.versions.get((conversion.group, conversion.version))
            stored = of_resource(conversion.group, conversion.version, plural)
            if stored is not None and (known is None or plural not in known.kinds):
                self.unserved[stored.group, stored.version, plural] = stored

    def kind(self, group: str, plural: str) -> Kind | None:
        """The kind of a group's resource, in its first version."""
        at = (group, plural)
        found = self._found.get(at)
        if found is None:
            among = (version.kinds for version in self.versions.values() if version.group == group)
            found = next((kinds[plural] for kinds in among if plural in kinds), None)
            if found is not None:
                self._found[at] = found
        return found

    def stored(self, kind: Kind) -> Kind:
        conversion = kind.conversion
        if conversion is None:
            return kind
        hidden = self.unserved.get((conversion.group, conversion.version, kind.plural))
        return hidden or self.versions[conversion.group, conversion.version].kinds[kind.plural]

    def put(self, kinds: Iterable[Kind]) -> None:
        """Serve further kinds."""
        self._found.clear()
        for kind in kinds:
            at = kind.group, kind.version
            known = self.versions.get(at)
            others = known.kinds if known else {}
            self.versions[at] = Version(*at, {**others, kind.plural: kind})

    def drop(self, kinds: Iterable[Kind]) -> None:
        """Serve them no more."""
        self._found.clear()
        for kind in kinds:
            at = kind.group, kind.version
            known = self.versions.get(at)
            if known is None:
                continue
            left = {plural: other for plural, other in known.kinds.items() if plural != kind.plural}
            if left:
                self.versions[at] = Version(*at, left)
            else:
                del self.versions[at]

    def target(self, method: str, path: str, *, watching: bool) -> Target | None:
        """What a path below /api or /apis names, served or not; None for one that is too short to name a resource."""
        parts = path.rstrip("/").split("/")
        if parts[1] == "api":
            parts.insert(2, "")
        if len(parts) < 5:
            return None
        group, version, rest = parts[2], parts[3], parts[4:]
        if rest[0] == "watch" and len(rest) > 1:
            return self._target((group, version), "WATCH", rest[1:], watching=True)
        return self._target((group, version), method, rest, watching=watching)

    def _target(self, at: tuple[str, str], method: str, rest: list[str], *, watching: bool) -> Target:
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 1:
            namespace = rest[1]
            if len(rest) > 2 and rest[2] not in _OWN_OF_NAMESPACES:
                rest = rest[2:]
        name = rest[1] if len(rest) > 1 else ""
        subresource = rest[2] if len(rest) > 2 else ""
        tail = "/" + "/".join(rest[3:]) if len(rest) > 3 else ""
        version = self.versions.get(at)
        kind = version.kinds.get(rest[0]) if version is not None else None
        verb = _verb(method, name, watching=watching)
        return Target(*at, rest[0], kind, verb, namespace, name, subresource, tail)


def _verb(method: str, name: str, *, watching: bool) -> str:
    if method == "WATCH":
        return "watch"
    if method in _READS:
        return "get" if name else "watch" if watching else "list"
    if method == "DELETE" and not name:
        return "deletecollection"
    return _WRITES.get(method, method.lower())
