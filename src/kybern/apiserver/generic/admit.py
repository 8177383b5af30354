"""Admission of a write: plugins that change it, and plugins that refuse it."""

from kybern.admission.framework import Request
from kybern.apiserver.engine import Call
from kybern.machinery.kind import Raw


def request(
    call: Call, operation: str, new: Raw | None, old: Raw | None, options: Raw | None = None
) -> Request:
    return Request(
        operation=operation,
        kind=call.kind,
        namespace=call.namespace,
        name="" if call.unnamed else call.name,
        subresource=call.subresource,
        user=call.user,
        new=new,
        old=old,
        lookup=call.engine.lookup,
        dry_run=call.options.dry_run,
        options=_options(call, operation, options),
        warnings=call.warnings,
        authorize=call.engine.authorize,
        charge=call.engine.charge,
        provision=call.engine.provision,
        annotations=call.annotations,
        configured=None if call.asked else call.engine.configured,
        disguise=call.disguise,
    )


_KINDS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


def _options(call: Call, operation: str, given: Raw | None) -> Raw:
    """The options of the operation as an object, which only webhooks and policies read."""
    if call.engine.configured is None:
        return given or {}
    found: Raw = {"kind": _KINDS[operation], "apiVersion": "meta.k8s.io/v1", **(given or {})}
    if given is None and call.query:
        found |= {key: call.query[key] for key in ("fieldManager", "fieldValidation") if call.query.get(key)}
        if call.options.dry_run:
            found["dryRun"] = ["All"]
    return found


async def mutate(call: Call, asked: Request) -> None:
    await call.engine.chain.mutate(asked)


async def validate(call: Call, asked: Request) -> None:
    await call.engine.chain.validate(asked)
