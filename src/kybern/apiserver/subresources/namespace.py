"""The finalize path of namespaces: the only one that changes what a namespace waits for before it goes."""

from kybern.apiserver.answer import One
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import update
from kybern.apiserver.generic.current import Current
from kybern.machinery.kind import Raw


async def finalize(call: Call, sent: Raw) -> One:
    finalizers = (sent.get("spec") or {}).get("finalizers") or []

    async def making(found: Current) -> Raw:
        raw = {**found.raw, "metadata": {**found.raw["metadata"]}, "spec": {**(found.raw.get("spec") or {})}}
        raw["metadata"]["resourceVersion"] = sent["metadata"].get("resourceVersion") or ""
        if finalizers:
            raw["spec"]["finalizers"] = list(finalizers)
        else:
            raw["spec"].pop("finalizers", None)
        return raw

    return await update.change(call, making)
