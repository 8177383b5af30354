"""Which kinds an API server has, as types that hold metadata only.

Two control loops must know every object there is whatever its kind (the garbage collector, and who empties a namespace);
they need no more of it than metadata, so that is all that is asked for and kept.
"""

from dataclasses import dataclass
from functools import cache
from types import new_class

from kybern.api.meta_v1 import APIGroupList, APIResource, APIResourceList
from kybern.client.verbs import Partial, Verbs
from kybern.machinery.errors import ApiError, NotFound
from kybern.machinery.struct import Object, decoder


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@cache
def partial(resource: Resource) -> type[Object]:
    """The type of a resource's metadata; the same one whenever it is asked for."""
    where = {
        "api_version": resource.api_version,
        "kind": resource.kind,
        "plural": resource.plural,
        "namespaced": resource.namespaced,
    }
    return new_class(resource.kind, (Partial,), exec_body=lambda body: body.update(where))


async def discover(client: Verbs) -> tuple[tuple[Resource, ...], tuple[str, ...]]:
    """The preferred version of every resource, without subresources; and the group versions that did not answer."""
    versions = ["v1"]
    groups = decoder(APIGroupList).decode(await client.request("GET", "/apis"))
    preferred = {
        group.name: group.preferred_version.group_version
        for group in groups.groups
        if group.preferred_version is not None
    }
    for group in groups.groups:
        listed = sorted(
            group.versions, key=lambda version: version.group_version != preferred.get(group.name)
        )
        versions.extend(version.group_version for version in listed)
    found: dict[tuple[str, str], Resource] = {}
    failed = []
    for version in versions:
        try:
            served = await resources(client, version)
        except NotFound:
            continue
        except ApiError:
            failed.append(version)
            continue
        for resource in served:
            found.setdefault((resource.group, resource.plural), resource)
    return tuple(found.values()), tuple(failed)


async def resources(client: Verbs, group_version: str) -> tuple[Resource, ...]:
    """All that a group and version serves, without subresources. Raises ApiError: NotFound when there is no such version."""
    path = f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"
    listed = decoder(APIResourceList).decode(await client.request("GET", path))
    return tuple(_resource(group_version, entry) for entry in listed.resources if "/" not in entry.name)


def _resource(group_version: str, entry: APIResource) -> Resource:
    group, _, version = group_version.rpartition("/")
    return Resource(
        group=entry.group or group,
        version=entry.version or version,
        kind=entry.kind,
        plural=entry.name,
        namespaced=bool(entry.namespaced),
        verbs=frozenset(entry.verbs),
    )
