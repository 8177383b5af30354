"""exec, attach and port-forward: what is asked of the kubelet, and what is refused."""

import pytest
from multidict import MultiDict

from kybern.apiserver.subresources.connect import check_protocol, container_of, parameters, translates
from kybern.machinery.errors import BadRequest

SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
SOCKET = {"Connection": "Upgrade", "Upgrade": "websocket"}


def pod(*names: str) -> dict[str, object]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": name} for name in names]}}


def test_the_only_container_is_meant_when_none_is_named() -> None:
    assert container_of(pod("a"), "") == "a"
    assert container_of(pod("a", "b"), "b") == "b"


def test_one_of_several_containers_must_be_named() -> None:
    with pytest.raises(BadRequest, match=r"must be specified for pod p, choose one of: \[a b\]"):
        container_of(pod("a", "b"), "")
    with pytest.raises(BadRequest, match="container c is not valid for pod p"):
        container_of(pod("a"), "c")


def test_every_word_of_a_command_is_passed_and_false_streams_are_not() -> None:
    query = MultiDict([("command", "sh"), ("command", "-c"), ("stdin", "false"), ("stdout", "true")])
    assert parameters("exec", query) == [("output", "1"), ("command", "sh"), ("command", "-c")]
    assert parameters("attach", query) == [("output", "1")]
    assert parameters("portforward", MultiDict([("ports", "80"), ("ports", "81")])) == [("port", "80,81")]


def test_only_subprotocols_that_runtimes_understand_in_some_form_are_taken() -> None:
    check_protocol("exec", SPDY, ())
    check_protocol("exec", SOCKET, ("v5.channel.k8s.io", "v4.channel.k8s.io"))
    check_protocol("exec", SOCKET, ("v5.channel.k8s.io",))
    check_protocol("portforward", SOCKET, ("SPDY/3.1+portforward.k8s.io",))
    for name, protocol in (("portforward", "v5.channel.k8s.io"), ("exec", "v6.channel.k8s.io")):
        with pytest.raises(BadRequest):
            check_protocol(name, SOCKET, (protocol,))
    with pytest.raises(BadRequest, match="Upgrade request required"):
        check_protocol("exec", {}, ())


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({}, False),
        ({"status": {}}, False),
        ({"status": {"declaredFeatures": ["GangScheduling"]}}, False),
        ({"status": {"declaredFeatures": ["ExtendWebSocketsToKubelet", "GangScheduling"]}}, True),
    ],
)
def test_a_kubelet_that_declares_it_takes_websockets_as_they_come(
    node: dict[str, object], expected: bool
) -> None:
    assert translates(node) is expected
