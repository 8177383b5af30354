"""What is made of Ingresses, and what is told of those that are wrong."""

import random
from base64 import b64decode
from typing import Any

import pytest

from kybern.api.networking_v1 import IngressRule
from kybern.ingress.model import model
from kybern.ingress.render import Place, files
from kybern.machinery.struct import replace
from tests.unit.ingress.making import endpoint, ingress, secret, service, slice_of, world

WEB = service("web")


def problems(*objects: Any) -> list[tuple[str, str]]:
    return [(one.reason, one.message) for one in model(world(*objects)).problems]


@pytest.mark.parametrize(
    ("line", "table", "key"),
    [
        (("x.com", "/a", "Exact", "web:80"), "exact", ("x.com", "/a")),
        (("x.com", "/a/", "Exact", "web:80"), "exact", ("x.com", "/a/")),
        (("x.com", "/a", "Prefix", "web:80"), "prefixes", ("x.com", "/a/")),
        (("x.com", "/a/", "Prefix", "web:80"), "prefixes", ("x.com", "/a/")),
        (("x.com", "/", "Prefix", "web:80"), "prefixes", ("x.com", "/")),
        (("x.com", "/a", "ImplementationSpecific", "web:80"), "prefixes", ("x.com", "/a/")),
        (("x.com", "", "ImplementationSpecific", "web:80"), "prefixes", ("x.com", "/")),
        (("*.x.com", "/", "Prefix", "web:80"), "prefixes", ("*.x.com", "/")),
        (("", "/", "Prefix", "web:80"), "prefixes", ("*", "/")),
        (("x.com", "/", "Prefix", "web:web"), "prefixes", ("x.com", "/")),
        (("x.com", f"/{'a' * 4095}", "Exact", "web:80"), "exact", ("x.com", f"/{'a' * 4095}")),
    ],
)
def test_a_rule_is_a_route(line: Any, table: str, key: tuple[str, str]) -> None:
    made = model(world(ingress("i", line), WEB))

    assert getattr(made, table) == {key: "a_web_80"}
    assert made.problems == []


@pytest.mark.parametrize(
    ("one", "reason", "told"),
    [
        (
            ingress("i", ("x.com", "/", "Prefix", "gone:80")),
            "MissingService",
            "service a/gone does not exist",
        ),
        (ingress("i", ("x.com", "/", "Prefix", "web:81")), "MissingPort", "has no TCP port 81"),
        (ingress("i", ("x.com", "/", "Prefix", "web:http")), "MissingPort", "has no TCP port http"),
        (ingress("i", ("x.com", "/", "Prefix", "web:dns")), "MissingPort", "has no TCP port dns"),
        (ingress("i", ("x.com", "/", "Prefix", "out:80")), "InvalidBackend", "a/out: it is an ExternalName"),
        (ingress("i", default="gone:80"), "MissingService", "service a/gone does not exist"),
        (ingress("i", tls=(("gone", ("x.com",)),)), "MissingSecret", "TLS secret a/gone does not exist"),
        (ingress("i", tls=(("empty", ("x.com",)),)), "BadSecret", "has no tls.key"),
        (ingress("i", tls=(("noise", ("x.com",)),)), "BadSecret", "has no certificate in tls.crt"),
        (ingress("i", tls=(("mixed", ("x.com",)),)), "BadSecret", "has a tls.key that does not belong"),
        (ingress("i", ("x.com", "/a b", "Prefix", "web:80")), "InvalidPath", "cannot serve path '/a b'"),
        (ingress("i", ("x.com", "/a\nb", "Prefix", "web:80")), "InvalidPath", "cannot serve path"),
        (ingress("i", ("x.com", f"/{'a' * 4096}", "Prefix", "web:80")), "InvalidPath", "a path of 4097"),
        (ingress("i", tls=(("broken", ("x.com",)),)), "BadSecret", "has no certificate in tls.crt"),
        (ingress("i", ("x.com\n", "/", "Prefix", "web:80")), "InvalidHost", "cannot serve host"),
        (ingress("i", ("*.*.com", "/", "Prefix", "web:80")), "InvalidHost", "cannot serve host"),
    ],
)
def test_what_is_wrong_is_told_and_stops_no_other_rule(one: Any, reason: str, told: str) -> None:
    good = ingress("good", ("y.com", "/", "Prefix", "web:80"), tls=(("right", ("y.com",)),), age=9)
    other = secret("mixed", "x.com", tls_key=secret_key("z.com"))
    rest = (
        secret("right", "y.com"),
        secret("empty", "x.com", tls_key=b""),
        secret("noise", "x.com", tls_crt=b"?"),
        secret("broken", "x.com", tls_crt=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    )

    made = model(world(one, good, WEB, service("out", type="ExternalName"), other, *rest))

    assert [(found.key, found.reason) for found in made.problems] == [(("a", "i"), reason)]
    assert told in made.problems[0].message
    assert "PRIVATE" not in made.problems[0].message
    assert made.prefixes["y.com", "/"] == "a_web_80"
    assert list(made.certificates) == ["a_right"]


def secret_key(name: str) -> bytes:
    from tests.unit.ingress.making import certificate

    return certificate(name)[1]


def test_of_two_that_want_the_same_the_older_has_it() -> None:
    young = ingress("young", ("x.com", "/", "Prefix", "web:80"), default="web:80", age=1)
    old = ingress("old", ("x.com", "/", "Prefix", "api:80"), default="api:80", age=2)

    made = model(world(young, old, WEB, service("api")))

    assert (made.prefixes["x.com", "/"], made.default) == ("a_api_80", "a_api_80")
    assert [(one.key[1], one.reason) for one in made.problems] == [("young", "Conflict")] * 2


@pytest.mark.parametrize(
    ("class_", "served"), [("kybern", True), ("other", False), ("", False), ("none", False)]
)
def test_only_the_class_s_own_are_served(class_: str, *, served: bool) -> None:
    made = model(world(ingress("i", ("x.com", "/", "Prefix", "web:80"), class_=class_), WEB))

    assert bool(made.prefixes) == served


READY, UNSAID = endpoint("10.1.0.1", ready=True), endpoint("10.1.0.2")
SICK, ENDING = endpoint("10.1.0.3", ready=False), endpoint("10.1.0.4", ready=False, serving=True, ending=True)


@pytest.mark.parametrize(
    ("endpoints", "servers"),
    [
        ((READY, UNSAID, SICK, ENDING), {"10.1.0.1", "10.1.0.2"}),
        ((SICK, ENDING), {"10.1.0.4"}),
        ((SICK,), set()),
        ((), set()),
    ],
)
def test_the_endpoints_that_are_ready_are_asked_and_else_those_that_end(
    endpoints: Any, servers: set[str]
) -> None:
    one = ingress("i", ("x.com", "/", "Prefix", "web:80"))
    other = slice_of("web", endpoint("fd00::1", ready=True), family="IPv6")

    made = model(world(one, WEB, slice_of("web", *endpoints), other))

    assert set(made.backends["a_web_80"].servers) == {(address, 8080) for address in servers}


def test_a_certificate_is_for_the_hosts_of_all_that_name_it() -> None:
    some = ingress("a", tls=(("cert", ("x.com",)),))
    more = ingress("b", tls=(("cert", ("*.y.com", "x.com")),))
    every = ingress("c", tls=(("cert", ()),))
    cert = secret("cert", "x.com", "*.y.com")

    assert model(world(some, more, cert)).certificates["a_cert"].hosts == ("*.y.com", "x.com")
    assert model(world(every, cert)).certificates["a_cert"].hosts == ("*.y.com", "x.com"), "as it says itself"


def test_a_host_is_shown_the_certificate_of_the_oldest_ingress_alone() -> None:
    """Else anybody's certificate could be shown for anybody's host, which its clients refuse."""
    old = ingress("old", tls=(("mine", ("x.com",)), ("other", ("x.com",))), age=2)
    named = ingress("named", tls=(("theirs", ("x.com", "y.com")),), age=1)
    unnamed = ingress("unnamed", tls=(("every", ()),))
    secrets = (
        secret("mine", "x.com"),
        secret("other", "x.com"),
        secret("theirs", "x.com", "y.com"),
        secret("every", "x.com", "y.com"),
    )

    made = model(world(unnamed, named, old, *secrets))

    shown = {name: one.hosts for name, one in made.certificates.items()}
    assert shown == {"a_mine": ("x.com",), "a_other": ("x.com",), "a_theirs": ("y.com",)}
    assert [(one.key[1], one.reason, one.message.split()[0]) for one in made.problems] == [
        ("named", "Conflict", "x.com"),
        ("unnamed", "Conflict", "x.com"),
        ("unnamed", "Conflict", "y.com"),
    ]


def test_of_a_secret_only_its_certificates_and_its_key_are_handed_on() -> None:
    own = secret("cert", "x.com")
    chain, key = (b64decode(own.data[name]) for name in ("tls.crt", "tls.key"))
    noisy = secret(
        "cert", "x.com", tls_crt=b"\xff\xfe words\n" + chain + b"# more\n", tls_key=b"\xff\n" + key
    )
    one = ingress("a", tls=(("cert", ("x.com",)),))

    made = model(world(one, noisy))

    assert made.problems == []
    assert made.certificates["a_cert"].text == model(world(one, own)).certificates["a_cert"].text


def test_what_has_a_hosts_name_and_no_rule_goes_to_the_default_of_the_ingress_that_has_it() -> None:
    every = ingress("every", default="every:80", age=3)
    own = ingress("own", ("x.com", "/a", "Prefix", "web:80"), default="api:80", age=2)
    bare = replace(own, spec=replace(own.spec, rules=(IngressRule(host="y.com"),)))
    late = ingress("late", ("x.com", "/b", "Prefix", "web:80"), default="web:80", age=1)
    services = (WEB, service("api"), service("every"))

    made = model(world(every, own, late, *services))

    assert (made.rests, made.default) == ({"x.com": "a_api_80"}, "a_every_80")
    assert [(one.key[1], one.reason) for one in made.problems] == [("late", "Conflict")]
    assert model(world(bare, *services)).rests == {"y.com": "a_api_80"}


def test_udp_of_the_same_number_is_passed_over() -> None:
    made = model(world(ingress("i", ("x.com", "/", "Prefix", "web:53")), WEB))

    assert (list(made.backends), made.problems) == (["a_web_53"], [])


def test_the_same_objects_in_any_order_make_the_same_files_and_any_change_others() -> None:
    objects: list[Any] = [
        ingress("a", ("x.com", "/", "Prefix", "web:80"), tls=(("cert", ("x.com",)),)),
        ingress("b", ("x.com", "/b", "Exact", "api:80"), redirect_https="true"),
        WEB,
        service("api"),
        slice_of("web", READY, UNSAID),
        secret("cert", "x.com"),
    ]
    first = files(model(world(*objects)), Place(), "/f")
    for seed in range(20):
        random.Random(seed).shuffle(objects)
        assert files(model(world(*objects)), Place(), "/f") == first
    digests = {first[0]}
    for change in (
        ingress("c", ("x.com", "/c", "Exact", "api:80")),
        ingress("c", default="api:80"),
        slice_of("api", READY),
        ingress("c", tls=(("cert", ("y.com",)),)),
    ):
        digests.add(files(model(world(*objects, change)), Place(), "/f")[0])
    assert len(digests) == 5


def test_any_secrets_name_and_any_number_of_hosts_can_be_written() -> None:
    name, hosts = "n" * 253, tuple(f"h{number}.example.com" for number in range(5000))
    one = ingress("a", tls=((name, hosts),), namespace="a")
    _, written = files(model(world(one, secret(name, "x.com"))), Place(), "/f")

    assert max(map(len, written)) <= 255, "the longest name that a file may have"
    lines = written["certs.list"].splitlines()
    assert max(map(len, lines)) < 16384
    assert {host for line in lines for host in line.split()[1:]} == set(hosts)


def test_keys_are_in_the_files_of_certificates_alone() -> None:
    made = model(world(ingress("a", tls=(("cert", ("x.com",)),)), secret("cert", "x.com")))
    _, written = files(made, Place(), "/f")

    assert [name for name, text in written.items() if "PRIVATE KEY" in text] == ["a_cert.pem"]
    assert "PRIVATE" not in repr(made)
