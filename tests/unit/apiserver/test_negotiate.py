"""Accept headers."""

import pytest

from kybern.apiserver.negotiate import JSON, PROTOBUF, YAML, Form, indented, negotiate
from kybern.machinery.errors import NotAcceptable


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form()),
        ("*/*", Form()),
        ("application/yaml", Form(YAML)),
        ("application/xml, application/json;q=0.5", Form()),
        ("application/vnd.kubernetes.protobuf", Form(PROTOBUF)),
        ("application/vnd.kubernetes.protobuf,application/json", Form(PROTOBUF)),
        ("application/json,application/vnd.kubernetes.protobuf", Form()),
        ("application/vnd.kubernetes.protobuf;q=0.5,application/json", Form()),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Form(JSON, "Table")),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Form()),
        (
            "application/json;as=PartialObjectMetadataList;v=v1beta1;g=meta.k8s.io",
            Form(JSON, "PartialObjectMetadataList", "v1beta1"),
        ),
        ("application/json;pretty=1", Form(pretty=True)),
    ],
)  # fmt: skip
def test_a_client_gets_the_form_it_accepts(accept: str, form: Form) -> None:
    assert negotiate(accept) == form


def test_a_media_type_that_nobody_knows_is_refused_with_what_there_is() -> None:
    with pytest.raises(NotAcceptable, match="Available representations: application/json"):
        negotiate("application/cbor")


def test_a_table_as_protobuf_is_refused() -> None:
    with pytest.raises(NotAcceptable, match="only the following media types"):
        negotiate("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io")


@pytest.mark.parametrize(
    ("query", "agent", "people"),
    [
        ({}, "kubectl/v1.36.2", False),
        ({}, "curl/8.14.1", True),
        ({"pretty": ""}, "Mozilla/5.0 (X11)", True),
        ({"pretty": ""}, "kubectl/v1.36.2", False),
        ({"pretty": "true"}, "", True),
        ({"pretty": "0"}, "curl/8.14.1", False),
        ({"pretty": "yes"}, "Wget/1.25", False),
    ],
)
def test_answers_are_indented_for_those_who_say_so_and_for_what_people_use(
    query: dict[str, str], agent: str, people: bool
) -> None:
    assert indented(query, agent) is people
