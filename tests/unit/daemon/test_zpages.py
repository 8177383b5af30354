"""What a daemon says of itself."""

import json

import pytest
import yaml

from kybern.daemon.zpages import Pages, negotiated, started

START = 1767225600.0
KIND = "application/json;g=config.k8s.io;v=v1beta1;as=Statusz"
PAGES = Pages("kube-test", {"v": "2", "bind-address": "::"}, ("/healthz", "/metrics"), start=lambda: START)


def test_the_status_is_a_text_for_people() -> None:
    page = PAGES.statusz("", START + 3 * 3600 + 62)

    head, _warning, rest = page.body.decode().removeprefix("\n").split("\n", 2)
    version = rest.split("\n")[3]
    assert (page.code, page.content_type, head) == (200, "text/plain; charset=utf-8", "kube-test statusz")
    assert version.startswith("Go version: python3.")
    assert rest.replace(version, "-") == (
        "\nStarted: Thu Jan  1 00:00:00 UTC 2026\nUp: 3 hr 01 min 02 sec\n-\nBinary version: 1.36.2-kybern\n"
        "Emulation version: 1.36\nMinimum Compatibility version: 1.35\nPaths: /healthz /metrics\n"
    )


def test_flags_are_lines_in_the_order_of_their_names() -> None:
    page = PAGES.flagz("text/plain;charset=UTF-8")

    assert page.body.decode().startswith(
        "\nkube-test flags\nWarning: This endpoint is not meant to be machine"
    )
    assert page.body.decode().endswith(" only.\n\nbind-address=::\nv=2\n")


def test_programs_get_an_object_whose_kind_they_name() -> None:
    found = json.loads(PAGES.statusz(KIND, START + 90).body)

    assert (found["kind"], found["apiVersion"]) == ("Statusz", "config.k8s.io/v1beta1")
    assert found["metadata"] == {"name": "kube-test"}
    assert (found["startTime"], found["uptimeSeconds"]) == ("2026-01-01T00:00:00Z", 90)
    assert (found["emulationVersion"], found["minimumCompatibilityVersion"]) == ("1.36", "1.35")
    assert found["paths"] == ["/healthz", "/metrics"]


def test_flags_are_an_object_in_yaml_as_well() -> None:
    page = PAGES.flagz(KIND.replace("json", "yaml").replace("Statusz", "Flagz"))

    assert page.content_type == "application/yaml"
    assert yaml.safe_load(page.body) == {
        "kind": "Flagz", "apiVersion": "config.k8s.io/v1beta1", "metadata": {"name": "kube-test"},
        "flags": {"bind-address": "::", "v": "2"},
    }  # fmt: skip


def test_daemons_of_nodes_emulate_nothing() -> None:
    page = Pages("kubelet", {}, emulates=False).statusz("", started())

    assert b"Emulation" not in page.body
    assert b"\nUp: 0 hr 00 min 00 sec\n" in page.body


def test_what_is_asked_for_otherwise_is_not_acceptable() -> None:
    page = PAGES.flagz("application/json")

    assert page.code == 406
    assert b"as=Flagz" in page.body


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/*;q=0.5", "text/plain"),
        ("text/html, text/plain", "text/plain"),
        ("text/plain;charset=latin1", ""),
        ("text/html", ""),
        (KIND, "application/json"),
        ("application/json; as=Statusz; v=v1beta1; g=config.k8s.io; q=1", "application/json"),
        ("application/json, */*;q=0.8", "text/plain"),
        (KIND.replace("v1beta1", "v1"), ""),
        (KIND.replace("Statusz", "Flagz"), ""),
        ("application/cbor;g=config.k8s.io;v=v1beta1;as=Statusz", ""),
    ],
)
def test_the_form_is_negotiated(accept: str, media: str) -> None:
    assert negotiated(accept, "Statusz") == media
