"""No pod keeps others away from more than its node. Off by default.

Upstream's ``plugin/pkg/admission/antiaffinity``: with another topology key one pod could keep a whole zone for itself.
"""

from kybern.admission.framework import Plugin, Request, denied

HOSTNAME = "kubernetes.io/hostname"


async def validate(request: Request) -> None:
    if request.new is None or request.subresource or request.operation not in ("CREATE", "UPDATE"):
        return
    affinity = (request.new.get("spec") or {}).get("affinity") or {}
    terms = (affinity.get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or ()
    for term in terms:
        key = term.get("topologyKey", "")
        if key != HOSTNAME:
            raise denied(
                request,
                f"affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOSTNAME} "
                "is allowed",
            )


PLUGIN = Plugin(
    "LimitPodHardAntiAffinityTopology", validate=validate, default=False, resources=frozenset({("", "pods")})
)
