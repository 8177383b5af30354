"""A whole pod spec, in upstream's order of checking; and pod templates, which are checked by the same rules."""

from collections.abc import Iterator

from kybern.api.rules import claims as claim_rules
from kybern.api.rules.amounts import requirements
from kybern.api.rules.causes import (
    all_invalid,
    duplicate,
    forbidden,
    in_range,
    invalid,
    one_of,
    required,
    too_long,
)
from kybern.api.rules.formats import ip, label, qualified_name, subdomain
from kybern.api.rules.labels import labels
from kybern.api.rules.pods import containers, scheduling, security
from kybern.api.rules.pods.volumes import volumes
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_RESTARTS = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MAX_SECONDS = 2147483647
_TOTAL_ANNOTATIONS = 256 * 1024


def spec(field: str, raw: Raw) -> Iterator[Cause]:
    flaws: list[Cause] = []
    sound = volumes(f"{field}.volumes", raw.get("volumes") or [], claim_rules.spec, flaws.append)
    yield from flaws
    yield from _resource_claims(f"{field}.resourceClaims", raw.get("resourceClaims") or [])
    named = frozenset(claim["name"] for claim in raw.get("resourceClaims") or () if claim.get("name"))
    around = containers.Surroundings(raw, sound, named)
    yield from containers.regular(f"{field}.containers", raw.get("containers") or [], around)
    yield from containers.init(f"{field}.initContainers", raw.get("initContainers") or [], around)
    yield from containers.ephemeral(
        f"{field}.ephemeralContainers", raw.get("ephemeralContainers") or [], around
    )
    if raw.get("resources"):
        yield from requirements(f"{field}.resources", raw["resources"], named)
    yield from _running(field, raw)
    yield from _placing(field, raw)
    yield from _naming(field, raw)


def _running(field: str, raw: Raw) -> Iterator[Cause]:
    if raw.get("hostNetwork"):
        yield from _host_ports(field, raw)
    yield from one_of(f"{field}.restartPolicy", raw.get("restartPolicy"), _RESTARTS)
    yield from one_of(f"{field}.dnsPolicy", raw.get("dnsPolicy"), _DNS)
    yield from labels(f"{field}.nodeSelector", raw.get("nodeSelector"))
    if raw.get("securityContext") or raw.get("shareProcessNamespace"):
        yield from security.pod(f"{field}.securityContext", raw)
    if raw.get("affinity"):
        yield from scheduling.affinity(f"{field}.affinity", raw["affinity"])
    yield from _dns(f"{field}.dnsConfig", raw)


def _placing(field: str, raw: Raw) -> Iterator[Cause]:
    yield from scheduling.gates(field, raw)
    if raw.get("topologySpreadConstraints"):
        yield from scheduling.spread(f"{field}.topologySpreadConstraints", raw["topologySpreadConstraints"])
    if raw.get("hostUsers") is False:
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if raw.get(key):
                yield forbidden(f"{field}.{key}", "when `hostUsers` is false")
    for key in ("serviceAccountName", "nodeName"):
        if raw.get(key):
            yield from all_invalid(f"{field}.{key}", raw[key], subdomain(raw[key]))
    if raw.get("activeDeadlineSeconds") is not None:
        yield from in_range(f"{field}.activeDeadlineSeconds", raw["activeDeadlineSeconds"], 1, _MAX_SECONDS)


def _naming(field: str, raw: Raw) -> Iterator[Cause]:
    for key in ("hostname", "subdomain"):
        if raw.get(key):
            yield from all_invalid(f"{field}.{key}", raw[key], label(raw[key]))
    if raw.get("tolerations"):
        yield from scheduling.tolerations(f"{field}.tolerations", raw["tolerations"])
    yield from _aliases(f"{field}.hostAliases", raw.get("hostAliases") or [])
    for key in ("priorityClassName", "runtimeClassName"):
        if raw.get(key):
            yield from all_invalid(f"{field}.{key}", raw[key], subdomain(raw[key]))
    if raw.get("preemptionPolicy"):
        policies = ("PreemptLowerPriority", "Never")
        yield from one_of(f"{field}.preemptionPolicy", raw["preemptionPolicy"], policies)
    yield from security.operating_system(field, raw)


def _host_ports(field: str, raw: Raw) -> Iterator[Cause]:
    for i, container in enumerate(raw.get("containers") or ()):
        for j, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort") and port["hostPort"] != port.get("containerPort"):
                at = f"{field}.containers[{i}].ports[{j}].containerPort"
                text = "must match `hostPort` when `hostNetwork` is true"
                yield invalid(at, port.get("containerPort", 0), text)


def _resource_claims(field: str, found: list[Raw]) -> Iterator[Cause]:
    seen: set[str] = set()
    for i, claim in enumerate(found):
        at, name = f"{field}[{i}]", claim.get("name", "")
        if not name:
            yield required(f"{at}.name")
        elif name in seen:
            yield duplicate(f"{at}.name", name)
        else:
            yield from all_invalid(f"{at}.name", name, label(name))
        seen.add(name)
        direct, template = claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")
        if direct and template:
            text = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield invalid(at, claim, text)
        elif not direct and not template:
            text = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            yield invalid(at, claim, text)


def _dns(field: str, raw: Raw) -> Iterator[Cause]:
    config, policy = raw.get("dnsConfig"), raw.get("dnsPolicy")
    if config is not None:
        yield from _servers(f"{field}.nameservers", config.get("nameservers") or [], policy)
        yield from _searches(f"{field}.searches", config.get("searches") or [])
        for i, option in enumerate(config.get("options") or ()):
            if not option.get("name"):
                yield required(f"{field}.options[{i}]", "must not be empty")
    elif policy == "None":
        yield required(field, "must provide `dnsConfig` when `dnsPolicy` is None")


def _servers(field: str, servers: list[str], policy: str | None) -> Iterator[Cause]:
    if policy == "None" and not servers:
        yield required(field, "must provide at least one DNS nameserver when `dnsPolicy` is None")
    if len(servers) > 3:
        yield invalid(field, servers, "must not have more than 3 nameservers")
    for i, server in enumerate(servers):
        yield from all_invalid(f"{field}[{i}]", server, ip(server))


def _searches(field: str, searches: list[str]) -> Iterator[Cause]:
    if len(searches) > 32:
        yield invalid(field, searches, "must not have more than 32 search paths")
    for i, search in enumerate(searches):
        if search != ".":
            # A label may begin with an underscore, as those of SRV records do, and have others within.
            labels = [label.removeprefix("_") for label in search.removesuffix(".").split(".")]
            yield from all_invalid(f"{field}[{i}]", search, subdomain(".".join(labels).replace("_", "-")))


def _aliases(field: str, found: list[Raw]) -> Iterator[Cause]:
    for i, alias in enumerate(found):
        address = alias.get("ip", "")
        yield from all_invalid(f"{field}[{i}].ip", address, ip(address))
        for j, hostname in enumerate(alias.get("hostnames") or ()):
            yield from all_invalid(f"{field}[{i}].hostnames[{j}]", hostname, subdomain(hostname))


def annotations(field: str, values: dict[str, str] | None) -> Iterator[Cause]:
    total = 0
    for key, value in (values or {}).items():
        yield from all_invalid(field, key, qualified_name(key.lower()))
        total += len(key.encode()) + len(value.encode())
    if total > _TOTAL_ANNOTATIONS:
        yield too_long(field, _TOTAL_ANNOTATIONS)


def template(field: str, raw: Raw) -> Iterator[Cause]:
    """A pod template. Its labels' path is upstream's: without ``metadata``."""
    metadata = raw.get("metadata") or {}
    yield from labels(f"{field}.labels", metadata.get("labels"))
    yield from annotations(f"{field}.annotations", metadata.get("annotations"))
    found = raw.get("spec") or {}
    yield from spec(f"{field}.spec", found)
    if found.get("ephemeralContainers"):
        yield forbidden(
            f"{field}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"
        )


def pod(raw: Raw) -> Iterator[Cause]:
    """A pod, new or changed. What was allowed in templates once is not allowed here."""
    found = raw.get("spec") or {}
    yield from spec("spec", found)
    if not found.get("serviceAccountName"):
        yield from _tokens(found)
    yield from containers.trimmed("spec.containers", found.get("containers") or [])
    yield from containers.trimmed("spec.initContainers", found.get("initContainers") or [])


def _tokens(found: Raw) -> Iterator[Cause]:
    for i, volume in enumerate(found.get("volumes") or ()):
        for j, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if source.get("serviceAccountToken") is not None:
                at = f"spec.volumes[{i}].projected.sources[{j}].serviceAccountToken"
                yield forbidden(at, "must not be specified when serviceAccountName is not set")


def new_pod(raw: Raw) -> Iterator[Cause]:
    yield from pod(raw)
    found = raw.get("spec") or {}
    if found.get("ephemeralContainers"):
        yield forbidden("spec.ephemeralContainers", "cannot be set on create")
    if found.get("nodeName") and found.get("schedulingGates"):
        yield forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
