"""PodTolerationRestriction: what pods of a namespace tolerate, and what they may."""

from typing import Any

import msgspec
import pytest

from kybern.admission.chain import chain
from kybern.admission.plugins import pod_toleration_restriction
from kybern.admission.plugins.pod_toleration_restriction import MEMORY_PRESSURE, covers, merged
from kybern.machinery.errors import ApiError, NotFound
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import Objects, admitted, named, stored, write


def toleration(
    key: str = "", operator: str = "Exists", value: str = "", effect: str = "", seconds: int | None = None
) -> Raw:
    found: Raw = {"key": key, "operator": operator, "value": value, "effect": effect}
    kept = {name: part for name, part in found.items() if part}
    return kept if seconds is None else kept | {"tolerationSeconds": seconds}


ALL, FOO = toleration(), toleration("foo")
FOO_BAR = toleration("foo", "Equal", "bar")
FOO_RUN, FOO_RUN_10, FOO_RUN_0 = (
    toleration("foo", effect="NoExecute", seconds=each) for each in (None, 10, 0)
)
FOO_SCHEDULE = toleration("foo", effect="NoSchedule")
FAZ = toleration("faz")
EVERY = [ALL, FOO, FOO_BAR, FOO_RUN, FOO_RUN_10, FOO_RUN_0, FOO_SCHEDULE, FAZ]


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (ALL, EVERY),
        (FOO, [FOO, FOO_BAR, FOO_RUN, FOO_RUN_10, FOO_RUN_0, FOO_SCHEDULE]),
        (FOO_BAR, [FOO_BAR]),
        (FOO_RUN, [FOO_RUN, FOO_RUN_10, FOO_RUN_0]),
        (FOO_RUN_10, [FOO_RUN_10, FOO_RUN_0]),
        (FOO_RUN_0, [FOO_RUN_0]),
        (FOO_SCHEDULE, [FOO_SCHEDULE]),
        ({"key": "foo", "value": "bar"}, [FOO_BAR]),
        ({"key": "foo", "operator": "Gt", "value": "1"}, []),
    ],
)
def test_one_toleration_covers_another(wide: Raw, narrow: list[Raw]) -> None:
    assert [one for one in EVERY if covers(wide, one)] == narrow


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        ([], [FOO], [FOO]),
        ([FOO], [], [FOO]),
        ([FOO], [FOO], [FOO]),
        ([FOO, FAZ], [FOO_BAR], [FOO, FAZ]),
        ([FOO_BAR], [FAZ, FOO], [FAZ, FOO]),
        ([FOO_RUN_0], [FOO_RUN_10], [FOO_RUN_10]),
        (EVERY, EVERY, [ALL]),
    ],
)
def test_what_another_covers_is_left_out(first: list[Raw], second: list[Raw], left: list[Raw]) -> None:
    assert merged(first, second) == left


def settings(default: list[Raw], whitelist: list[Raw]) -> Raw:
    return {
        "apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1",
        "kind": "Configuration",
        "default": default,
        "whitelist": whitelist,
    }


def namespace(default: Any = None, whitelist: Any = None) -> Objects:
    said = {pod_toleration_restriction.DEFAULTS: default, pod_toleration_restriction.ALLOWED: whitelist}
    annotations = {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for key, value in said.items()
        if value is not None
    }
    return stored(("namespaces", named("x", metadata={"annotations": annotations})))


def pod(*tolerations: Raw, asks: bool = False) -> Raw:
    resources = {"requests": {"cpu": "1"}} if asks else {}
    spec: Raw = {"containers": [{"name": "c", "resources": resources}]}
    return named("p", spec=spec | ({"tolerations": list(tolerations)} if tolerations else {}))


def refusal(whose: str) -> str:
    return (
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its "
        f"{whose} whitelist"
    )


@pytest.mark.parametrize(
    ("usual", "own", "held", "left"),
    [
        ([], None, [], []),
        ([FOO], None, [], [FOO]),
        ([FOO], None, [FAZ], [FAZ, FOO]),
        ([FOO], None, [FOO_BAR], [FOO]),
        ([FOO], [], [], []),
        ([FOO], "", [FAZ], [FAZ]),
        ([FOO], [FAZ], [], [FAZ]),
        ([], [FOO_RUN_10], [FOO_RUN], [FOO_RUN]),
    ],
)
async def test_a_new_pod_tolerates_what_its_namespace_does(
    usual: list[Raw], own: Any, held: list[Raw], left: list[Raw]
) -> None:
    plugin = pod_toleration_restriction.configured(settings(usual, []))
    found = pod(*held)

    assert await admitted(plugin, write("CREATE", "pods", found, lookup=namespace(own))) == ""

    assert found["spec"].get("tolerations", []) == left


@pytest.mark.parametrize(
    ("allowed", "own", "held", "says"),
    [
        ([], None, [ALL], ""),
        ([FOO], None, [], ""),
        ([FOO], None, [FOO_BAR], ""),
        ([FOO_BAR], None, [FOO], refusal("cluster")),
        ([FOO], None, [FOO, FAZ], refusal("cluster")),
        ([FOO], [FAZ], [FAZ], ""),
        ([FOO], [FAZ], [FOO], refusal("namespace")),
        ([FOO], [], [FAZ], ""),
        ([FOO], "", [FAZ], ""),
    ],
)
async def test_a_pod_tolerates_no_more_than_it_may(
    allowed: list[Raw], own: Any, held: list[Raw], says: str
) -> None:
    plugin = pod_toleration_restriction.configured(settings([], allowed))

    for operation in ("CREATE", "UPDATE"):
        request = write(operation, "pods", pod(*held), pod(), lookup=namespace(whitelist=own))
        assert await admitted(plugin, request) == says


async def test_what_a_namespace_gives_has_to_be_allowed_as_well() -> None:
    plugin = pod_toleration_restriction.configured({})
    request = write("CREATE", "pods", pod(), lookup=namespace([FOO], [FAZ]))

    assert await admitted(plugin, request) == refusal("namespace")


async def test_the_refusal_is_an_error_without_a_reason_as_upstream_s() -> None:
    plugin = pod_toleration_restriction.configured(settings([], [FOO]))
    assert plugin.validate is not None

    with pytest.raises(ApiError) as told:
        await plugin.validate(write("CREATE", "pods", pod(FAZ), lookup=namespace()))

    status = told.value.status()
    assert (status["code"], status.get("reason")) == (500, None)


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
async def test_a_pod_that_asks_for_something_stays_under_memory_pressure(operation: str) -> None:
    plugin = pod_toleration_restriction.configured(settings([FOO], []))
    found = pod(FAZ, asks=True)

    assert await admitted(plugin, write(operation, "pods", found, found, lookup=namespace())) == ""

    extra = [FOO] if operation == "CREATE" else []
    assert found["spec"]["tolerations"] == [FAZ, *extra, MEMORY_PRESSURE]


async def test_subresources_are_left_alone_and_an_absent_namespace_is_told() -> None:
    plugin = pod_toleration_restriction.configured(settings([FOO], [FOO]))
    found = pod(FAZ)
    assert plugin.mutate is not None

    assert await admitted(plugin, write("UPDATE", "pods/status", found, found)) == ""
    assert found == pod(FAZ)
    with pytest.raises(NotFound):
        await plugin.mutate(write("CREATE", "pods", pod()))


async def test_an_annotation_that_is_no_list_of_tolerations_is_told() -> None:
    plugin = pod_toleration_restriction.configured({})

    says = await admitted(plugin, write("CREATE", "pods", pod(), lookup=namespace("{")))

    assert says.startswith(
        "cannot read annotation scheduler.alpha.kubernetes.io/defaultTolerations of namespace x: "
    )


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        ({"kind": "Other"}, "no Configuration of podtolerationrestriction.admission.k8s.io/v1alpha1"),
        (settings([{"key": 1}], []), "default is no list of tolerations: "),
        (settings([], [{"key": "a b", "operator": "Exists"}]), "podtolerationrestriction.whitelist[0].key: Invalid value"),
        (settings([{"operator": "Equal", "value": "v"}], []), "podtolerationrestriction.default[0].operator: Invalid value"),
    ],
)  # fmt: skip
def test_a_configuration_that_says_nothing_clear_ends_the_server(configuration: Raw, says: str) -> None:
    with pytest.raises(ValueError, match="couldn't init admission plugin") as told:
        chain(["PodTolerationRestriction"], (), {"PodTolerationRestriction": configuration})

    assert says in str(told.value)
