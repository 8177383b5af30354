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
        name=call.name,
        subresource=call.subresource,
        user=call.user,
        new=new,
        old=old,
        lookup=call.engine.lookup,
        dry_run=call.options.dry_run,
        options=options or {},
        warnings=call.warnings,
        authorize=call.engine.authorize,
        charge=call.engine.charge,
    )


async def mutate(call: Call, asked: Request) -> None:
    await call.engine.chain.mutate(asked)


async def validate(call: Call, asked: Request) -> None:
    await call.engine.chain.validate(asked)
