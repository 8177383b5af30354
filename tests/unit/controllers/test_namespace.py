"""Emptying a namespace."""

from typing import Any

from kybern.api.core_v1 import ConfigMap, Namespace, NamespaceSpec, NamespaceStatus, Node, Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers.namespace import diff, observe, wakes
from kybern.loop.controller import Again, Call, Key, PatchStatus
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import NOW, ago, only, view

KINDS = (Pod, ConfigMap, Node)
GOING = Namespace(
    metadata=ObjectMeta(name="a", deletion_timestamp=NOW, resource_version="7"),
    spec=NamespaceSpec(finalizers=("kubernetes",)),
    status=NamespaceStatus(phase="Terminating"),
)


def make(kind: Any, name: str, *, deleting: bool = False, finalizers: tuple[str, ...] = ()) -> Any:
    when = NOW if deleting else None
    return kind(metadata=ObjectMeta(name=name, namespace="a", deletion_timestamp=when, finalizers=finalizers))


def done(namespace: Namespace, *content: Object, live: tuple[Object, ...] = ()) -> list[Any]:
    def ask(question: tuple[Any, ...]) -> Any:
        return tuple(item for item in live if type(item) is question[0])

    state = observe(view(None, namespace, *content, kinds=(*KINDS, Namespace), live=ask), Key("", "a"))
    return [] if state is None else list(diff(state))


def paths(actions: list[Any]) -> list[tuple[str, str]]:
    return [(action.method, action.path) for action in actions if isinstance(action, Call)]


def conditions(actions: list[Any]) -> dict[str, tuple[str, str]]:
    status = only(actions, PatchStatus)[0].new.status
    return {one.type: (one.status, one.message) for one in status.conditions}


def test_one_that_stays_is_left_alone() -> None:
    assert done(replace(GOING, metadata=ObjectMeta(name="a")), make(Pod, "pod")) == []


def test_pods_go_before_all_the_rest() -> None:
    actions = done(GOING, make(Pod, "pod"), make(ConfigMap, "map"))

    assert paths(actions) == [("DELETE", "/api/v1/namespaces/a/pods")]
    assert Again(5.0) in actions


def test_the_rest_goes_when_there_are_no_pods() -> None:
    assert paths(done(GOING, make(ConfigMap, "map"))) == [("DELETE", "/api/v1/namespaces/a/configmaps")]


def test_what_is_going_already_is_only_waited_for() -> None:
    actions = done(GOING, make(Pod, "pod", deleting=True, finalizers=("example.com/x",)))

    assert paths(actions) == []
    assert conditions(actions)["NamespaceContentRemaining"] == (
        "True",
        "Some resources are remaining: pods. has 1 resource instances",
    )
    assert conditions(actions)["NamespaceFinalizersRemaining"] == (
        "True",
        "Some content in the namespace has finalizers remaining: example.com/x in 1 resource instances",
    )


def test_what_only_the_server_knows_yet_is_deleted_too() -> None:
    assert paths(done(GOING, live=(make(ConfigMap, "late"),))) == [
        ("DELETE", "/api/v1/namespaces/a/configmaps")
    ]


def test_an_empty_one_is_let_go_after_its_events() -> None:
    actions = done(GOING)

    assert paths(actions) == [
        ("DELETE", "/api/v1/namespaces/a/events"),
        ("PUT", "/api/v1/namespaces/a/finalize"),
    ]
    assert b"finalizers" not in actions[-1].body
    assert b"resourceVersion" not in actions[-1].body
    assert {status for status, _ in conditions(actions).values()} == {"False"}


def test_finalizers_of_others_stay() -> None:
    held = replace(GOING, spec=NamespaceSpec(finalizers=("kubernetes", "example.com/x")))

    assert b'"finalizers":["example.com/x"]' in done(held)[-1].body


def test_one_that_we_let_go_already_is_left_to_others() -> None:
    assert done(replace(GOING, spec=NamespaceSpec(finalizers=("example.com/x",))), make(Pod, "pod")) == []


def test_times_of_conditions_change_with_their_status_only() -> None:
    first = only(done(GOING, make(Pod, "pod")), PatchStatus)[0].new
    aged = tuple(replace(one, last_transition_time=ago(60)) for one in first.status.conditions)
    aged_namespace = replace(GOING, status=replace(GOING.status, conditions=aged))

    assert not [
        action for action in done(aged_namespace, make(Pod, "pod")) if isinstance(action, PatchStatus)
    ]
    later = only(done(aged_namespace), PatchStatus)[0].new
    changed = {one.type for one in later.status.conditions if one.last_transition_time == NOW}
    assert changed == {"NamespaceContentRemaining"}


def test_content_wakes_only_a_namespace_that_goes() -> None:
    pod = make(Pod, "pod")

    assert list(wakes(pod, view(None, pod, GOING))) == [Key("", "a")]
    assert list(wakes(pod, view(None, pod, replace(GOING, metadata=ObjectMeta(name="a"))))) == []
