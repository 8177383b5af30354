"""Tables say what their columns mean."""

import pytest

from kybern.api import columns
from kybern.api.kinds import KINDS, OPTIONAL
from kybern.machinery.kind import Kind

PRINTED = [kind for kind in (*KINDS, *OPTIONAL) if kind.table is not None]


@pytest.mark.parametrize("kind", PRINTED, ids=lambda kind: f"{kind.group}/{kind.plural}")
def test_every_column_of_a_built_in_kind_is_described(kind: Kind) -> None:
    assert kind.table is not None
    texts = columns.described(kind)

    assert [
        column.name for column in kind.table.columns if not (column.description or column.name in texts)
    ] == []


def test_a_text_of_the_kind_goes_before_that_of_all() -> None:
    assert columns.descriptions("apps", "deployments")["Ready"] == "Number of the pod with ready state"
    assert columns.descriptions("", "no-such-kind").keys() == {
        "Age", "Containers", "Created At", "Images", "Name",
    }  # fmt: skip
