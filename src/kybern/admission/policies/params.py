"""The objects that parametrize a policy through a binding."""

from kybern.admission.framework import Request
from kybern.admission.policies.policy import Binding, Policy
from kybern.admission.selecting import namespace_of
from kybern.machinery.kind import Kind, Raw
from kybern.machinery.selectors import of_selector


class Misconfigured(Exception):
    """The policy or binding asks for what is not there. The text is upstream's."""


async def collected(request: Request, policy: Policy, binding: Binding) -> list[Raw | None]:
    """One None when there are none to use; nothing when the binding lets a write pass without. Raises Misconfigured."""
    asked = binding.params
    if policy.params is None or asked is None:
        return [None]
    kind = kind_of(request, policy.params)
    found = await _found(request, kind, asked)
    if not found and asked.get("parameterNotFoundAction") == "Deny":
        raise Misconfigured("no params found for policy binding with `Deny` parameterNotFoundAction")
    return list(found)


def kind_of(request: Request, params: tuple[str, str]) -> Kind:
    """The kind of a policy's parameters. Raises Misconfigured."""
    assert request.configured is not None  # policies come from there
    found = request.configured.versions.named(*params)
    if found is None:
        group, _, version = params[0].rpartition("/")
        raise Misconfigured(
            f"failed to find resource referenced by paramKind: '{group}/{version}, Kind={params[1]}'"
        )
    return found


async def _found(request: Request, kind: Kind, asked: Raw) -> list[Raw]:
    assert request.configured is not None
    namespace = _namespace(request, kind, asked)
    versions, name = request.configured.versions, asked.get("name")
    if name:
        one = await request.lookup.get(kind.group, kind.plural, namespace, name)
        return [] if one is None else [await versions.read(one, kind)]
    every = await request.lookup.list(kind.group, kind.plural, namespace)
    selector = of_selector(asked.get("selector") or {})
    return [
        await versions.read(one, kind)
        for one in every
        if selector.matches(one["metadata"].get("labels") or {})
    ]


def _namespace(request: Request, kind: Kind, asked: Raw) -> str:
    said: str = asked.get("namespace") or ""
    if not kind.namespaced:
        if said:
            raise Misconfigured("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        return ""
    found = said or namespace_of(request)
    if not found:
        raise Misconfigured(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        )
    return found
