"""Which ids pods get that have users of their own."""

import json
from pathlib import Path

import pytest

from kybern._proto import cri_pb2 as pb
from kybern.kubelet.convert import Abilities, Handler
from kybern.kubelet.user_namespaces import (
    UNIT,
    CannotMap,
    Ids,
    UserNamespaces,
    check,
    content_of,
    first_of,
    free,
    of_user,
    verify,
)

SMALL = Ids(UNIT, 2 * UNIT, UNIT)


@pytest.mark.parametrize(
    ("ids", "pods", "problem"),
    [
        (Ids(UNIT, 110 * UNIT, UNIT), 110, ""),
        (Ids(2 * UNIT, 4 * UNIT, 2 * UNIT), 2, ""),
        (Ids(UNIT, UNIT, 100), 1, "kubelet user namespace length 100 is not a multiple of 65536"),
        (Ids(UNIT, UNIT, 0), 1, "kubelet user namespace length 0 is not a multiple of 65536"),
        (Ids(UNIT + 1, UNIT, UNIT), 1, "kubelet user assigned ID 65537 is not a multiple of 65536"),
        (Ids(0, UNIT, UNIT), 1, "kubelet user assigned ID 0 must be greater or equal to 65536"),
        (Ids(UNIT, UNIT + 1, UNIT), 1, "kubelet user assigned IDs length 65537 is not a multiple of 65536"),
        (Ids(UNIT, UNIT, UNIT), 2, "kubelet user assigned IDs are not enough to support 2 pods"),
    ],
)
def test_ids_are_whole_ranges_above_the_node_s(ids: Ids, pods: int, problem: str) -> None:
    if not problem:
        check(ids, pods)
        return
    with pytest.raises(ValueError, match=f"^{problem}$"):
        check(ids, pods)


@pytest.mark.parametrize(
    ("uids", "gids", "problem"),
    [
        ("0: kubelet 131072 7208960\n", "0: kubelet 131072 7208960\n", ""),
        ("0: kubelet 131072 65536\n", "0: kubelet 65536 65536\n", "mismatched subuids and subgids"),
        ("", "", "must have one range"),
        ("0: kubelet 1 2\n1: kubelet 3 4\n", "0: kubelet 1 2\n1: kubelet 3 4\n", "must have one range"),
    ],
)
def test_a_user_s_ids_are_one_range(uids: str, gids: str, problem: str) -> None:
    if not problem:
        assert of_user(uids, gids, UNIT) == Ids(131072, 7208960, UNIT)
        return
    with pytest.raises(ValueError, match=problem):
        of_user(uids, gids, UNIT)


def test_only_a_handler_that_says_so_has_user_namespaces() -> None:
    able = Abilities((Handler(""), Handler("kata", user_namespaces=True)))

    verify(able, "kata")
    with pytest.raises(
        CannotMap, match=r"^can't set `spec.hostUsers: false`, runtime does not support user namespaces$"
    ):
        verify(able, "")
    with pytest.raises(CannotMap, match='RuntimeClass handler "other" does not support user namespaces'):
        verify(able, "other")


def test_the_first_free_range_is_given() -> None:
    assert free(SMALL, ()) == UNIT
    assert free(SMALL, (UNIT,)) == 2 * UNIT
    with pytest.raises(CannotMap, match="could not find an empty slot"):
        free(SMALL, (UNIT, 2 * UNIT))


def mapping(first: int, inside: int = 0, length: int = UNIT) -> dict[str, int]:
    return {"hostId": first, "containerId": inside, "length": length}


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        json.dumps({"uidMappings": [], "gidMappings": []}),
        json.dumps({"uidMappings": [mapping(UNIT)], "gidMappings": [mapping(2 * UNIT)]}),
        json.dumps({"uidMappings": [mapping(UNIT, 1)], "gidMappings": [mapping(UNIT, 1)]}),
        json.dumps({"uidMappings": [mapping(UNIT, length=5)], "gidMappings": [mapping(UNIT, length=5)]}),
        content_of(9 * UNIT, SMALL),
        content_of(0, SMALL),
    ],
)
def test_a_file_that_maps_something_else_is_refused(content: str) -> None:
    with pytest.raises(CannotMap, match=r"^user namespace: "):
        first_of(content, SMALL)


async def test_a_pod_keeps_its_range_and_gives_it_back_with_its_directory(tmp_path: Path) -> None:
    given = UserNamespaces(tmp_path, SMALL)
    one, two = await given.of("one"), await given.of("two")

    again = await UserNamespaces(tmp_path, SMALL).of("one")

    assert (one.mode, one.uids[0].host_id, one.gids[0].length) == (pb.POD, UNIT, UNIT)
    assert two.uids[0].host_id == 2 * UNIT
    assert again == one
    with pytest.raises(CannotMap):
        await given.of("three")
    (tmp_path / "one/userns").unlink()
    assert (await given.of("three")).uids[0].host_id == UNIT
    assert sorted(path.name for path in (tmp_path / "three").iterdir()) == ["userns"]
