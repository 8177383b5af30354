"""What of a log is asked for, as it is checked and said to the kubelet."""

import pytest

from kybern.apiserver.subresources.log_options import to_kubelet
from kybern.machinery.errors import BadRequest, Invalid


def test_what_is_asked_for_is_said_to_the_kubelet() -> None:
    asked = {
        "follow": "", "previous": "false", "timestamps": "true", "tailLines": "0", "limitBytes": "1",
        "sinceTime": "2026-01-02T03:04:05.5+01:00", "container": "c", "pretty": "true",
    }  # fmt: skip

    assert to_kubelet("web", asked) == {
        "follow": "true", "timestamps": "true", "tailLines": "0", "limitBytes": "1",
        "sinceTime": "2026-01-02T02:04:05Z",
    }  # fmt: skip
    assert to_kubelet("web", {}) == {}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("tailLines", "x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("limitBytes", "", 'strconv.ParseInt: parsing "": invalid syntax'),
        (
            "sinceTime",
            "noon",
            'parsing time "noon" as "2006-01-02T15:04:05Z07:00": cannot parse "noon" as "2006"',
        ),
    ],
)
def test_what_cannot_be_read_is_a_bad_request(name: str, value: str, why: str) -> None:
    with pytest.raises(BadRequest) as refused:
        to_kubelet("web", {name: value})

    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"tailLines": "-1"}, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ({"limitBytes": "0"}, "limitBytes: Invalid value: 0: must be greater than 0"),
        ({"sinceSeconds": "0"}, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        (
            {"sinceSeconds": "1", "sinceTime": "2026-01-02T03:04:05Z"},
            "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        ({"stream": "All"}, "stream: Forbidden: may not be specified"),
        ({"stream": ""}, "stream: Forbidden: may not be specified"),
        (
            {"tailLines": "-1", "limitBytes": "0"},
            (
                "[tailLines: Invalid value: -1: must be greater than or equal to 0, "
                "limitBytes: Invalid value: 0: must be greater than 0]"
            ),
        ),
    ],
)
def test_what_may_not_be_is_told_as_upstream_does(asked: dict[str, str], why: str) -> None:
    with pytest.raises(Invalid) as refused:
        to_kubelet("web", asked)

    assert str(refused.value) == f'PodLogOptions "web" is invalid: {why}'
