"""Replace an object, or its status, by what a client sends or a patch makes.

A first try starts from the cached object, since that is nearly always the present one; what goes wrong with it is told
once the store says that it was, else it is tried again from there. A write that names a resourceVersion fails when that
is not the present one; any other is repeated on what others wrote meanwhile. A write that changes nothing is not stored,
unless what lies in the store is not in the form in which it would be written.
"""

from collections.abc import Awaitable, Callable

from kybern.apiserver import problems
from kybern.apiserver.answer import One
from kybern.apiserver.engine import Call
from kybern.apiserver.generic import admit, create, current, delete, owners, prepare
from kybern.apiserver.generic.current import Current
from kybern.machinery.errors import ApiError, NotFound
from kybern.machinery.kind import Raw
from kybern.storage.store import RevisionMismatch

type Change = Callable[[Current], Awaitable[Raw]]


async def update(call: Call, raw: Raw) -> One:
    """Replace by a decoded and defaulted body; made anew where the kind allows it."""
    prepare.place(call, raw)
    prepare.named(call, raw)
    body = _Body(call, raw)
    try:
        return await change(call, body)
    except NotFound:
        if call.subresource or not call.kind.allow_create_on_update:
            raise
    return await create.create(call, body.fresh())


class _Body:
    """A client's object; each try starts from it unspoilt."""

    def __init__(self, call: Call, raw: Raw) -> None:
        self._call = call
        self._raw = raw

    def fresh(self) -> Raw:
        return _copied(self._raw)

    async def __call__(self, found: Current) -> Raw:
        prepare.same_object(self._call, self._raw, found)
        return self.fresh()


def _copied(value: Raw) -> Raw:
    return {key: _copy(part) for key, part in value.items()}


def _copy[T](value: T) -> T:
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [_copy(part) for part in value]  # type: ignore[return-value]
    return value


async def change(call: Call, making: Change, *, owned: bool = False) -> One:
    """Replace the object by what ``making`` makes of it.

    ``owned``: that says already who manages which fields.
    """
    found = await current.read(call, fresh=False)
    for _ in current.tries():
        warned = len(call.warnings)
        try:
            return await _changed(call, found, making, owned=owned)
        except (ApiError, RevisionMismatch) as problem:
            if isinstance(problem, ApiError) and not found.cached:
                raise
            present = await current.read(call)
            if present.revision == found.revision:
                # It was the present one: to ask admission again would make no difference, and may be seen.
                if isinstance(problem, ApiError):
                    raise
                if isinstance(problem, _Unchanged) and not present.stale:
                    return _same_as(call, present)
            del call.warnings[warned:]
        found = present
    raise problems.conflict(call.kind, call.name)


class _Unchanged(RevisionMismatch):
    """A write would change nothing of what the cache has."""


def _same_as(call: Call, found: Current) -> One:
    return One(call.kind, current.served(call, current.value_of(call, found.raw), found.revision))


async def _changed(call: Call, found: Current, making: Change, *, owned: bool) -> One:
    raw = await making(found)
    prepare.versioned(call, raw, found)
    if not owned:
        owners.record_changed(call, raw, found)
    asked = admit.request(call, "UPDATE", raw, found.raw)
    await admit.mutate(call, asked)
    prepare.changed(call, raw, found)
    prepare.check_changed(call, raw, found)
    await admit.validate(call, asked)
    if _same(call, raw, found):
        if found.cached:
            # The cache may be behind, and what was there a moment ago may be what is asked for now.
            raise _Unchanged(call.key, None)
        if not found.stale:
            return _same_as(call, found)
    outcome = await create.guarded(call.engine, call, raw, found.raw)
    try:
        one = await _written(call, raw, found)
    except BaseException:
        await outcome.failed()
        raise
    await outcome.stored()
    return one


def _same(call: Call, raw: Raw, found: Current) -> bool:
    """Whether nothing differs, or only the times at which somebody changed something."""
    type_meta = {"apiVersion": call.kind.api_version, "kind": call.kind.kind}
    new, was = {**raw, **type_meta}, {**found.raw, **type_meta}
    return new == was or owners.timeless(new, found) == was


async def _written(call: Call, raw: Raw, found: Current) -> One:
    value = current.value_of(call, raw)
    if call.options.dry_run:
        return One(call.kind, current.served(call, value, found.revision))
    if delete.finished(call, raw, found.raw):
        await call.engine.store.delete(call.key, found.revision)
        return One(call.kind, current.served(call, value, found.revision))
    revision = await current.write(call, value, found.revision)
    return One(call.kind, current.served(call, value, revision))
