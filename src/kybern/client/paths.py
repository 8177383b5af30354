"""Where an object lives under the API's root."""

from urllib.parse import quote

from kybern.machinery.struct import Object


def root(api_version: str) -> str:
    """``/api/v1`` or ``/apis/GROUP/VERSION``."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def collection(kind: type[Object], namespace: str = "") -> str:
    """The path of all objects of a kind, or of those of one namespace."""
    middle = f"/namespaces/{quote(namespace)}" if kind.namespaced and namespace else ""
    return f"{root(kind.api_version)}{middle}/{kind.plural}"


def one(kind: type[Object], namespace: str, name: str, subresource: str = "") -> str:
    """The path of one object or of a subresource below it."""
    below = f"/{subresource}" if subresource else ""
    return f"{collection(kind, namespace)}/{quote(name)}{below}"
