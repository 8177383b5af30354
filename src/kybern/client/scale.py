"""The size of an object whatever its kind: the subresource ``scale`` of workloads and of custom kinds."""

from urllib.parse import quote

from kybern.api.autoscaling_v1 import Scale
from kybern.api.meta_v1 import APIResourceList
from kybern.client import paths
from kybern.client.verbs import Verbs
from kybern.machinery.errors import NotFound
from kybern.machinery.struct import decoder


async def scale(client: Verbs, api_version: str, kind: str, namespace: str, name: str) -> Scale | str | None:
    """The Scale; None when there is no such object; or, in upstream's words, why its kind has none."""
    path, problem = await _path(client, api_version, kind, namespace, name)
    if problem:
        return problem
    try:
        return decoder(Scale).decode(await client.request("GET", path))
    except NotFound:
        return None


async def rescale(client: Verbs, api_version: str, kind: str, old: Scale, replicas: int) -> None:
    """Write another size; a Conflict when the object has changed since ``old`` was read."""
    metadata = old.metadata
    path, problem = await _path(client, api_version, kind, metadata.namespace, metadata.name)
    if problem:
        raise NotFound(problem)
    named = {
        "name": metadata.name,
        "namespace": metadata.namespace,
        "resourceVersion": metadata.resource_version,
    }
    body = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": named,
        "spec": {"replicas": replicas},
    }
    await client.request("PUT", path, body)


async def _path(client: Verbs, api_version: str, kind: str, namespace: str, name: str) -> tuple[str, str]:
    """Where the size of an object is, or why it is nowhere."""
    root = paths.root(api_version)
    unknown = f'no matches for kind "{kind}" in version "{api_version}"'
    try:
        listed = decoder(APIResourceList).decode(await client.request("GET", root)).resources
    except NotFound:
        return "", unknown
    plural = next((one.name for one in listed if one.kind == kind and "/" not in one.name), "")
    if not plural:
        return "", unknown
    if not any(one.name == f"{plural}/scale" for one in listed):
        group = api_version.rpartition("/")[0]
        resource = f"{plural}.{group}" if group else plural
        return "", f"{resource} does not implement the scale subresource"
    return f"{root}/namespaces/{quote(namespace)}/{plural}/{quote(name)}/scale", ""
