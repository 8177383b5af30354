"""PodNodeSelector: the nodes of a namespace, from its annotation or the configuration."""

import pytest

from kybern.admission.chain import chain
from kybern.admission.plugins import pod_node_selector
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import Objects, admitted, named, stored, write

SETTINGS = {
    "podNodeSelectorPluginConfig": {
        "clusterDefaultNodeSelector": "env = test, size=big",
        "limited": "env=test,size=big,zone=a",
        "narrow": "env=test",
    }
}
PLUGIN = pod_node_selector.configured(SETTINGS)
CONFLICT = 'pods "p" is forbidden: pod node label selector conflicts with its namespace node label selector'
BEYOND = 'pods "p" is forbidden: pod node label selector labels conflict with its namespace whitelist'


def namespaces(annotation: str | None = None, name: str = "x") -> Objects:
    annotations = {} if annotation is None else {pod_node_selector.ANNOTATION: annotation}
    return stored(("namespaces", named(name, metadata={"annotations": annotations})))


def pod(**labels: str) -> Raw:
    return named("p", spec={"nodeSelector": labels} if labels else {})


@pytest.mark.parametrize(
    ("annotation", "asked", "left"),
    [
        (None, {}, {"env": "test", "size": "big"}),
        (None, {"zone": "a"}, {"env": "test", "size": "big", "zone": "a"}),
        (None, {"env": "test"}, {"env": "test", "size": "big"}),
        (None, {"env": "live"}, CONFLICT),
        ("env=live", {}, {"env": "live"}),
        ("env=live", {"size": "small"}, {"env": "live", "size": "small"}),
        ("env=live", {"env": "test"}, CONFLICT),
        ("", {}, {}),
        ("", {"env": "live"}, {"env": "live"}),
        ("env", {}, "invalid selector: [env]"),
        ("a=b=c", {}, "invalid selector: [a b c]"),
    ],
)
async def test_pods_run_on_the_nodes_of_their_namespace(
    annotation: str | None, asked: dict[str, str], left: dict[str, str] | str
) -> None:
    found = pod(**asked)

    says = await admitted(PLUGIN, write("CREATE", "pods", found, lookup=namespaces(annotation)))

    assert (says or found["spec"].get("nodeSelector", {})) == left


@pytest.mark.parametrize(
    ("namespace", "asked", "says"),
    [
        ("limited", {}, ""),
        ("limited", {"zone": "a"}, ""),
        ("limited", {"zone": "b"}, BEYOND),
        ("limited", {"disk": "fast"}, BEYOND),
        ("narrow", {}, BEYOND),  # what the cluster wants is more than it may have
        ("free", {"disk": "fast"}, ""),
    ],
)
async def test_a_namespace_may_be_kept_to_some_labels(
    namespace: str, asked: dict[str, str], says: str
) -> None:
    request = write("CREATE", "pods", pod(**asked), namespace=namespace, lookup=namespaces(name=namespace))

    assert await admitted(PLUGIN, request) == says


async def test_what_somebody_changed_afterwards_is_refused() -> None:
    assert PLUGIN.validate is not None
    only = type(PLUGIN)("x", validate=PLUGIN.validate)

    changed = write("CREATE", "pods", pod(env="live"), lookup=namespaces("env=test"))
    beyond = write("CREATE", "pods", pod(a="b"), namespace="limited", lookup=namespaces("", name="limited"))

    assert (await admitted(only, changed), await admitted(only, beyond)) == (CONFLICT, BEYOND)


async def test_a_namespace_that_the_cache_does_not_know_is_read() -> None:
    lookup = namespaces("env=live")
    lookup.behind = True
    found = pod()

    assert await admitted(PLUGIN, write("CREATE", "pods", found, lookup=lookup)) == ""
    assert found["spec"]["nodeSelector"] == {"env": "live"}
    assert await admitted(PLUGIN, write("CREATE", "pods", pod())) == (
        "Internal error occurred: namespace x does not exist"
    )


async def test_pods_that_are_there_stay_as_they_are() -> None:
    for request in (write("UPDATE", "pods", pod(), pod()), write("CREATE", "pods/binding", pod())):
        assert await admitted(PLUGIN, request) == ""
        assert request.new == pod()


async def test_without_a_configuration_only_annotations_count() -> None:
    plugin = pod_node_selector.configured({})
    plain, annotated = pod(), pod()

    assert await admitted(plugin, write("CREATE", "pods", plain, lookup=namespaces())) == ""
    assert await admitted(plugin, write("CREATE", "pods", annotated, lookup=namespaces("a=b"))) == ""
    assert (plain, annotated) == (pod(), pod(a="b"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["a=b"], "podNodeSelectorPluginConfig is no object of selectors"),
        ({"x": 1}, "podNodeSelectorPluginConfig is no object of selectors"),
        ({"x": "a"}, "podNodeSelectorPluginConfig.x: invalid selector: [a]"),
        (
            {"x": "a b=c"},
            'podNodeSelectorPluginConfig.x: <nil>: Invalid value: "a b": name part must consist of',
        ),
        ({"x": "a=b c"}, 'podNodeSelectorPluginConfig.x: [a]: Invalid value: "b c": a valid label must be'),
    ],
)
def test_a_configuration_that_says_nothing_clear_ends_the_server(settings: object, says: str) -> None:
    with pytest.raises(ValueError, match="couldn't init admission plugin") as told:
        chain(["PodNodeSelector"], (), {"PodNodeSelector": {"PodNodeSelectorPluginConfig": settings}})

    assert says in str(told.value)
