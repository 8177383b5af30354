"""The namespace that a write is in."""

from kybern.admission.framework import Request
from kybern.machinery.errors import Details, NotFound
from kybern.machinery.kind import Raw


def is_namespace(request: Request) -> bool:
    """Whether the object that is written is a namespace itself."""
    return (request.kind.group, request.kind.plural) == ("", "namespaces")


async def namespace_of(request: Request) -> Raw:
    """The namespace, from storage when the cache does not know it. Raises NotFound when there is none."""
    name = request.namespace
    found = await request.lookup.get("", "namespaces", "", name)
    found = found or await request.lookup.get_live("", "namespaces", "", name)
    if found is None:
        raise NotFound(f'namespaces "{name}" not found', Details(name=name, kind="namespaces"))
    return found
