"""Plugins that hardening guides ask for, off by default: AlwaysPullImages, DenyServiceExternalIPs, EventRateLimit."""

from typing import Any

import pytest

from kybern.admission.chain import chain
from kybern.admission.plugins import always_pull_images, deny_service_external_ips, event_rate_limit
from kybern.auth.user import User
from kybern.machinery.errors import TooManyRequests
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import admitted, named, write

PULL, EXTERNAL = always_pull_images.PLUGIN, deny_service_external_ips.PLUGIN


def pod(policy: str, image: str = "a:1") -> Raw:
    container = {"name": "c", "image": image, "imagePullPolicy": policy}
    volumes = [
        {"name": "v", "image": {"reference": "b:1", "pullPolicy": policy}},
        {"name": "e", "emptyDir": {}},
    ]
    return named(
        "p", spec={"containers": [dict(container)], "initContainers": [dict(container)], "volumes": volumes}
    )


def policies(found: Raw) -> list[str]:
    spec = found["spec"]
    own = [one["imagePullPolicy"] for one in (*spec["initContainers"], *spec["containers"])]
    return [*own, spec["volumes"][0]["image"]["pullPolicy"]]


@pytest.mark.parametrize(
    ("operation", "old", "left"),
    [
        ("CREATE", None, "Always"),
        ("UPDATE", pod("IfNotPresent"), "IfNotPresent"),
        ("UPDATE", pod("IfNotPresent", "a:2"), "Always"),
    ],
)
async def test_images_that_are_new_are_pulled_each_time(operation: str, old: Raw | None, left: str) -> None:
    new = pod("IfNotPresent")

    assert await admitted(PULL, write(operation, "pods", new, old)) == ""

    assert policies(new) == [left] * 3


async def test_a_policy_that_somebody_changed_afterwards_is_refused() -> None:
    assert PULL.validate is not None

    said = await admitted(type(PULL)("x", validate=PULL.validate), write("CREATE", "pods", pod("Never")))

    assert said == (
        'pods "p" is forbidden: spec.initContainers[0].imagePullPolicy: Unsupported value: "Never": '
        'supported values: "Always"'
    )


async def test_ephemeral_containers_are_left_alone_as_upstream_does() -> None:
    assert await admitted(PULL, write("UPDATE", "pods/ephemeralcontainers", pod("Never"), pod("Never"))) == ""


def service(*addresses: str) -> Raw:
    return named("s", spec={"externalIPs": list(addresses)} if addresses else {})


DENIED = 'services "s" is forbidden: Use of external IPs is denied by admission control'


@pytest.mark.parametrize(
    ("operation", "new", "old", "says"),
    [
        ("CREATE", service(), None, ""),
        ("CREATE", service("1.2.3.4"), None, DENIED),
        ("UPDATE", service("1.2.3.4"), service("1.2.3.4", "1.2.3.5"), ""),
        ("UPDATE", service("1.2.3.4", "1.2.3.6"), service("1.2.3.4"), DENIED),
        ("UPDATE", service(), service("1.2.3.4"), ""),
        ("UPDATE", service("1.2.3.4"), service(), DENIED),
    ],
)
async def test_services_get_no_new_external_addresses(
    operation: str, new: Raw, old: Raw | None, says: str
) -> None:
    assert await admitted(EXTERNAL, write(operation, "services", new, old)) == says


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def event(name: str = "web", component: str = "kubelet") -> Raw:
    about = {"kind": "Pod", "namespace": "x", "name": name, "uid": "u", "apiVersion": "v1"}
    return named("e", involvedObject=about, source={"component": component, "host": "n"})


def newer(name: str = "web") -> Raw:
    old = event(name)
    return named("e", regarding=old["involvedObject"], deprecatedSource=old["source"])


async def refusals(limit: Raw, *requests: Any, clock: Clock | None = None) -> list[str]:
    plugin = event_rate_limit.configured({"limits": [limit]}, clock or Clock())
    return [await admitted(plugin, one) for one in requests]


def create(about: Raw, **more: Any) -> Any:
    return write("CREATE", "events", about, **more)


async def test_events_beyond_the_burst_are_refused_until_time_has_passed() -> None:
    clock = Clock()
    plugin = event_rate_limit.configured({"limits": [{"type": "Server", "qps": 2, "burst": 3}]}, clock)

    said = [await admitted(plugin, create(event())) for _ in range(4)]
    clock.now += 0.5
    later = [await admitted(plugin, create(event())) for _ in range(2)]

    refusal = "Too many requests: limit reached on type Server for key "
    assert (said, later) == (["", "", "", refusal], ["", refusal])


@pytest.mark.parametrize(
    ("kind", "requests", "key"),
    [
        ("Namespace", (create(event(), namespace="x"), create(event(), namespace="y"), create(event(), namespace="x")), "x"),
        ("User", (create(event(), user=User("a")), create(event(), user=User("b")), create(event(), user=User("a"))), "a"),
        ("SourceAndObject", (create(event()), create(event("other")), create(event())), "kubeletnPodxwebuv1"),
        ("SourceAndObject", (create(event()), create(event("other")), create(newer())), "kubeletnPodxwebuv1"),
    ],
)  # fmt: skip
async def test_each_key_has_a_bucket_of_its_own(kind: str, requests: tuple[Any, ...], key: str) -> None:
    found = await refusals({"type": kind, "qps": 1, "burst": 1}, *requests)

    assert found == ["", "", f"Too many requests: limit reached on type {kind} for key {key}"]


async def test_the_bucket_used_longest_ago_is_forgotten() -> None:
    limit = {"type": "Namespace", "qps": 1, "burst": 1, "cacheSize": 2}
    order = ("a", "b", "a", "c", "b", "a")

    found = await refusals(limit, *(create(event(), namespace=each) for each in order))

    assert [bool(one) for one in found] == [False, False, True, False, False, False]


async def test_a_refused_event_counts_in_every_limit_and_is_a_429() -> None:
    limits = [{"type": "User", "qps": 1, "burst": 1}, {"type": "Server", "qps": 1, "burst": 2}]
    plugin = event_rate_limit.configured({"limits": limits}, Clock())
    assert plugin.validate is not None

    for _ in range(2):
        await admitted(plugin, create(event(), user=User("a")))

    with pytest.raises(TooManyRequests, match="type Server"):
        await plugin.validate(create(event(), user=User("b")))


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        ({}, "limits: Invalid value: null: must not be empty"),
        ({"kind": "Other"}, "no Configuration of eventratelimit.admission.k8s.io/v1alpha1"),
        ({"limits": ["x"]}, 'limits[0]: Invalid value: "x": must be an object'),
        (
            {"limits": [{"type": "Host", "qps": 1, "burst": 1}]},
            'limits[0].type: Unsupported value: "Host": supported values: "Namespace", "Server", "SourceAndObject", "User"',
        ),
        (
            {"limits": [{"type": "Server", "qps": 0}]},
            "[limits[0].burst: Invalid value: 0: must be positive, limits[0].qps: Invalid value: 0: must be positive]",
        ),
        (
            {"limits": [{"type": "User", "qps": 1, "burst": 1, "cacheSize": -1}]},
            "limits[0].cacheSize: Invalid value: -1: must not be negative",
        ),
    ],
)
def test_a_configuration_that_says_nothing_clear_ends_the_server(configuration: Raw, says: str) -> None:
    with pytest.raises(ValueError, match="couldn't init admission plugin") as told:
        chain(["EventRateLimit"], (), {"EventRateLimit": configuration})

    assert says in str(told.value)


def test_they_are_off_unless_named() -> None:
    names = {"AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit"}
    limits = {"EventRateLimit": {"limits": [{"type": "Server", "qps": 1, "burst": 1}]}}

    usual = {plugin.name for plugin in chain().plugins}
    all_on = {plugin.name for plugin in chain(names, (), limits).plugins}

    assert usual & names == set()
    assert all_on - usual == names
