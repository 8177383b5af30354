"""The server's flags: upstream's names, and what they mean here.

Those of parts that are not here are in ``other_flags``; a flag that nobody knows is an error.
"""

import ipaddress
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kybern.admission.plugins.default_toleration_seconds import SECONDS
from kybern.api.kinds import GATES
from kybern.api.rules.pods import projections
from kybern.apiserver.audit.flags import audit_flags
from kybern.apiserver.enabled import served, ungated
from kybern.apiserver.identity.flags import identity_flags
from kybern.apiserver.other_flags import other_flags
from kybern.apiserver.rights.flags import rights_flags
from kybern.apiserver.services.addresses import Network
from kybern.daemon import tls
from kybern.daemon.flags import Flags, Values, commas, duration
from kybern.daemon.run import Fatal
from kybern.daemon.shared_flags import enabled, gates, unusual
from kybern.machinery.kind import Kind

log = logging.getLogger(__name__)

ACTS = frozenset({*GATES.values(), projections.GATE})
"""The feature gates that change something here."""


def ports(text: str) -> tuple[int, int]:
    """A range of ports, ends included: 30000-32767, or 30000+2768."""
    first, sign, rest = text.partition("-") if "-" in text else text.partition("+")
    start = int(first)
    end = start if not sign else int(rest) if sign == "-" else start + int(rest) - 1
    if not 0 < start <= end < 65536:
        raise ValueError(f'"{text}" is no range of ports such as 30000-32767')
    return start, end


def switches(text: str) -> Mapping[str, str]:
    """A --runtime-config value: keys with true or false; without a value they mean true."""
    parts = (part.partition("=") for part in commas(text))
    return {key.strip(): value.strip() for key, _, value in parts}


_FLAGS = (
    Flags("kube-apiserver", "Serves the API of the cluster from etcd.")
    .flag(
        "--etcd-servers", commas, (), "URLs of the members of etcd, comma separated. The first is preferred."
    )
    .flag("--etcd-cafile", str, "", "Authority of etcd's certificates.")
    .flag("--etcd-certfile", str, "", "Client certificate for etcd.")
    .flag("--etcd-keyfile", str, "", "Key of the client certificate for etcd.")
    .flag("--etcd-prefix", str, "/registry", "What all keys in etcd start with.")
    .flag(
        "--etcd-compaction-interval",
        duration,
        300.0,
        "How often etcd forgets its history. 0 leaves it to others.",
    )
    .flag("--encryption-provider-config", str, "", "EncryptionConfiguration: what is encrypted in etcd.")
    .flag(
        "--encryption-provider-config-automatic-reload",
        bool,
        False,
        "Read that file again when it changes.",
    )
    .flag("--event-ttl", duration, 3600.0, "How long events are kept.")
    .flag("--bind-address", str, "0.0.0.0", "Address to listen on.")
    .flag("--secure-port", int, 6443, "Port to listen on.")
    .flag("--advertise-address", str, "", "Address under which the cluster reaches this server.")
    .flag("--external-hostname", str, "", "Host name for URLs that the server gives out.")
    .flag(
        "--cert-dir", str, "/var/run/kubernetes", "Where to put a self-signed certificate when none is given."
    )
    .flag("--tls-cert-file", str, "", "Serving certificate. Read again when it changes.")
    .flag("--tls-private-key-file", str, "", "Key of the serving certificate.")
    .flag("--tls-min-version", str, "", "VersionTLS12 or VersionTLS13.")
    .flag(
        "--tls-cipher-suites",
        tls.ciphers,
        (),
        "Accepted ciphers of TLS 1.2, as Go or OpenSSL names them. Empty: the library's selection.",
    )
    .flag("--client-ca-file", str, "", "Authorities of client certificates.")
    .flag("--anonymous-auth", bool, True, "Let requests without an identity in as system:anonymous.")
    .flag("--enable-bootstrap-token-auth", bool, False, "Accept bootstrap tokens (Secrets in kube-system).")
    .flag("--token-auth-file", str, "", 'CSV file of bearer tokens: token,user,uid,"groups".')
    .flag("--requestheader-client-ca-file", str, "", "Authorities of front proxies' certificates.")
    .flag(
        "--requestheader-allowed-names",
        commas,
        (),
        "Common names of front proxies. Empty allows all certified ones.",
    )
    .flag("--requestheader-username-headers", commas, ("x-remote-user",), "Headers with the user's name.")
    .flag("--requestheader-uid-headers", commas, ("x-remote-uid",), "Headers with the user's uid.")
    .flag("--requestheader-group-headers", commas, ("x-remote-group",), "Headers with groups.")
    .flag(
        "--requestheader-extra-headers-prefix",
        commas,
        ("x-remote-extra-",),
        "Prefixes of headers with extras.",
    )
    .flag(
        "--service-account-issuer",
        commas,
        (),
        "Issuer of service account tokens. More than one are accepted.",
    )
    .flag("--service-account-key-file", commas, (), "Keys that verify service account tokens.")
    .flag("--service-account-signing-key-file", str, "", "Key that signs service account tokens.")
    .flag("--service-account-jwks-uri", str, "", "URL of the key set, when it is not this server's.")
    .flag("--service-account-max-token-expiration", duration, 0.0, "Longest lifetime of a token.")
    .flag("--service-account-extend-token-expiration", bool, True, "Let pods' tokens live for a year.")
    .flag("--api-audiences", commas, (), "Audiences of this API. Default: the issuers.")
    .flag("--enable-admission-plugins", commas, (), "Admission plugins to switch on beside the default ones.")
    .flag("--disable-admission-plugins", commas, (), "Admission plugins to switch off.")
    .flag(
        "--admission-control-config-file",
        str,
        "",
        "AdmissionConfiguration: as whom webhooks are called (WebhookAdmissionConfiguration), and the settings of "
        "EventRateLimit, ImagePolicyWebhook, PodNodeSelector and PodTolerationRestriction.",
    )
    .flag("--allow-privileged", bool, False, "Let containers be privileged.")
    .flag(
        "--service-cluster-ip-range",
        commas,
        ("10.0.0.0/24",),
        "Networks of Services' addresses, at most two.",
    )
    .flag("--service-node-port-range", ports, (30000, 32767), "Ports for Services of type NodePort.")
    .flag("--kubernetes-service-node-port", int, 0, "Node port of the Service kubernetes. 0: it has none.")
    .flag("--endpoint-reconciler-type", str, "lease", "lease or none: who keeps the Service's endpoints.")
    .flag("--kubelet-client-certificate", str, "", "Client certificate for the kubelets.")
    .flag("--kubelet-client-key", str, "", "Key of the client certificate for the kubelets.")
    .flag(
        "--kubelet-certificate-authority",
        str,
        "",
        "Authority of the kubelets' certificates. Empty: not verified.",
    )
    .flag(
        "--kubelet-preferred-address-types",
        commas,
        ("Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"),
        "Which of a node's addresses to use, in order.",
    )
    .flag(
        "--max-requests-inflight",
        int,
        400,
        "Most reads at once; with the next one the seats of priority and fairness.",
    )
    .flag(
        "--max-mutating-requests-inflight",
        int,
        200,
        "Most writes at once. 0: no limit, without priority and fairness.",
    )
    .flag(
        "--request-timeout",
        duration,
        60.0,
        "Longest a request may take that is not a watch, a log or a stream; its own ?timeout= may be shorter.",
    )
    .flag(
        "--runtime-config",
        switches,
        {},
        "What is served beside the default API, such as storagemigration.k8s.io/v1beta1=true.",
    )
    .flag(
        "--feature-gates",
        gates,
        {},
        f"Features, NAME=true|false. {', '.join(sorted(ACTS))} act; others change nothing, which is logged.",
    )
    .flag(
        "--enable-priority-and-fairness",
        bool,
        True,
        "Requests have seats and queues by FlowSchema. false: the two limits below alone.",
    )
    .flag(
        "--enable-aggregator-routing",
        bool,
        True,
        "Dial endpoints of aggregated servers, not their Services' addresses, which need kube-proxy here.",
    )
    .flag("--proxy-client-cert-file", str, "", "Client certificate for aggregated servers.")
    .flag("--proxy-client-key-file", str, "", "Key of that certificate.")
    .flag("--shutdown-delay-duration", duration, 0.0, "How long to go on serving after the signal to stop.")
    .flag(
        "--etcd-healthcheck-timeout", duration, 2.0, "How long etcd may take to answer /healthz and /livez."
    )
    .flag(
        "--default-not-ready-toleration-seconds",
        int,
        SECONDS,
        "How long pods stay on a node that is not ready, unless they say otherwise.",
    )
    .flag(
        "--default-unreachable-toleration-seconds",
        int,
        SECONDS,
        "How long pods stay on a node that cannot be reached, unless they say otherwise.",
    )
)
FLAGS = other_flags(rights_flags(identity_flags(audit_flags(_FLAGS))))


@dataclass(frozen=True, slots=True)
class Config:
    """What the flags come to, where it is more than one flag says."""

    values: Values
    networks: Sequence[Network]
    advertise: str
    issuers: tuple[str, ...]
    audiences: tuple[str, ...]
    gates: frozenset[str]
    kinds: tuple[Kind, ...]

    def __getitem__(self, name: str) -> object:
        return self.values[name]

    @property
    def address(self) -> str:
        """How discovery names this server."""
        host = self.values["external-hostname"] or self.advertise
        return (
            f"[{host}]:{self.values['secure-port']}"
            if ":" in host
            else f"{host}:{self.values['secure-port']}"
        )


def read(values: Values) -> Config:
    """Check the flags together. Raises Fatal with one line."""
    if not values["etcd-servers"]:
        raise Fatal("kube-apiserver: --etcd-servers must be specified")
    for first, second in _TOGETHER:
        if bool(values[first]) != bool(values[second]):
            raise Fatal(f"kube-apiserver: --{first} and --{second} must be given together")
    if values["encryption-provider-config-automatic-reload"] and not values["encryption-provider-config"]:
        raise Fatal(
            "kube-apiserver: --encryption-provider-config-automatic-reload must be set with --encryption-provider-config"
        )
    if values["endpoint-reconciler-type"] not in ("lease", "none"):
        raise Fatal(
            f"kube-apiserver: --endpoint-reconciler-type {values['endpoint-reconciler-type']!r} is neither lease nor none"
        )
    if values["request-timeout"] <= 0:
        raise Fatal("kube-apiserver: --request-timeout must be longer than 0")
    _check_seats(values)
    issuers = values["service-account-issuer"]
    if not issuers or not values["service-account-signing-key-file"]:
        raise Fatal(
            "kube-apiserver: --service-account-issuer and --service-account-signing-key-file must be specified"
        )
    on = enabled(values["feature-gates"], ACTS)
    networks = _networks(values["service-cluster-ip-range"])
    advertised = values["advertise-address"] or _own_address(values["bind-address"], networks[0].version)
    _check_family(advertised, networks)
    return Config(
        values,
        networks,
        advertised,
        issuers,
        values["api-audiences"] or issuers,
        on,
        _kinds(values, on),
    )


def _check_seats(values: Values) -> None:
    reads, writes = values["max-requests-inflight"], values["max-mutating-requests-inflight"]
    for name, value in (("max-requests-inflight", reads), ("max-mutating-requests-inflight", writes)):
        if value < 0:
            raise Fatal(f"kube-apiserver: --{name} can not be negative value")
    if values["enable-priority-and-fairness"] and not reads + writes:
        raise Fatal(
            f"kube-apiserver: invalid configuration: MaxRequestsInFlight={reads} and MaxMutatingRequestsInFlight={writes}; "
            "they must add up to something positive"
        )


def _check_family(advertised: str, networks: Sequence[Network]) -> None:
    """The Service ``kubernetes`` has the first network's family, and its endpoints are the servers' own addresses."""
    try:
        first, own = networks[0].version, ipaddress.ip_address(advertised).version
    except ValueError as problem:
        raise Fatal(f"kube-apiserver: --advertise-address: {problem}") from problem
    if first != own:
        raise Fatal(
            f"kube-apiserver: service IP family IPv{first} must match public address family IPv{own}: give "
            f"--advertise-address an address of IPv{first}, or --service-cluster-ip-range a network of IPv{own} first"
        )


def _kinds(values: Values, gates: frozenset[str]) -> tuple[Kind, ...]:
    for name, value in unusual(values["feature-gates"], ACTS):
        log.warning("Feature gate %s=%s changes nothing here", name, str(value).lower())
    try:
        found = served(values["runtime-config"], gates)
        lacking = tuple(ungated(values["runtime-config"], gates))
    except ValueError as problem:
        raise Fatal(f"kube-apiserver: --runtime-config: {problem}") from problem
    for (group, version), gate in lacking:
        log.warning("%s/%s is not served because the feature gate %s is off", group, version, gate)
    return found


_TOGETHER = (
    ("etcd-certfile", "etcd-keyfile"),
    ("tls-cert-file", "tls-private-key-file"),
    ("kubelet-client-certificate", "kubelet-client-key"),
    ("proxy-client-cert-file", "proxy-client-key-file"),
)


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    try:
        found = tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as problem:
        raise Fatal(f"kube-apiserver: --service-cluster-ip-range: {problem}") from problem
    if not found or len({network.version for network in found}) != len(found):
        raise Fatal("kube-apiserver: --service-cluster-ip-range takes one network, or one of each family")
    return found


def _own_address(bind: str, version: int) -> str:
    """The address that the default route leaves from, when the server listens everywhere."""
    if bind not in ("0.0.0.0", "::", ""):
        return bind
    domain, outside, none = (
        (socket.AF_INET, "192.0.2.1", "127.0.0.1")
        if version == 4
        else (socket.AF_INET6, "2001:db8::1", "::1")
    )
    with socket.socket(domain, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((outside, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return none
