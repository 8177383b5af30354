"""What nobody owns any more."""

from typing import Any

import pytest

from kybern.api.apps_v1 import Deployment, ReplicaSet
from kybern.api.core_v1 import ConfigMap, Node, Pod
from kybern.api.meta_v1 import ObjectMeta, OwnerReference
from kybern.controllers.garbage_collector import FOREGROUND, ORPHAN, State, diff, key_of, observe, wakes
from kybern.loop.controller import Delete, Patch
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import NOW, view

KINDS = (Deployment, ReplicaSet, Pod, ConfigMap, Node)


def reference(owner: Any, *, block: bool = True, uid: str = "") -> OwnerReference:
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=uid or owner.metadata.uid,
        controller=True,
        block_owner_deletion=block,
    )


def make(
    kind: Any, name: str, *owners: OwnerReference, deleting: bool = False, finalizers: tuple[str, ...] = ()
) -> Any:
    metadata = ObjectMeta(
        name=name,
        namespace="a" if kind.namespaced else "",
        uid=f"uid-{name}",
        owner_references=owners,
        finalizers=finalizers,
        deletion_timestamp=NOW if deleting else None,
    )
    return kind(metadata=metadata)


def state_of(item: Object, *others: Object, live: tuple[Any, ...] = ()) -> State | None:
    """``live`` is what the API server has, beside what the caches have."""

    def ask(question: tuple[Any, ...]) -> Any:
        kind, namespace, name = question
        return next(
            (
                one
                for one in live
                if type(one) is kind and (one.metadata.namespace, one.metadata.name) == (namespace, name)
            ),
            None,
        )

    return observe(view(None, item, *others, kinds=KINDS, live=ask), key_of(item))


def done(item: Object, *others: Object, live: tuple[Any, ...] = ()) -> list[Any]:
    found = state_of(item, *others, live=live)
    return [] if found is None else list(diff(found))


OWNER = make(ReplicaSet, "owner")


def test_what_has_no_owner_is_left_alone() -> None:
    assert state_of(make(Pod, "free")) is None


def test_what_has_its_owner_is_left_alone() -> None:
    assert done(make(Pod, "pod", reference(OWNER)), OWNER) == []


def test_what_lost_its_only_owner_goes() -> None:
    pod = make(Pod, "pod", reference(OWNER))

    assert done(pod) == [Delete(pod, "Background")]


def test_an_owner_that_only_the_server_knows_yet_is_an_owner() -> None:
    assert done(make(Pod, "pod", reference(OWNER)), live=(OWNER,)) == []


def test_an_owner_of_the_same_name_is_another_one() -> None:
    pod = make(Pod, "pod", reference(OWNER, uid="older"))

    assert done(pod, OWNER, live=(OWNER,)) == [Delete(pod, "Background")]


def test_one_owner_of_two_that_is_gone_is_taken_out() -> None:
    other = make(Deployment, "other")
    pod = make(Pod, "pod", reference(OWNER), reference(other))

    actions = done(pod, other)

    assert [type(action) for action in actions] == [Patch]
    assert actions[0].new.metadata.owner_references == (reference(other),)


def test_an_owner_of_a_kind_that_is_not_known_is_an_owner() -> None:
    stranger = OwnerReference(api_version="example.com/v1", kind="Thing", name="x", uid="x")

    assert done(make(Pod, "pod", stranger)) == []


def test_a_namespaced_owner_of_a_node_cannot_be_looked_up_and_nothing_is_deleted() -> None:
    assert done(make(Node, "node", reference(OWNER))) == []


def test_another_version_of_the_owners_group_is_the_same_kind() -> None:
    old = replace(reference(OWNER), api_version="apps/v1beta1")

    assert done(make(Pod, "pod", old), OWNER) == []


@pytest.mark.parametrize(
    ("finalizers", "how"), [((ORPHAN,), "Orphan"), ((FOREGROUND,), "Foreground"), ((), "Background")]
)
def test_deletion_is_passed_on_as_the_object_itself_asks(finalizers: tuple[str, ...], how: str) -> None:
    pod = make(Pod, "pod", reference(OWNER), finalizers=finalizers)

    assert done(pod) == [Delete(pod, how)]


def test_in_the_foreground_dependents_go_while_the_owner_waits() -> None:
    owner = make(ReplicaSet, "owner", deleting=True, finalizers=(FOREGROUND,))
    pod = make(Pod, "pod", reference(owner))

    assert done(owner, pod) == []
    assert done(pod, owner) == [Delete(pod, "Background")]


def test_a_dependent_with_dependents_goes_in_the_foreground_itself() -> None:
    top = make(Deployment, "top", deleting=True, finalizers=(FOREGROUND,))
    middle = make(ReplicaSet, "middle", reference(top))
    pod = make(Pod, "pod", reference(middle))

    assert done(middle, top, pod) == [Delete(middle, "Foreground")]


def test_the_owner_goes_when_no_dependent_blocks_any_more() -> None:
    owner = make(ReplicaSet, "owner", deleting=True, finalizers=(FOREGROUND, "other"))
    loose = make(Pod, "pod", reference(owner, block=False))

    actions = done(owner, loose)

    assert [action.new.metadata.finalizers for action in actions] == [("other",)]


def circle(*waiting: str) -> list[Any]:
    """Three pods that own each other in a circle; those that are named are being deleted in the foreground."""
    names = ("one", "two", "three")
    bare = {name: make(Pod, name) for name in names}
    owners = dict(zip(names, ("three", "one", "two"), strict=True))
    return [
        make(
            Pod,
            name,
            reference(bare[owners[name]]),
            deleting=name in waiting,
            finalizers=(FOREGROUND,) if name in waiting else (),
        )
        for name in names
    ]


def test_who_waits_for_its_dependents_goes_when_they_wait_for_itself() -> None:
    one, two, three = circle("one", "two", "three")

    for pod, others in ((one, (two, three)), (two, (three, one)), (three, (one, two))):
        assert [action.new.metadata.finalizers for action in done(pod, *others)] == [()]


def test_a_circle_that_is_not_closed_by_deletion_is_waited_for() -> None:
    one, two, three = circle("one", "two")

    assert done(one, two, three) == done(two, one, three) == []
    assert done(three, one, two) == [Delete(three, "Foreground")]


def test_a_dependent_outside_of_the_circle_still_holds_it_back() -> None:
    one, two, three = circle("one", "two", "three")
    other = make(ConfigMap, "other", reference(one))

    assert done(one, two, three, other) == []


def test_orphans_are_let_go_before_their_owner_is() -> None:
    owner = make(ReplicaSet, "owner", deleting=True, finalizers=(ORPHAN,))
    other = make(Deployment, "other")
    pod = make(Pod, "pod", reference(owner), reference(other))

    actions = done(owner, pod, other)

    assert actions[0].new.metadata.owner_references == (reference(other),)
    assert (actions[1].old, actions[1].new.metadata.finalizers) == (owner, ())


def test_what_is_being_deleted_without_our_finalizers_is_left_to_others() -> None:
    assert done(make(Pod, "pod", reference(OWNER), deleting=True, finalizers=("other",))) == []


def test_a_change_wakes_itself_and_its_owners() -> None:
    pod = make(Pod, "pod", reference(OWNER))

    assert set(wakes(pod, view(None, pod, OWNER, kinds=KINDS))) == {key_of(pod), key_of(OWNER)}


def test_what_goes_wakes_what_it_owned() -> None:
    pod = make(Pod, "pod", reference(OWNER))

    assert set(wakes(OWNER, view(None, pod, kinds=KINDS))) == {key_of(pod)}
    assert set(wakes(OWNER, view(None, pod, OWNER, kinds=KINDS))) == set()
