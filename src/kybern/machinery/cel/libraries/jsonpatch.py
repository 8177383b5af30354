"""kubernetes.jsonpatch: what expressions need that compute a JSON patch (in policies that change objects, only there)."""

from kybern.machinery.cel import reading, types
from kybern.machinery.cel.functions import Function, Library, Overload

JSON_PATCH = types.object_of(
    "JSONPatch", {"op": types.STRING, "path": types.STRING, "from": types.STRING, "value": types.DYN}
)


def escape_key(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


_ESCAPE = Overload(
    "string_jsonpatch_escapeKey_string", (types.STRING,), types.STRING, escape_key,
    estimate=reading.estimate(), count=reading.count(), size=reading.same,
)  # fmt: skip
LIBRARY = Library("kubernetes.jsonpatch", (Function("jsonpatch.escapeKey", (_ESCAPE,)),), (JSON_PATCH,))
