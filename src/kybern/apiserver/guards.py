"""What only the server can check or say of a write, beside addresses of Services; see ``engine.Guard``."""

from functools import partial
from typing import Any

import msgspec

from kybern.api import rbac_v1
from kybern.apiserver import reviews
from kybern.apiserver.authorization import Authorization
from kybern.apiserver.engine import Call, Outcome
from kybern.apiserver.local import SERVER
from kybern.auth.unsettled import settled
from kybern.machinery.kind import Raw
from kybern.machinery.struct import decoder

_RIGHTS = ("rules", "subjects", "roleRef", "aggregationRule")
_WHO = ("username", "uid", "groups", "extra")


class Escalation:
    """Nobody gives away rights that he does not hold."""

    def __init__(self, authorization: Authorization) -> None:
        self._authorization = authorization

    async def prepare(self, call: Call, new: Raw | None, old: Raw | None) -> Outcome:
        if new is None or call.user is SERVER:
            return Outcome()
        if old is not None and all(new.get(key) == old.get(key) for key in _RIGHTS):
            return Outcome()
        await settled(partial(self._authorization.check_escalation, _typed(new), call.user))
        return Outcome()


def _typed(raw: Raw) -> Any:
    return decoder(getattr(rbac_v1, raw["kind"])).decode(msgspec.json.encode(raw))


class Requester:
    """A certificate signing request says who made it."""

    async def prepare(self, call: Call, new: Raw | None, old: Raw | None) -> Outcome:
        if new is not None:
            who = reviews.user_info(call.user) if old is None else old["spec"]
            kept = {key: who[key] for key in _WHO if who.get(key)}
            asked = {key: value for key, value in new["spec"].items() if key not in _WHO}
            new["spec"] = {**asked, **kept}
        return Outcome()
