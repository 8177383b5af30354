"""The functions that expressions may call, a library a file: what k8s.io/apiserver/pkg/cel/environment has at v1.36."""

from kybern.machinery.cel.functions import Library
from kybern.machinery.cel.libraries import (
    authz,
    cidr,
    format,  # noqa: A004  upstream's name of the library
    ip,
    jsonpatch,
    lists,
    more_lists,
    quantity,
    regex,
    semver,
    sets,
    strings,
    url,
)

LIBRARIES: tuple[Library, ...] = (
    authz.LIBRARY,
    cidr.LIBRARY,
    format.LIBRARY,
    ip.LIBRARY,
    lists.LIBRARY,
    more_lists.LIBRARY,
    quantity.LIBRARY,
    regex.LIBRARY,
    semver.LIBRARY,
    sets.LIBRARY,
    strings.LIBRARY,
    url.LIBRARY,
)
"""What every expression may call."""

PATCHING: tuple[Library, ...] = (jsonpatch.LIBRARY,)
"""What expressions that compute a JSON patch may call as well."""
