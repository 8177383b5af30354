"""Which keys of config maps and secrets become files."""

import pytest

from kybern.api.core_v1 import KeyToPath
from kybern.kubelet.volumes.atomic import File
from kybern.kubelet.volumes.payload import chosen
from kybern.kubelet.volumes.plugin import CannotMount

DATA = {"a": b"1", "b": b"2"}


def test_listed_keys_are_at_their_paths_with_their_modes() -> None:
    items = (KeyToPath(key="a", path="x/y", mode=0o400), KeyToPath(key="b", path="z"))

    assert chosen(DATA, (), 0o640, optional=False) == {"a": File(b"1", 0o640), "b": File(b"2", 0o640)}
    assert chosen(DATA, items, None, optional=False) == {"x/y": File(b"1", 0o400), "z": File(b"2", 0o644)}


@pytest.mark.parametrize("kind", ["config", "secret"])
def test_a_listed_key_that_is_not_there_is_told_unless_it_is_optional(kind: str) -> None:
    items = (KeyToPath(key="c", path="c"), KeyToPath(key="a", path="a"))

    with pytest.raises(CannotMount, match=f"^references non-existent {kind} key: c$"):
        chosen(DATA, items, None, optional=False, kind=kind)

    assert chosen(DATA, items, None, optional=True, kind=kind) == {"a": File(b"1", 0o644)}
