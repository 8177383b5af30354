"""Ingress by a real haproxy: where each request ends, TLS, and changes that no client notices."""

import asyncio
import json
import shutil
import ssl
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

from kybern.ingress.certificates import pair
from kybern.ingress.haproxy import CannotApply
from kybern.ingress.model import Certificate
from tests.protocol.haproxy_bed import Balancer, Pod, leading_to, unverified
from tests.unit.ingress.making import endpoint, ingress, secret, service, slice_of

pytestmark = pytest.mark.skipif(
    not shutil.which("haproxy"), reason="needs haproxy: run scripts/setup develop"
)

# What upstream's conformance tests of Ingress ask (path rules, host rules, default backend), and what theirs leave out.
RULES = (
    ("exact.com", "/foo", "Exact", "foo:80"),
    ("exact.com", "/", "Exact", "root:80"),
    ("prefix.com", "/foo", "Prefix", "foo:80"),
    ("slash.com", "/aaa/bbb/", "Prefix", "bbb:80"),
    ("prefix.com", "/aaa/bbb", "Prefix", "bbb:80"),
    ("prefix.com", "/aaa", "Prefix", "aaa:80"),
    ("mixed.com", "/foo", "Prefix", "foo:80"),
    ("mixed.com", "/foo", "Exact", "exact:80"),
    ("mixed.com", "/foo/", "Exact", "slash:80"),
    ("slash.com", "/foo/", "Exact", "slash:80"),
    ("all.com", "/", "Prefix", "root:80"),
    ("any.com", "/x", "ImplementationSpecific", "foo:80"),
    ("*.wild.com", "/", "Prefix", "wild:80"),
    ("foo.wild.com", "/", "Prefix", "foo:80"),
    ("*.part.com", "/", "Prefix", "wild:80"),
    ("foo.part.com", "/only", "Prefix", "foo:80"),
    ("", "/everywhere", "Prefix", "every:80"),
    ("none.com", "/", "Prefix", "none:80"),
    ("gone.com", "/", "Prefix", "gone:80"),
)
SERVICES = ("foo", "root", "bbb", "aaa", "exact", "slash", "wild", "every", "default")
ASKED = [
    ("exact.com", "/foo", "foo"),
    ("exact.com", "/foo?q=/bar", "foo"),
    ("exact.com", "/foo/", "default"),
    ("exact.com", "/FOO", "default"),
    ("exact.com", "/", "root"),
    ("exact.com", "/bar", "default"),
    ("EXACT.com", "/foo", "foo"),
    ("exact.com:8080", "/foo", "foo"),
    ("prefix.com", "/foo", "foo"),
    ("prefix.com", "/foo/", "foo"),
    ("prefix.com", "/foo/bar", "foo"),
    ("prefix.com", "/foobar", "default"),
    ("prefix.com", "/f", "default"),
    ("prefix.com", "/FOO", "default"),
    ("prefix.com", "/aaa/bbb", "bbb"),
    ("prefix.com", "/aaa/bbb/", "bbb"),
    ("prefix.com", "/aaa/bbb/ccc", "bbb"),
    ("prefix.com", "/aaa/bbbxyz", "aaa"),
    ("prefix.com", "/aaa/ccc", "aaa"),
    ("prefix.com", "/aaaccc", "default"),
    ("prefix.com", "/aaa", "aaa"),
    ("slash.com", "/aaa/bbb", "bbb"),
    ("slash.com", "/aaa/bbb/ccc", "bbb"),
    ("slash.com", "/aaa/bbb/", "bbb"),
    ("slash.com", "/aaa/bb", "default"),
    ("slash.com", "/foo/", "slash"),
    ("slash.com", "/foo", "default"),
    ("mixed.com", "/foo", "exact"),
    ("mixed.com", "/foo/", "slash"),
    ("mixed.com", "/foo/bar", "foo"),
    ("all.com", "/", "root"),
    ("all.com", "/anything/at/all", "root"),
    ("any.com", "/x/y", "foo"),
    ("any.com", "/xy", "default"),
    ("a.wild.com", "/", "wild"),
    ("foo.wild.com", "/", "foo"),
    ("a.b.wild.com", "/", "default"),
    ("wild.com", "/", "default"),
    ("awild.com", "/", "default"),
    ("foo.part.com", "/only", "foo"),
    ("foo.part.com", "/other", "wild"),
    ("bar.part.com", "/only", "wild"),
    ("unknown.com", "/everywhere/x", "every"),
    ("prefix.com", "/everywhere", "every"),
    ("unknown.com", "/", "default"),
    ("none.com", "/", "503"),
    ("gone.com", "/", "503"),
    ("exact.com#/foo", "/", "400"),
]


# Keys that OpenSSL's security level of Debian does not take, and one that it does.
KEYS: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {
    "short": rsa.generate_private_key(65537, 1024),
    "curve": ec.generate_private_key(ec.SECP192R1()),
    "fine": ec.generate_private_key(ec.SECP384R1()),
}


@pytest.fixture
async def balancer(tmp_path: Path) -> AsyncIterator[Balancer]:
    made = Balancer(tmp_path)
    yield made
    await made.stop()


@pytest.fixture
async def pods() -> AsyncIterator[dict[str, Pod]]:
    made = {name: Pod(name) for name in SERVICES}
    for pod in made.values():
        await pod.start()
    yield made
    for pod in made.values():
        await pod.stop()


def objects(pods: dict[str, Pod]) -> list[Any]:
    found: list[Any] = [service(name) for name in (*pods, "none")]
    for name, pod in pods.items():
        found += leading_to(name, pod)
    return found


async def test_every_request_ends_where_its_host_and_path_say(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    await balancer.apply(ingress("rules", *RULES), ingress("rest", default="default:80"), *objects(pods))

    wrong = {
        (host, path): (found, wanted)
        for host, path, wanted in ASKED
        if (found := await balancer.pod(host, path)) != wanted
    }
    assert wrong == {}


async def test_without_a_default_backend_what_nobody_asked_for_is_not_found(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    await balancer.apply(ingress("rules", *RULES), *objects(pods))

    assert await balancer.pod("unknown.com", "/") == "404"
    await balancer.apply()
    assert await balancer.pod("prefix.com", "/foo") == "404"


async def test_a_pod_hears_who_asked_and_not_what_the_client_says_of_itself(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    await balancer.apply(ingress("rules", *RULES), *objects(pods))

    _, _, body = await balancer.get(
        "all.com", "/", X_Forwarded_For="6.6.6.6", X_Forwarded_Proto="gopher", Forwarded="x"
    )
    heard = json.loads(body)
    _, _, body = await balancer.get("all.com", "/", tls=True)

    assert (heard["host"], heard["x-forwarded-for"], heard["x-real-ip"]) == (
        "all.com",
        "127.0.0.1",
        "127.0.0.1",
    )
    assert (heard["x-forwarded-proto"], heard["x-forwarded-port"]) == ("http", str(balancer.http))
    assert (heard["x-forwarded-host"], "forwarded" in heard) == ("all.com", False)
    assert json.loads(body)["x-forwarded-proto"] == "https"


async def test_a_default_backend_alone_gets_every_request_as_it_was_sent(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    await balancer.apply(ingress("all", default="default:80"), *objects(pods))

    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        for host, path in (("my-host", "/"), ("some-host", "/resource"), ("", "/sub/path?q=1")):
            status, _, body = await balancer.get(host, path, method=method, User_Agent="asker/1")
            heard = json.loads(body)
            assert (status, heard["pod"], heard["method"], heard["path"]) == (200, "default", method, path)
            assert (heard["host"], heard["user-agent"]) == (host, "asker/1")


async def test_a_path_that_matched_reaches_the_pod_unchanged(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    await balancer.apply(ingress("rules", *RULES), *objects(pods))

    for path in ("/aaa/bbb/", "/aaa/bbb/ccc", "/aaa/bbb/%2F..%20x?y=z"):
        _, _, body = await balancer.get("prefix.com", path)
        assert (json.loads(body)["pod"], json.loads(body)["path"]) == ("bbb", path)


async def test_a_port_is_found_by_its_name_and_a_client_that_verifies_is_content(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    own = secret("own", "foo.bar.com")
    await balancer.apply(
        ingress("i", ("foo.bar.com", "/", "Prefix", "foo:web"), tls=(("own", ("foo.bar.com",)),)),
        own,
        *objects(pods),
    )
    knowing = ssl.create_default_context(cadata=b64decode(own.data["tls.crt"]).decode())

    status, _, body = await balancer.get("foo.bar.com", "/", tls=knowing)

    assert (status, json.loads(body)["pod"]) == (200, "foo")
    with pytest.raises(ssl.SSLCertVerificationError):
        await balancer.get("other.com", "/", tls=knowing)


async def test_load_is_shared_by_all_endpoints(balancer: Balancer, pods: dict[str, Pod]) -> None:
    three = [pods[name] for name in ("foo", "aaa", "bbb")]
    await balancer.apply(
        ingress("i", ("x.com", "/", "Prefix", "all:80")), service("all"), *leading_to("all", *three)
    )

    counted = Counter([await balancer.pod("x.com", "/") for _ in range(30)])

    assert counted == {"foo": 10, "aaa": 10, "bbb": 10}


async def test_an_endpoint_that_is_gone_is_not_the_clients_concern(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    both = [pods["foo"], pods["aaa"]]
    await balancer.apply(
        ingress("i", ("x.com", "/", "Prefix", "all:80")), service("all"), *leading_to("all", *both)
    )
    await pods["aaa"].stop()

    assert {await balancer.pod("x.com", "/") for _ in range(10)} == {"foo"}


async def served(balancer: Balancer, host: str) -> set[str]:
    """The names in the certificate that a client is shown for a host."""
    _reader, writer = await asyncio.open_connection(
        "127.0.0.1", balancer.https, ssl=unverified(), server_hostname=host
    )
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
    names = x509.load_der_x509_certificate(shown).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return set(names.value.get_values_for_type(x509.DNSName))


async def test_a_host_is_shown_its_certificate_and_a_new_one_as_soon_as_there_is_one(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    tls = (("one", ("x.com",)), ("many", ("*.y.com",)))
    both = ingress("i", ("x.com", "/", "Prefix", "foo:80"), ("a.y.com", "/", "Prefix", "aaa:80"), tls=tls)
    rest = [secret("many", "*.y.com", "y.com"), *objects(pods)]
    await balancer.apply(both, secret("one", "x.com"), *rest)

    assert await served(balancer, "x.com") == {"x.com"}
    assert await served(balancer, "a.y.com") == {"*.y.com", "y.com"}
    assert await served(balancer, "other.com") == {"default.invalid"}
    assert await balancer.pod("x.com", "/", tls=True) == "foo"
    assert await balancer.pod("a.y.com", "/", tls=True) == "aaa"
    keys = list(balancer.configurations.rglob("*.pem"))
    assert {one.stat().st_mode & 0o777 for one in keys} == {0o600}

    await balancer.apply(both, secret("one", "x.com", "new.com"), *rest)
    assert await served(balancer, "x.com") == {"x.com", "new.com"}
    assert len(list(balancer.configurations.rglob("a_one.pem"))) == 1, "the old key is gone"


async def test_old_versions_of_tls_are_refused(balancer: Balancer) -> None:
    await balancer.apply()
    old = unverified()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", balancer.https, ssl=old, server_hostname="x.com")


async def test_a_client_is_sent_to_https_where_the_ingress_says_so(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    safe = ingress("safe", ("safe.com", "/", "Prefix", "foo:80"), redirect_https="true")
    plain = ingress("plain", ("plain.com", "/", "Prefix", "foo:80"))
    await balancer.apply(safe, plain, *objects(pods))

    status, headers, _ = await balancer.get("safe.com", "/a?b=c")

    assert (status, headers["location"]) == (308, "https://safe.com/a?b=c")
    assert await balancer.pod("safe.com", "/", tls=True) == "foo"
    assert await balancer.pod("plain.com", "/") == "foo"


async def test_health_and_metrics_are_served_beside(balancer: Balancer) -> None:
    await balancer.apply()
    balancer.http = balancer.health

    assert (await balancer.get("x", "/healthz"))[0] == 200
    assert "haproxy_frontend_http_requests_total" in (await balancer.get("x", "/metrics"))[2]
    assert (await balancer.get("x", "/other"))[0] == 404


async def test_what_haproxy_refuses_changes_nothing(balancer: Balancer, pods: dict[str, Pod]) -> None:
    digest = await balancer.apply(ingress("rules", *RULES), *objects(pods))
    broken = balancer.haproxy.write("broken", {"haproxy.cfg": "frontend x\n    nonsense\n"})

    with pytest.raises(CannotApply, match="nonsense"):
        await balancer.haproxy.check(broken)

    assert await balancer.haproxy.running() == digest
    assert await balancer.pod("prefix.com", "/foo") == "foo"


async def test_ten_changes_under_load_fail_no_request(balancer: Balancer, pods: dict[str, Pod]) -> None:
    rules, rest = ingress("rules", *RULES), objects(pods)
    await balancer.apply(rules, *rest)
    failed: Counter[str] = Counter()
    sent, ends = 0, False

    async def ask(path: str) -> None:
        nonlocal sent
        while not ends:
            sent += 1
            try:
                found = await balancer.pod("all.com", path)
            except (OSError, TimeoutError, ValueError, IndexError) as problem:
                found = type(problem).__name__
            if found != "root":
                failed[found] += 1

    async with asyncio.TaskGroup() as tasks:
        for path in ("/", "/a", "/b", "/slow"):
            tasks.create_task(ask(path))
        for change in range(10):
            await balancer.apply(rules, ingress("more", (f"x{change}.com", "/", "Prefix", "foo:80")), *rest)
            assert await balancer.pod(f"x{change}.com", "/") == "foo"
        ends = True

    print(f"{sent} requests during 10 reloads, failed: {dict(failed)}")  # noqa: T201  # what the test measures
    assert sent > 200
    assert failed == {}


async def test_of_many_certificates_those_that_haproxy_refuses_are_found(balancer: Balancer) -> None:
    def signed(name: str) -> Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = (
            x509.CertificateBuilder(subject, subject, KEYS[name].public_key(), x509.random_serial_number())
            .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2126, 1, 1, tzinfo=UTC))
            .sign(KEYS[name], hashes.SHA256())
        )
        key = KEYS[name].private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        read = pair(secret(name, "x.com", tls_crt=made.public_bytes(Encoding.PEM), tls_key=key))
        return Certificate(f"a_{name}", read.names, read.text)

    certificates = [signed(name) for name in ("fine", "short", "curve", "fine")]

    assert [one.name for one in await balancer.haproxy.refused(certificates)] == ["a_short", "a_curve"]
    assert await balancer.haproxy.refused([certificates[0]]) == ()
    assert list(balancer.configurations.iterdir()) == [], "keys of a trial do not stay"


async def test_no_path_reaches_the_next_line_of_a_map_and_any_number_of_hosts_is_taken(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    """A map is read by pieces of 16 KiB: what a long path has behind one would be a route of somebody else's."""
    stolen = "all.com#/"
    sly = f"/{'a' * (16383 - len('evil.com#/'))}{stolen}"
    hosts = tuple(f"host-{number}.example.com" for number in range(3000))
    await balancer.apply(
        ingress("evil", ("evil.com", sly, "Exact", "aaa:80"), ("evil.com", "/", "Prefix", "aaa:80"), age=1),
        ingress("many", ("all.com", "/", "Prefix", "root:80"), tls=(("cert", hosts),), age=2),
        secret("cert", "*.example.com"),
        *objects(pods),
    )

    assert await balancer.pod("evil.com", "/") == "aaa"
    assert await balancer.pod("all.com", "/") == "root"
    assert await served(balancer, hosts[-1]) == {"*.example.com"}


async def test_what_a_host_has_no_rule_for_goes_to_the_default_of_its_own_ingress(
    balancer: Balancer, pods: dict[str, Pod]
) -> None:
    await balancer.apply(
        ingress("all", default="default:80", age=2),
        ingress("own", ("own.com", "/a", "Prefix", "aaa:80"), ("*.own.com", "/b", "Exact", "bbb:80"), default="root:80"),
        *objects(pods),
    )  # fmt: skip

    asked = {
        ("own.com", "/a"): "aaa",
        ("own.com", "/b"): "root",
        ("x.own.com", "/b"): "bbb",
        ("x.own.com", "/c"): "root",
        ("a.b.own.com", "/c"): "default",
        ("other.com", "/"): "default",
    }
    assert {key: await balancer.pod(*key) for key in asked} == asked


@pytest.mark.parametrize(("method", "times"), [("POST", 1), ("PATCH", 1), ("GET", 4)])
async def test_what_may_have_been_done_is_not_done_again(balancer: Balancer, method: str, times: int) -> None:
    heard = 0

    async def take_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        await reader.readuntil(b"\r\n\r\n")
        heard += 1
        writer.close()

    async with await asyncio.start_server(take_and_hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await balancer.apply(
            ingress("i", ("x.com", "/", "Prefix", "web:80")),
            service("web"),
            slice_of("web", endpoint("127.0.0.1", ready=True), port=port),
        )
        status, _, _ = await balancer.get("x.com", "/", method=method)

    assert (status, heard) == (502, times)
