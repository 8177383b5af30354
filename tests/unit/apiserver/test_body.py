"""What is said of bodies that cannot be read."""

from collections.abc import Callable

import pytest

from kybern.apiserver import body
from kybern.apiserver.engine import Call
from kybern.apiserver.problems import Unexpected
from kybern.machinery.errors import BadRequest

UNKNOWN = "the object provided is unrecognized (must be of type ConfigMap): "
PARSING = "couldn't get version/kind; json parse error: "
HEAD = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
)
SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"
JSON, YAML, PROTOBUF = body.JSON, body.YAML, body.PROTOBUF


@pytest.mark.parametrize(
    ("sent", "media", "says"),
    [
        ("", JSON, f"{PARSING}unexpected end of JSON input (<empty>)"),
        ('{"a"', JSON, f'{PARSING}unexpected end of JSON input ({{"a")'),
        ("[]", JSON, f"{PARSING}json: cannot unmarshal array into Go value of type {HEAD} (5b5d)"),
        ("true", JSON, f"{PARSING}json: cannot unmarshal bool into Go value of type {HEAD} (74727565)"),
        (
            '{"kind": {}, "metadata": {"uid": "x"}}',
            JSON,
            PARSING
            + 'json: cannot unmarshal object into Go struct field .kind of type string ({"kind": {}, "metadata": {"uid ...)',
        ),
        (
            '{"apiVersion":"a/b/c"}',
            JSON,
            'unexpected GroupVersion string: a/b/c ({"apiVersion":"a/b/c"})',
        ),
        (
            "- a",
            YAML,
            f"{PARSING}json: cannot unmarshal array into Go value of type {HEAD} (2d2061)",
        ),
        (
            "{}",
            PROTOBUF,
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0] ({})",
        ),
    ],
)
def test_a_body_that_is_nothing_is_told_with_how_it_begins(
    call: Callable[..., Call], sent: str, media: str, says: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        body.decode(call("configmaps"), sent.encode(), media)

    assert refused.value.message == UNKNOWN + says


def test_yaml_that_cannot_be_read_is_told_in_the_words_of_its_reader(call: Callable[..., Call]) -> None:
    with pytest.raises(BadRequest) as refused:
        body.decode(call("configmaps"), b"a: b: c", YAML)

    assert refused.value.message.startswith(f"{UNKNOWN}yaml: ")
    assert refused.value.message.endswith(" (613a20623a2063)")


@pytest.mark.parametrize(("sent", "media"), [("null", JSON), ("", YAML)])
def test_null_is_an_object_that_says_nothing(call: Callable[..., Call], sent: str, media: str) -> None:
    found = body.decode(call("configmaps"), sent.encode(), media)

    assert found == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ("{", f"{PARSING}unexpected end of JSON input"),
        ("5", f"{PARSING}json: cannot unmarshal number into Go value of type {HEAD}"),
        (
            '{"kind":"Pod","apiVersion":"v1"}',
            f'no kind "Pod" is registered for version "v1" in scheme "{SCHEME}"',
        ),
        (
            '{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":"x"}',
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
        ),
        (
            '{"preconditions":{"uid":7}}',
            "json: cannot unmarshal number into Go struct field Preconditions.preconditions.uid of type types.UID",
        ),
    ],
)
def test_options_of_a_deletion_that_cannot_be_read_are_upstream_s_own_fault(sent: str, says: str) -> None:
    with pytest.raises(Unexpected) as refused:
        body.deletion(sent.encode(), JSON)

    assert (refused.value.code, refused.value.message) == (500, says)


def test_options_of_a_deletion_may_say_nothing() -> None:
    assert body.deletion(b"", JSON) is None
    given = body.deletion(b'{"gracePeriodSeconds":0,"nosuch":1}', JSON)
    assert given == {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
