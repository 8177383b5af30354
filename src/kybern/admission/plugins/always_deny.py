"""Every write is refused, those of the server itself among them. Off by default, deprecated, and for tests alone.

Upstream's ``plugin/pkg/admission/deny``. A server with it cannot make its own first objects, and so never becomes ready.
"""

from kybern.admission.framework import Plugin, Request, refused
from kybern.admission.plugins.always_admit import deprecated
from kybern.machinery.kind import Raw


async def deny(request: Request) -> None:
    raise refused(request, "admission control is denying all modifications")


def configured(_settings: Raw) -> Plugin:
    return deprecated(PLUGIN)


PLUGIN = Plugin("AlwaysDeny", mutate=deny, validate=deny, default=False, connects=True, configure=configured)
