"""API defaults of containers: pull policy, ports, probes, environment."""

from kybern.api.rules.images import pull_policy
from kybern.api.rules.volumes import field_ref
from kybern.machinery import quantity
from kybern.machinery.kind import Raw

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_NUMBERS = (
    ("timeoutSeconds", 1),
    ("periodSeconds", 10),
    ("successThreshold", 1),
    ("failureThreshold", 3),
)


def _http(action: Raw) -> None:
    if not action.get("path"):
        action["path"] = "/"
    if not action.get("scheme"):
        action["scheme"] = "HTTP"


def _probe(probe: Raw) -> None:
    for key, value in _PROBE_NUMBERS:
        if not probe.get(key):
            probe[key] = value
    if probe.get("httpGet") is not None:
        _http(probe["httpGet"])
    if probe.get("grpc") is not None:
        probe["grpc"]["service"] = probe["grpc"].get("service") or ""


def _lifecycle(lifecycle: Raw) -> None:
    for moment in ("postStart", "preStop"):
        action = (lifecycle.get(moment) or {}).get("httpGet")
        if action is not None:
            _http(action)


def _environment(variable: Raw) -> None:
    source = variable.get("valueFrom")
    if source is not None:
        field_ref(source)
        if source.get("fileKeyRef") is not None:
            source["fileKeyRef"].setdefault("optional", False)


def _parts(container: Raw) -> None:
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for variable in container.get("env") or ():
        _environment(variable)
    for key in _PROBES:
        if container.get(key) is not None:
            _probe(container[key])
    if container.get("lifecycle") is not None:
        _lifecycle(container["lifecycle"])


def default_container(container: Raw) -> None:
    round_up(container.setdefault("resources", {}))
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))
    _parts(container)


def round_up(resources: Raw) -> None:
    """Amounts are kept to the thousandth, rounded up; quantities come canonical, so finer ones end in n or u."""
    for side in ("limits", "requests"):
        values: Raw = resources.get(side) or {}
        for key, text in values.items():
            if text[-1:] in ("n", "u"):
                values[key] = f"{quantity.parse(text).milli()}m"


def request_what_is_limited(resources: Raw) -> None:
    """A limit without a request is the request, too. Only pods get this, their templates do not."""
    limits = resources.get("limits")
    if limits:
        resources["requests"] = {**limits, **(resources.get("requests") or {})}
