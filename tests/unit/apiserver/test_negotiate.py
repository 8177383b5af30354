"""Accept headers."""

import pytest

from kybern.apiserver.negotiate import JSON, PROTOBUF, YAML, Form, negotiate
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
