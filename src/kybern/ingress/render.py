"""haproxy's files out of the model. Pure: the same model gives the same bytes.

    haproxy.cfg    two frontends, one backend for each port of a service
    exact.map      HOST#PATH   BACKEND
    prefix.map     HOST#PATH/  BACKEND   looked up with a slash after the request's path: so a prefix ends between elements
    rest.map       HOST        BACKEND   of what has a host's name and no rule
    certs.list     which certificate is for which names; the first is for all others
    NAME.pem       certificates with their keys

A request's host is looked up as it is, then with its first label as a star, then as a star alone; each time first among
exact paths and then among prefixes, the longest of which counts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from itertools import batched

from kybern.ingress.model import NOT_FOUND, UNREACHABLE, Backend, Certificate, Model

CONFIGURATION = "haproxy.cfg"
_IPV6 = 6
_LINE = 50  # names in a line of certs.list; haproxy refuses one of more than 2,000, or of 64 KiB
_LONGEST_NAME = (
    200  # of a file, without its hash and ending; a secret's and a namespace's are longer together
)


@dataclass(frozen=True, slots=True)
class Place:
    """What is this machine's: ports, sockets, users. ``folder`` is where the files will be, but for the configuration."""

    http: str = ":80"
    https: str = ":443"
    health: str = ":10254"
    control: str = "/run/kybern-ingress/haproxy.sock"
    control_user: str = ""  # who may ask by it; empty: who runs haproxy
    user: str = ""  # whom haproxy becomes; empty: it stays who it is
    # Open files at most, two for each connection: haproxy takes as many connections as it may open files, and no more
    # than this. A fixed number of connections stops it where the machine allows fewer files.
    files: int = 40000
    default_certificate: str = ""  # PEM, with its key


def files(model: Model, place: Place, folder: str) -> tuple[str, Mapping[str, str]]:
    """A name for all that is in the files, and the files by name. They name each other below ``folder``/that name."""
    made = {
        "exact.map": _map(model.exact),
        "prefix.map": _map(model.prefixes),
        "default.pem": place.default_certificate,
        "rest.map": "".join(f"{host} {backend}\n" for host, backend in sorted(model.rests.items())),
        **{_file(one): one.text for one in model.certificates.values()},
    }
    named = {**made, "backends": "".join(_backends(model)), "place": repr(place), "list": repr(_hosts(model))}
    # What a digest shows of a key is nothing.
    digest = sha256(repr(sorted(named.items())).encode() + model.default.encode()).hexdigest()[:16]
    where = f"{folder}/{digest}"
    made["certs.list"] = "".join(f"{line}\n" for line in _list(model, where))
    made[CONFIGURATION] = "".join(
        (*_head(place, digest), *_frontends(model, place, where), *_backends(model))
    )
    return digest, made


def trial(certificates: Iterable[Certificate], where: str) -> Mapping[str, str]:
    """Files of a configuration below ``where`` that has certificates and nothing else: to see whether haproxy takes them."""
    made = {_file(one): one.text for one in certificates}
    made["certs.list"] = "".join(f"{where}/{name}\n" for name in made)
    made[CONFIGURATION] = (
        "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n"
        f"frontend trial\n    bind 127.0.0.1:1 ssl crt-list {where}/certs.list\n"  # seen, and not bound
    )
    return made


def _map(routes: Mapping[tuple[str, str], str]) -> str:
    return "".join(f"{host}#{path} {backend}\n" for (host, path), backend in sorted(routes.items()))


def _hosts(model: Model) -> list[tuple[str, tuple[str, ...]]]:
    return sorted((one.name, one.hosts) for one in model.certificates.values())


def _list(model: Model, where: str) -> Iterator[str]:
    yield f"{where}/default.pem"
    for one in sorted(model.certificates.values(), key=_by_name):
        for hosts in batched(one.hosts, _LINE):
            yield " ".join((f"{where}/{_file(one)}", *hosts))


def _file(one: Certificate) -> str:
    name = one.name
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}_{sha256(name.encode()).hexdigest()[:16]}"
    return f"{name}.pem"


def _by_name(one: Certificate) -> str:
    return one.name


def _head(place: Place, digest: str) -> Iterator[str]:
    yield "# Written by kybern-ingress.\nglobal\n"
    yield f"    description {digest}\n    log stdout format raw local0 warning\n    fd-hard-limit {place.files}\n"
    if place.user:
        yield f"    user {place.user}\n    group {place.user}\n"
    owner = f" user {place.control_user}" if place.control_user else ""
    # The next process takes over the listening sockets by this: no connection is refused in between.
    yield f"    stats socket {place.control}{owner} mode 600 level admin expose-fd listeners\n"
    yield "    hard-stop-after 5m\n    ssl-default-bind-options ssl-min-ver TLSv1.2\n"
    yield (
        "\ndefaults\n    log global\n    mode http\n    option dontlognull\n    timeout connect 2s\n"
        "    timeout client 60s\n    timeout server 60s\n    timeout tunnel 1h\n    timeout http-request 10s\n"
        "    timeout http-keep-alive 60s\n    timeout queue 10s\n"
        # An endpoint that has just gone is not the client's concern.
        "    retries 3\n    retry-on conn-failure empty-response\n    option redispatch 1\n"
    )


def _frontends(model: Model, place: Place, where: str) -> Iterator[str]:
    yield f"\nfrontend health\n    bind {place.health}\n    monitor-uri /healthz\n"
    yield "    http-request use-service prometheus-exporter if { path /metrics }\n    http-request return status 404\n"
    yield f"\nfrontend web\n    bind {place.http}\n"
    yield f"    bind {place.https} ssl crt-list {where}/certs.list alpn h2,http/1.1\n"
    yield from (f"    {line}\n" for line in _forwarded())
    # What may have been done already must not be done again: only a connection that was not made is tried anew.
    yield "    http-request disable-l7-retry unless { method GET HEAD OPTIONS TRACE PUT DELETE }\n"
    yield from (f"    {line}\n" for line in _lookups(where))
    yield "    use_backend %[var(txn.to)] if { var(txn.to) -m found }\n"
    yield f"    default_backend {model.default or NOT_FOUND}\n"


def _forwarded() -> Iterator[str]:
    """What a client says of itself is replaced: only what this machine saw is told."""
    yield "http-request del-header Forwarded"
    yield "http-request set-header X-Forwarded-For %[src]"
    yield "http-request set-header X-Real-IP %[src]"
    yield "http-request set-header X-Forwarded-Host %[req.hdr(host)]"
    yield "http-request set-header X-Forwarded-Port %[dst_port]"
    yield "http-request set-header X-Forwarded-Proto http if !{ ssl_fc }"
    yield "http-request set-header X-Forwarded-Proto https if { ssl_fc }"


def _lookups(where: str) -> Iterator[str]:
    yield "http-request set-var(txn.path) path"
    yield "http-request set-var(txn.host) req.hdr(host),host_only,lower"
    yield "http-request deny deny_status 400 if { var(txn.host) -m sub '#' }"
    yield "http-request set-var(txn.wild) var(txn.host),regsub(^[^.]*,*)"
    yield "http-request set-var(txn.any) str(*)"
    unless = "unless { var(txn.to) -m found }"
    for host in ("host", "wild", "any"):
        yield f"http-request set-var(txn.key) var(txn.{host}),concat(\\#,txn.path) {unless}"
        yield f"http-request set-var(txn.to) var(txn.key),map_str({where}/exact.map) {unless}"
        yield f"http-request set-var(txn.to) var(txn.key),concat(/),map_beg({where}/prefix.map) {unless}"
    for host in ("host", "wild"):
        yield f"http-request set-var(txn.to) var(txn.{host}),map_str({where}/rest.map) {unless}"


def _backends(model: Model) -> Iterator[str]:
    yield f"\nbackend {NOT_FOUND}\n    http-request return status 404 content-type text/plain string 'not found'\n"
    yield f"\nbackend {UNREACHABLE}\n    http-request return status 503 content-type text/plain string 'no backend'\n"
    for _, one in sorted(model.backends.items()):
        yield from _backend(one)


def _backend(one: Backend) -> Iterator[str]:
    yield f"\nbackend {one.name}\n    balance roundrobin\n"
    if one.redirects:
        yield "    http-request redirect scheme https code 308 unless { ssl_fc }\n"
    for address, port in one.servers:
        shown = f"[{address}]" if ip_address(address).version == _IPV6 else address
        yield f"    server {address.replace(':', '-')}_{port} {shown}:{port}\n"
