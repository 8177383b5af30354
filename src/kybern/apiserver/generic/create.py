"""Make a new object."""

from kybern.apiserver import problems
from kybern.apiserver.answer import One
from kybern.apiserver.engine import Call, Engine, Outcome
from kybern.apiserver.generic import admit, current, owners, prepare
from kybern.machinery.kind import Raw
from kybern.storage.store import RevisionMismatch, Stored
from kybern.storage.value import Unreadable

_TRIES = 8


async def create(call: Call, raw: Raw, *, owned: bool = False) -> One:
    """Store a decoded and defaulted body. A generated name that is taken is generated again.

    ``owned``: the body says already who manages which fields.
    """
    prepare.place(call, raw)
    call.name = raw["metadata"].get("name") or ""
    if raw["metadata"].get("resourceVersion", "0") != "0" and not call.options.dry_run:
        raise problems.Unexpected("resourceVersion should not be set on objects to be created")
    if not owned:
        owners.record_new(call, raw)
    asked = admit.request(call, "CREATE", raw, None)
    await admit.mutate(call, asked)
    given = raw["metadata"].get("name") or ""
    prefix = raw["metadata"].get("generateName") or ""
    for attempt in range(_TRIES):
        prepare.new(call, raw)
        call.name = asked.name = raw["metadata"].get("name") or ""
        prepare.check_new(call, raw)
        await admit.validate(call, asked)
        try:
            return await _stored(call, raw)
        except RevisionMismatch as taken:
            if given or not prefix or attempt == _TRIES - 1:
                going = _going(call, taken.current)
                raise problems.already_exists(call.kind, call.name, going=going) from None
            raw["metadata"]["name"] = ""
    raise AssertionError


async def _stored(call: Call, raw: Raw) -> One:
    outcome = await guarded(call.engine, call, raw, None)
    try:
        value = current.value_of(call, raw)
        if call.options.dry_run:
            await _absent(call)
            return One(call.kind, current.whole(call.engine.form(call.kind), raw), 201)
        revision = await current.write(call, value, 0)
    except BaseException:
        await outcome.failed()
        raise
    await outcome.stored()
    return One(call.kind, current.served(call, value, revision), 201)


def _going(call: Call, there: Stored | None) -> bool:
    if there is None:
        return False
    try:
        raw = call.engine.form(call.stored).raw(there.value, there.revision)
    except Unreadable:
        return False
    return bool(raw["metadata"].get("deletionTimestamp"))


async def _absent(call: Call) -> None:
    there, _ = await call.engine.store.get(call.key)
    if there is not None:
        raise RevisionMismatch(call.key, there)


async def guarded(engine: Engine, call: Call, new: Raw | None, old: Raw | None) -> Outcome:
    """Ask the kind's guards; their outcomes as one."""
    guards = engine.guards.get((call.kind.group, call.kind.plural), ())
    if not guards:
        return Outcome()
    if len(guards) == 1:
        return await guards[0].prepare(call, new, old)
    outcomes = [await guard.prepare(call, new, old) for guard in guards]

    async def stored() -> None:
        for outcome in outcomes:
            await outcome.stored()

    async def failed() -> None:
        for outcome in outcomes:
            await outcome.failed()

    return Outcome(stored, failed)
