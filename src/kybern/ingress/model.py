"""What haproxy shall do, worked out from Ingress objects. Pure.

What is wrong in one rule is a problem of its Ingress and leaves all other rules in force: a backend that cannot be reached
answers 503, a certificate that cannot be used is left out. Where two Ingresses want the same host and path, the older has
it. No text of a user is in the model unless it is known to be a name, a host, or a path without blanks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from kybern.api.networking_v1 import Ingress, IngressBackend, ServiceBackendPort
from kybern.ingress.certificates import BadCertificate, pem
from kybern.ingress.objects import Key, World, addresses, port_of

REDIRECT = "kybern.io/redirect-https"
ANY = "*"
UNREACHABLE = "unreachable"  # the backend of what cannot be served
NOT_FOUND = "not-found"  # the backend of what nobody asked for
_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_PATH = re.compile(r"/[!-~]*")


@dataclass(frozen=True, slots=True)
class Problem:
    """``reason`` and ``message`` are an event's, about the Ingress named ``key``."""

    key: Key
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Backend:
    name: str
    servers: tuple[tuple[str, int], ...] = ()
    redirects: bool = False


@dataclass(frozen=True, slots=True)
class Certificate:
    """``hosts`` that it is for; none: those that it names itself. ``text`` has the key."""

    name: str
    hosts: tuple[str, ...]
    text: str = field(repr=False)


@dataclass(slots=True)
class Model:
    """``exact`` and ``prefixes``: the backend's name by host and path; a prefix ends with a slash."""

    exact: dict[tuple[str, str], str] = field(default_factory=dict)
    prefixes: dict[tuple[str, str], str] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    default: str = ""
    problems: list[Problem] = field(default_factory=list)


def model(world: World) -> Model:
    """``world.ingresses`` are ours, the oldest first."""
    made = Model()
    for ingress in world.ingresses:
        _Reading(world, made, ingress).read()
    return made


@dataclass(slots=True)
class _Reading:
    """One Ingress, read into the model."""

    world: World
    model: Model
    ingress: Ingress

    @property
    def key(self) -> Key:
        return self.ingress.metadata.namespace, self.ingress.metadata.name

    def problem(self, reason: str, message: str) -> None:
        self.model.problems.append(Problem(self.key, reason, message))

    def read(self) -> None:
        spec = self.ingress.spec
        for host, path, kind, backend in self.rules():
            if not _HOST.fullmatch(host) and host != ANY:
                self.problem("InvalidHost", f"cannot serve host {host!r}: it is no name")
            elif not _PATH.fullmatch(path):
                self.problem(
                    "InvalidPath", f"cannot serve path {path!r}: it has to begin with / and to be ASCII"
                )
            else:
                self.route(host, path, kind, self.backend(backend))
        if spec.default_backend is not None:
            to = self.backend(spec.default_backend)
            if not self.model.default:
                self.model.default = to
            elif self.model.default != to:
                self.problem("Conflict", "an older Ingress has the default backend")
        self.certificates()

    def rules(self) -> Iterator[tuple[str, str, str, IngressBackend]]:
        for rule in self.ingress.spec.rules:
            for path in rule.http.paths if rule.http else ():
                yield rule.host or ANY, path.path or "/", path.path_type, path.backend

    def route(self, host: str, path: str, kind: str, backend: str) -> None:
        table, at = self.model.prefixes, f"{path.rstrip('/')}/"
        if kind == "Exact":
            table, at = self.model.exact, path
        old = table.setdefault((host, at), backend)
        if old != backend:
            shown = "" if host == ANY else host
            self.problem("Conflict", f"{shown}{path} leads elsewhere already, by an older rule")

    def backend(self, wanted: IngressBackend) -> str:
        """The name of the backend, which is in the model afterwards."""
        if wanted.service is None:
            self.problem("InvalidBackend", "cannot serve a backend that is no service")
            return UNREACHABLE
        namespace, name = self.key[0], wanted.service.name
        service = self.world.services.get((namespace, name))
        if service is None:
            self.problem("MissingService", f"service {namespace}/{name} does not exist")
            return UNREACHABLE
        port = port_of(service, wanted.service.port or ServiceBackendPort())
        if service.spec.type == "ExternalName" or port is None or (port.protocol or "TCP") != "TCP":
            asked = wanted.service.port or ServiceBackendPort()
            self.problem(
                "MissingPort", f"service {namespace}/{name} has no TCP port {asked.name or asked.number}"
            )
            return UNREACHABLE
        redirects = self.ingress.metadata.annotations.get(REDIRECT) == "true"
        # Neither name can have an underscore, so no two are the same.
        made = f"{namespace}_{name}_{port.port}{'_https' if redirects else ''}"
        if made not in self.model.backends:
            family = next(iter(service.spec.ip_families), "IPv4")
            servers = addresses(self.world.slices.get((namespace, name), ()), port, family)
            self.model.backends[made] = Backend(made, servers, redirects)
        return made

    def certificates(self) -> None:
        for tls in self.ingress.spec.tls:
            hosts = tuple(host for host in tls.hosts if _HOST.fullmatch(host))
            namespace, name = self.key[0], tls.secret_name
            if not name:
                continue  # TLS with the certificate that is for everything else
            secret = self.world.secrets.get((namespace, name))
            if secret is None:
                self.problem("MissingSecret", f"TLS secret {namespace}/{name} does not exist")
                continue
            try:
                text = pem(secret)
            except BadCertificate as problem:
                self.problem("BadSecret", f"TLS secret {namespace}/{name} {problem}")
                continue
            made = f"{namespace}_{name}"
            known = self.model.certificates.get(made)
            # One that is to be for all its names, by any Ingress, is so.
            both = (*known.hosts, *hosts) if known and known.hosts and hosts else () if known else hosts
            self.model.certificates[made] = Certificate(made, tuple(sorted(set(both))), text)
