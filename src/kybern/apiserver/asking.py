"""What a request is about: its path, what authorizers are asked, and how it is counted."""

from collections.abc import Mapping

from aiohttp import web

from kybern.apiserver import metrics, options
from kybern.apiserver.connection import Whole
from kybern.apiserver.route import Table, Target
from kybern.auth.attributes import Attributes
from kybern.auth.user import User
from kybern.machinery.errors import ApiError

_METHODS = {"GET": "get", "POST": "post", "PUT": "put", "PATCH": "patch", "DELETE": "delete", "HEAD": "head"}
_VERBS = {
    **{method: method for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "CONNECT")},
    "HEAD": "GET",
}
_COUNTED = {"list": "LIST", "watch": "WATCH"}
_READS = frozenset({"get", "list"})
_CONNECTED = frozenset({"log", "exec", "portforward", "attach", "proxy"})
_APPLY = "application/apply-patch+yaml"


def path_of(request: web.BaseRequest) -> str:
    """The path alone; most need nothing decoded."""
    path = request.raw_path.partition("?")[0]
    return path if path[:1] == "/" and "%" not in path and "#" not in path else request.path


def nowhere(table: Table, target: Target) -> bool:
    """Whether there is no such group version, or one of custom kinds without this one."""
    version = table.versions.get((target.group, target.version))
    if version is None:
        return True
    return target.kind is None and all(kind.custom for kind in version.kinds.values())


def attributes(
    user: User, method: str, path: str, query: Mapping[str, str], target: Target | None
) -> Attributes:
    if target is None:
        return Attributes(user, _METHODS.get(method, method.lower()), path=path)
    fields: tuple[tuple[str, str, str], ...] = ()
    labels_wanted = ""
    if query and target.kind is not None and target.verb in ("list", "watch", "deletecollection"):
        fields = _fields(target, query)
        labels_wanted = query.get("labelSelector", "")
    return Attributes(
        user,
        target.verb,
        target.group,
        target.version,
        target.plural,
        target.subresource,
        target.namespace,
        # A list or watch of one name is about that object, and authorizers see it so (upstream's RequestInfo).
        target.name
        or next((value for key, sign, value in fields if (key, sign) == ("metadata.name", "=")), ""),
        field_selector=fields,
        label_selector=labels_wanted,
    )


def _fields(target: Target, query: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    assert target.kind is not None
    try:
        return options.selection(
            target.kind, {"fieldSelector": query.get("fieldSelector", "")}, target.name
        ).fields
    except ApiError:
        return ()


def labels(request: web.BaseRequest, target: Target | None, query: Mapping[str, str]) -> metrics.Labels:
    """How a request is counted: as upstream's MonitorRequest has it."""
    verb = _VERBS.get(request.method, "other")
    if target is None:
        return (verb, "", "", "", "", "", "")
    if target.subresource in _CONNECTED:
        verb = "CONNECT"
    elif target.verb in _COUNTED:
        verb = _COUNTED[target.verb]
    elif verb == "PATCH" and request.headers.get("Content-Type") == _APPLY:
        verb = "APPLY"
    scope = "resource" if target.name or verb == "POST" else "namespace" if target.namespace else "cluster"
    dry_run = "" if "dryRun" not in query else "All" if query["dryRun"] == "All" else "invalid"
    plural = target.plural if target.kind is not None else ""
    return (verb, dry_run, target.group, target.version, plural, target.subresource, scope)


def size(request: web.BaseRequest, target: Target | None, response: web.StreamResponse | Whole) -> int:
    """Bytes of the body that answers a GET or a LIST; -1 for all other requests, of which upstream counts none."""
    if target is None:
        if request.method != "GET":
            return -1
    elif target.verb not in _READS or (target.subresource in _CONNECTED and target.subresource != "log"):
        return -1
    return len(response.body) if isinstance(response, Whole) else response.body_length
