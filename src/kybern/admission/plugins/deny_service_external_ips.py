"""Services get no new externalIPs, which could take traffic to somebody else's address (CVE-2020-8554). Off by default.

Upstream's ``plugin/pkg/admission/denyserviceexternalips``: those that a Service has may stay, or be taken away.
"""

from kybern.admission.framework import Plugin, Request, refused
from kybern.machinery.kind import Raw


async def validate(request: Request) -> None:
    if request.new is None or request.subresource or request.operation not in ("CREATE", "UPDATE"):
        return
    if not _external(request.new) <= _external(request.old or {}):
        raise refused(request, "Use of external IPs is denied by admission control")


def _external(service: Raw) -> set[str]:
    return set((service.get("spec") or {}).get("externalIPs") or ())


PLUGIN = Plugin(
    "DenyServiceExternalIPs",
    validate=validate,
    default=False,
    resources=frozenset({("", "services")}),
)
