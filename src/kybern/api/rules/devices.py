"""API defaults of device requests, which claims and templates of claims share."""

from kybern.machinery.kind import Raw


def default_claim_spec(spec: Raw) -> None:
    devices = spec.setdefault("devices", {})
    for request in devices.get("requests") or ():
        for wanted in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if wanted is not None:
                _default_wanted(wanted)
    devices.setdefault("requests", None)


def _default_wanted(wanted: Raw) -> None:
    if not wanted.get("allocationMode"):
        wanted["allocationMode"] = "ExactCount"
    if wanted["allocationMode"] == "ExactCount" and not wanted.get("count"):
        wanted["count"] = 1
    for toleration in wanted.get("tolerations") or ():
        if not toleration.get("operator"):
            toleration["operator"] = "Equal"
