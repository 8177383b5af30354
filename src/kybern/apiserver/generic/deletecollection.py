"""Remove all objects of a list, each as if it were deleted alone."""

from dataclasses import replace

from kybern.apiserver import options
from kybern.apiserver.answer import Many
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import delete
from kybern.apiserver.generic.list import listing
from kybern.apiserver.options import DeleteOptions
from kybern.machinery.errors import NotFound
from kybern.storage.value import decoded


async def deletecollection(call: Call, asked: DeleteOptions) -> Many:
    found = await listing(call, options.list_options(call.kind, call.query))
    for item in found.items:
        metadata = decoded(item)["metadata"]
        one = replace(call, name=metadata["name"], namespace=metadata.get("namespace", ""), unnamed=True)
        try:
            await delete.delete(one, replace(asked))
        except NotFound:
            continue
    return found
