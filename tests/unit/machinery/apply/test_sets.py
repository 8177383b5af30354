"""The algebra of field sets, in the form in which managedFields have them."""

import pytest

from kybern.machinery.apply import sets

LABELS: sets.Set = {"f:metadata": {"f:labels": {".": {}, "f:a": {}, "f:b": {}}}}


def test_a_union_keeps_members_on_the_way() -> None:
    whole = sets.union({"f:spec": {}}, {"f:spec": {"f:replicas": {}}})

    assert whole == {"f:spec": {".": {}, "f:replicas": {}}}


def test_a_difference_takes_members_and_leaves_what_is_below_them() -> None:
    left = sets.difference(LABELS, {"f:metadata": {"f:labels": {}}})

    assert left == {"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}}


def test_a_difference_drops_what_leads_nowhere() -> None:
    left = sets.difference(LABELS, {"f:metadata": {"f:labels": {".": {}, "f:a": {}, "f:b": {}}}})

    assert left == {}


def test_a_difference_with_what_lies_below_leaves_the_parent() -> None:
    assert sets.difference({"f:data": {}}, {"f:data": {"f:a": {}}}) == {"f:data": {}}


def test_what_is_taken_out_with_its_parent_is_gone() -> None:
    assert sets.without(LABELS, {"f:metadata": {}}) == {}
    assert sets.without(LABELS, {"f:metadata": {"f:labels": {"f:a": {}}}}) == {
        "f:metadata": {"f:labels": {".": {}, "f:b": {}}}
    }


def test_an_intersection_holds_members_of_both_only() -> None:
    both = sets.intersection(LABELS, {"f:metadata": {"f:labels": {"f:a": {}, "f:c": {}}}})

    assert both == {"f:metadata": {"f:labels": {"f:a": {}}}}
    assert sets.overlaps(LABELS, {"f:metadata": {"f:labels": {"f:b": {}}}})
    assert not sets.overlaps({"f:metadata": {"f:labels": {"f:a": {}}}}, {"f:metadata": {"f:labels": {}}})


def test_sets_are_not_changed_by_operations() -> None:
    one: sets.Set = {"f:a": {"f:b": {}}}
    other: sets.Set = {"f:a": {"f:c": {}}}

    sets.union(one, other)
    sets.difference(one, other)
    sets.intersection(one, other)

    assert (one, other) == ({"f:a": {"f:b": {}}}, {"f:a": {"f:c": {}}})


def test_paths_are_shown_as_messages_show_them() -> None:
    fields = {
        "f:spec": {
            "f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}}},
            "f:finalizers": {'v:"example.com/a"': {}},
            "f:replicas": {},
        }
    }

    assert list(sets.paths(fields)) == [
        ".spec.replicas",
        '.spec.containers[name="c"]',
        '.spec.containers[name="c"].image',
        '.spec.finalizers[="example.com/a"]',
    ]


def test_path_elements_are_spelled_in_one_way() -> None:
    assert (
        sets.key_element({"protocol": "TCP", "containerPort": 80})
        == 'k:{"containerPort":80,"protocol":"TCP"}'
    )
    assert sets.value_element("<a>") == 'v:"\\u003ca\\u003e"'
    assert sets.read({'k:{ "name": "c" }': {".": {}}, "f:a": {}}) == {'k:{"name":"c"}': {".": {}}, "f:a": {}}


def test_elements_of_a_later_version_are_left_out() -> None:
    assert sets.read({"z:new": {}, "f:a": {}}) == {"f:a": {}}


@pytest.mark.parametrize("sent", [[], {"metadata": {}}, {"k:{": {}}, {"k:1": {}}, {"f:a": 1}])
def test_what_is_no_set_is_refused(sent: object) -> None:
    with pytest.raises(sets.Unreadable):
        sets.read(sent)
