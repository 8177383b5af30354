"""What haproxy shall do, worked out from Ingress objects. Pure.

What is wrong in one rule is a problem of its Ingress and leaves all other rules in force: a backend that cannot be reached
answers 503, a certificate that cannot be used is left out. Where two Ingresses want the same host and path, or another
certificate for a host, the older has it. No text of a user is in the model unless it is known to be a name, a host, or a
path without blanks.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kybern.api.networking_v1 import Ingress, IngressBackend, ServiceBackendPort
from kybern.ingress.certificates import BadCertificate, pair
from kybern.ingress.objects import Key, World, addresses, port_of

REDIRECT = "kybern.io/redirect-https"
ANY = "*"
UNREACHABLE = "unreachable"  # the backend of what cannot be served
NOT_FOUND = "not-found"  # the backend of what nobody asked for
_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_PATH = re.compile(r"/[!-~]*")
# haproxy reads a map by pieces of 16 KiB, and would take what is behind one for another line.
_LONGEST_PATH = 4096


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
    """``hosts`` that it is shown to. ``text`` has the key. ``asked`` is the Ingress that named it first."""

    name: str
    hosts: tuple[str, ...]
    text: str = field(repr=False)
    asked: Key = ("", "")


@dataclass(slots=True)
class Model:
    """``exact`` and ``prefixes``: the backend's name by host and path; a prefix ends with a slash.

    ``rests``: by host, the backend of what no rule has, from the Ingress that has the host; ``default``: that of all others.
    ``shown``: by host, the Ingress whose certificates it is shown.
    """

    exact: dict[tuple[str, str], str] = field(default_factory=dict)
    prefixes: dict[tuple[str, str], str] = field(default_factory=dict)
    rests: dict[str, str] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    shown: dict[str, Key] = field(default_factory=dict)
    default: str = ""
    problems: list[Problem] = field(default_factory=list)

    def leave_out(self, refused: Iterable[Certificate]) -> tuple[Certificate, ...]:
        """What haproxy does not take is shown to nobody, and is a problem of its Ingress; gives those that were there."""
        found = tuple(one for one in refused if self._has(one))
        for one in found:
            asked = self.certificates.pop(one.name).asked
            text = f"TLS secret {one.name.replace('_', '/')} has what haproxy refuses, such as a key that is too short"
            self.problems.append(Problem(asked, "BadSecret", text))
        return found

    def _has(self, one: Certificate) -> bool:
        known = self.certificates.get(one.name)
        return known is not None and known.text == one.text


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
            elif len(path) > _LONGEST_PATH:
                self.problem(
                    "InvalidPath",
                    f"cannot serve a path of {len(path)} characters: {_LONGEST_PATH} are the most",
                )
            else:
                self.route(host, path, kind, self.backend(backend))
        if spec.default_backend is not None:
            self.default(self.backend(spec.default_backend))
        for one in self.certificates():
            self.show(one)

    def default(self, to: str) -> None:
        """For what no rule has: of the Ingress's own hosts, and of all hosts that nobody has where it names none itself."""
        hosts = {rule.host for rule in self.ingress.spec.rules if _HOST.fullmatch(rule.host)}
        taken = [host for host in hosts if self.model.rests.setdefault(host, to) != to]
        if taken:
            self.problem("Conflict", "an older Ingress has the default backend of a host")
        if not self.model.default:
            self.model.default = to
        elif self.model.default != to and not hosts:
            self.problem("Conflict", "an older Ingress has the default backend")

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
        if service.spec.type == "ExternalName":
            # It may name what this machine reaches and the Ingress's owner must not.
            self.problem("InvalidBackend", f"cannot serve service {namespace}/{name}: it is an ExternalName")
            return UNREACHABLE
        asked = wanted.service.port or ServiceBackendPort()
        port = port_of(service, asked)
        if port is None:
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

    def certificates(self) -> Iterator[Certificate]:
        """Those that it names, for the hosts that it names them for."""
        for tls in self.ingress.spec.tls:
            namespace, name = self.key[0], tls.secret_name
            if not name:
                continue  # TLS with the certificate that is for everything else
            secret = self.world.secrets.get((namespace, name))
            if secret is None:
                self.problem("MissingSecret", f"TLS secret {namespace}/{name} does not exist")
                continue
            try:
                found = pair(secret)
            except BadCertificate as problem:
                self.problem("BadSecret", f"TLS secret {namespace}/{name} {problem}")
                continue
            # Written out also where it is for its own names: haproxy would show it for those of others, too.
            hosts = tuple(host for host in tls.hosts or found.names if _HOST.fullmatch(host))
            yield Certificate(f"{namespace}_{name}", hosts, found.text, self.key)

    def show(self, one: Certificate) -> None:
        """To each of its hosts that no older Ingress shows another one to."""
        known = self.model.certificates.get(one.name)
        hosts = set(known.hosts) if known else set[str]()
        for host in one.hosts:
            # Two of one Ingress are for clients of two sorts, such as RSA and ECDSA.
            if host in hosts or self.model.shown.setdefault(host, self.key) == self.key:
                hosts.add(host)
            else:
                self.problem("Conflict", f"{host} is shown another certificate already, by an older Ingress")
        if hosts:
            asked = known.asked if known else self.key
            self.model.certificates[one.name] = Certificate(one.name, tuple(sorted(hosts)), one.text, asked)
