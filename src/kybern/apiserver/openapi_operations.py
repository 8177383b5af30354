"""What the API can do, as data: every path of a kind, its operations and their parameters.

Both OpenAPI documents are rendered from this. Names of operations follow upstream's scheme, because generated clients
are named by them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kybern.machinery.kind import Kind, Subresource

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query or path parameter."""

    name: str
    type: str = "string"
    place: str = "query"
    description: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. ``body`` and ``answer`` name definitions; empty: nothing, or plain text."""

    method: str
    id: str
    description: str
    tag: str
    action: str = ""
    gvk: tuple[str, str, str] | None = None
    parameters: tuple[Parameter, ...] = ()
    body: str = ""
    consumes: tuple[str, ...] = ()
    answer: str = ""
    codes: tuple[int, ...] = (200,)


@dataclass(frozen=True, slots=True)
class Path:
    parameters: tuple[Parameter, ...]
    operations: tuple[Operation, ...]


NAME = Parameter("name", place="path", description="name of the object")
NAMESPACE = Parameter("namespace", place="path", description="namespace of the object")
PRETTY = Parameter("pretty", description="If true, the answer is indented.")
DRY_RUN = Parameter("dryRun", description="All: go through everything, but keep nothing.")
MANAGER = Parameter("fieldManager", description="Who makes the change.")
VALIDATION = Parameter("fieldValidation", description="Unknown and duplicate fields: Ignore, Warn or Strict.")
FORCE = Parameter("force", "boolean", description="Take over fields of other managers; only for apply.")
WRITE = (DRY_RUN, MANAGER, VALIDATION)
LIST = (
    Parameter("allowWatchBookmarks", "boolean", description="Send bookmarks in a watch."),
    Parameter("continue", description="Where the last page of a list ended."),
    Parameter("fieldSelector", description="Only objects with these fields."),
    Parameter("labelSelector", description="Only objects with these labels."),
    Parameter("limit", "integer", description="At most so many objects."),
    Parameter("resourceVersion", description="How recent the answer must be."),
    Parameter("resourceVersionMatch", description="How resourceVersion is meant."),
    Parameter("sendInitialEvents", "boolean", description="Start a watch with what there is."),
    Parameter("timeoutSeconds", "integer", description="How long the call may take."),
    Parameter("watch", "boolean", description="Go on with changes as they happen."),
)
DELETE = (
    DRY_RUN,
    Parameter("gracePeriodSeconds", "integer", description="Seconds until the object goes."),
    Parameter("orphanDependents", "boolean", description="Old form of propagationPolicy."),
    Parameter(
        "propagationPolicy", description="What becomes of dependents: Orphan, Background or Foreground."
    ),
)


def group_words(group: str) -> list[str]:
    """A group's words in names: ``rbac.authorization.k8s.io`` gives rbac, authorization."""
    return group.removesuffix(".k8s.io").split(".") if group else ["core"]


def group_id(group: str, version: str = "") -> str:
    words = [*group_words(group), *([version] if version else [])]
    return "".join(word[:1].upper() + word[1:] for word in words)


def tag_of(group: str, version: str = "") -> str:
    first, *others = group_words(group)
    tag = first + "".join(word.capitalize() for word in others)
    return f"{tag}_{version}" if version else tag


def prefix_of(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


class _Kind:
    """Makes the operations of one kind."""

    def __init__(self, kind: Kind, definitions: Mapping[str, object]) -> None:
        self.kind = kind
        self.definitions = definitions
        self.gvk = (kind.group, kind.kind, kind.version)
        self.group = group_id(kind.group, kind.version)
        self.tag = tag_of(kind.group, kind.version)
        self.target = f"Namespaced{kind.kind}" if kind.namespaced else kind.kind
        self.list = f"{kind.schema}List" if f"{kind.schema}List" in definitions else kind.schema

    def one(self, method: str, verb: str, action: str, **more: object) -> Operation:
        suffix = str(more.pop("suffix", ""))
        what = str(more.pop("what", verb))
        gvk = more.pop("gvk", self.gvk)
        return Operation(
            method,
            f"{verb}{self.group}{suffix or self.target}",
            f"{what} the specified {self.kind.kind}",
            self.tag,
            action,
            gvk,  # type: ignore[arg-type]  # handed through
            **more,  # type: ignore[arg-type]  # handed through
        )

    def collection(self) -> Iterable[Operation]:
        verbs, schema = self.kind.verbs, self.kind.schema
        if "deletecollection" in verbs:
            yield self.one(
                "delete",
                "delete",
                "deletecollection",
                suffix=f"Collection{self.target}",
                parameters=(*DELETE, *LIST[1:8]),
                body=f"{META}.DeleteOptions",
                answer=f"{META}.Status",
            )
        if "list" in verbs:
            yield self.one("get", "list", "list", parameters=LIST, answer=self.list)
        if "create" in verbs:
            yield self.one(
                "post", "create", "post", parameters=WRITE, body=schema, answer=schema, codes=(200, 201, 202)
            )

    def item(self) -> Iterable[Operation]:
        verbs, schema = self.kind.verbs, self.kind.schema
        if "delete" in verbs:
            yield self.one(
                "delete",
                "delete",
                "delete",
                parameters=DELETE,
                body=f"{META}.DeleteOptions",
                answer=f"{META}.Status",
                codes=(200, 202),
            )
        if "get" in verbs:
            yield self.one("get", "read", "get", answer=schema)
        yield from self.writes(verbs, schema, self.target, self.gvk)

    def writes(
        self, verbs: Iterable[str], schema: str, suffix: str, gvk: tuple[str, str, str]
    ) -> Iterable[Operation]:
        if "patch" in verbs:
            yield self.one(
                "patch",
                "patch",
                "patch",
                suffix=suffix,
                gvk=gvk,
                parameters=(*WRITE, FORCE),
                body=f"{META}.Patch",
                consumes=tuple(each for each in PATCHES if not self.kind.custom or "strategic" not in each),
                answer=schema,
                codes=(200, 201),
            )
        if "update" in verbs:
            yield self.one(
                "put",
                "replace",
                "put",
                suffix=suffix,
                gvk=gvk,
                parameters=WRITE,
                body=schema,
                answer=schema,
                codes=(200, 201),
            )

    def below(self, sub: Subresource) -> Iterable[Operation]:
        suffix = self.target + "".join(word[:1].upper() + word[1:] for word in sub.name.split("/"))
        own = sub.kind in {"", self.kind.kind}
        schema = self.kind.schema if own else self.schema_of(sub)
        gvk = self.gvk if own else (sub.group, sub.kind, sub.version)
        if "get" in sub.verbs:
            yield self.one("get", "read", "get", suffix=suffix, gvk=gvk, answer=schema)
        if "create" in sub.verbs:
            yield self.one(
                "post",
                "create",
                "post",
                suffix=suffix,
                gvk=gvk,
                parameters=WRITE,
                body=schema,
                answer=schema,
                codes=(200, 201, 202),
            )
        yield from self.writes(sub.verbs, schema, suffix, gvk)

    def schema_of(self, sub: Subresource) -> str:
        """The definition that travels on a subresource; none for streams and logs."""
        group = group_words(sub.group)[0]
        name = f"io.k8s.api.{group}.{sub.version}.{sub.kind}"
        return name if name in self.definitions else ""


def paths(kind: Kind, definitions: Mapping[str, object]) -> Mapping[str, Path]:
    """Every path of a kind with what can be done there."""
    made = _Kind(kind, definitions)
    base = prefix_of(kind.group, kind.version)
    inside = (NAMESPACE,) if kind.namespaced else ()
    collection = (
        f"{base}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
    )
    found = {
        collection: Path((*inside, PRETTY), tuple(made.collection())),
        f"{collection}/{{name}}": Path((NAME, *inside, PRETTY), tuple(made.item())),
    }
    for sub in kind.subresources:
        operations = tuple(made.below(sub))
        found[f"{collection}/{{name}}/{sub.name}"] = Path((NAME, *inside, PRETTY), operations)
    if kind.namespaced and "list" in kind.verbs:
        everywhere = made.one(
            "get", "list", "list", suffix=f"{kind.kind}ForAllNamespaces", parameters=LIST, answer=made.list
        )
        found[f"{base}/{kind.plural}"] = Path((PRETTY,), (everywhere,))
    return {path: item for path, item in found.items() if item.operations}


def simple(path: str, operation_id: str, tag: str, answer: str) -> Mapping[str, Path]:
    """A path that only answers a document of discovery."""
    operation = Operation("get", operation_id, "get available information", tag, answer=answer)
    return {path: Path((), (operation,))}
