"""Whether a write is for somebody: ``matching`` with what has to be looked up, the labels of its namespace.

One ``Selecting`` is made for one pass of one plugin over a write, and looks things up once at the most.
"""

from functools import cached_property

from kybern.admission.framework import Request
from kybern.admission.matching import Criteria, Facts, labels, objects_selected, shown_as
from kybern.machinery.errors import Details, NotFound
from kybern.machinery.kind import Kind, Raw


def is_namespace(kind: Kind) -> bool:
    return (kind.group, kind.plural) == ("", "namespaces")


def namespace_of(request: Request) -> str:
    """Upstream says of a Namespace that it is in itself."""
    if is_namespace(request.kind):
        return request.name or ((request.new or {}).get("metadata") or {}).get("name", "")
    return request.namespace


def facts_of(request: Request) -> Facts:
    return Facts(request.operation, request.subresource, namespace_of(request), request.name)


class Selecting:
    def __init__(self, request: Request) -> None:
        self._request = request
        self._facts = facts_of(request)
        self._namespace: Raw | None = None

    @cached_property
    def _equivalents(self) -> tuple[Kind, ...]:
        configured = self._request.configured
        return tuple(configured.versions.equivalents(self._request.kind)) if configured else ()

    async def kind(self, criteria: Criteria) -> Kind | None:
        """The kind as which the write is to be shown, None when it is not meant. Raises NotFound for no namespace."""
        request = self._request
        found = shown_as(criteria, self._facts, request.kind, lambda: self._equivalents)
        if found is None or not objects_selected(criteria.objects, request.new, request.old):
            return None
        if criteria.namespaces is None:
            return found
        if not self._facts.namespace and not is_namespace(request.kind):
            return found
        return found if criteria.namespaces.matches(await self._namespace_labels()) else None

    async def _namespace_labels(self) -> dict[str, str]:
        request = self._request
        if (
            is_namespace(request.kind)
            and not request.subresource
            and request.operation in ("CREATE", "UPDATE")
            and request.new is not None
        ):
            return labels(request.new)
        return labels(await self.namespace())

    async def namespace(self) -> Raw:
        """The namespace of the write. Raises NotFound."""
        if self._namespace is None:
            name = self._facts.namespace
            lookup = self._request.lookup
            found = await lookup.get("", "namespaces", "", name)
            found = found or await lookup.get_live("", "namespaces", "", name)
            if found is None:
                raise NotFound(f'namespaces "{name}" not found', Details(name=name, kind="namespaces"))
            self._namespace = found
        return self._namespace
