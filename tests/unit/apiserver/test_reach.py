"""Where the server dials for a Service."""

from typing import Any

import pytest

from kybern.apiserver.services.reach import Reach, of_endpoints, of_slice, tls_name
from kybern.machinery.errors import ServiceUnavailable

type Raw = dict[str, Any]


class Objects:
    """What the caches hold, by plural."""

    def __init__(self, **found: list[Raw]) -> None:
        self._found = found

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Raw | None:
        del group
        return next(
            (
                one
                for one in self._found.get(plural, [])
                if (one["metadata"]["namespace"], one["metadata"]["name"]) == (namespace, name)
            ),
            None,
        )

    async def labelled(self, group: str, plural: str, namespace: str, label: tuple[str, str]) -> list[Raw]:
        del group
        return [
            one
            for one in self._found.get(plural, [])
            if one["metadata"]["namespace"] == namespace
            and one["metadata"].get("labels", {}).get(label[0]) == label[1]
        ]


def service(**spec: Any) -> Raw:
    whole = {"type": "ClusterIP", "clusterIP": "10.0.0.7", "ports": [{"name": "web", "port": 443}], **spec}
    return {"metadata": {"namespace": "shop", "name": "hook"}, "spec": whole}


def endpoints(*addresses: str, ready: bool | None = True, port: str = "web") -> Raw:
    conditions = {} if ready is None else {"ready": ready}
    return {
        "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "hook"}},
        "ports": [{"name": port, "port": 9443}],
        "endpoints": [{"addresses": [one], "conditions": conditions} for one in addresses],
    }


async def address(objects: Objects, port: int = 443) -> tuple[str, int]:
    return await Reach(objects, choose=lambda several: several[-1]).address("shop", "hook", port)


async def test_a_ready_endpoint_is_dialled_at_the_port_of_the_services_port_name() -> None:
    objects = Objects(services=[service()], endpointslices=[endpoints("10.1.0.1"), endpoints("10.1.0.2")])
    assert await address(objects) == ("10.1.0.2", 9443)


async def test_endpoints_that_are_not_ready_or_of_another_port_leave_the_services_address() -> None:
    slices = [endpoints("10.1.0.1", ready=False), endpoints("10.1.0.2", port="metrics")]
    assert await address(Objects(services=[service()], endpointslices=slices)) == ("10.0.0.7", 443)


async def test_where_there_are_no_slices_the_older_endpoints_are_read() -> None:
    older = {
        "metadata": {"namespace": "shop", "name": "hook"},
        "subsets": [{"addresses": [{"ip": "10.1.0.9"}], "ports": [{"name": "web", "port": 8443}]}],
    }
    assert await address(Objects(services=[service()], endpoints=[older])) == ("10.1.0.9", 8443)


async def test_an_external_name_is_dialled_as_it_is() -> None:
    objects = Objects(services=[service(type="ExternalName", externalName="hooks.example.com")])
    assert await address(objects, 8443) == ("hooks.example.com", 8443)


@pytest.mark.parametrize(
    ("services", "port", "words"),
    [
        ([], 443, 'service "hook" not found'),
        ([service()], 80, 'no service port 80 found for service "hook"'),
        ([service(clusterIP="None")], 443, 'no endpoints available for service "hook"'),
        ([service(type="Odd")], 443, 'unsupported service type "Odd"'),
    ],
)
async def test_what_cannot_be_reached_is_refused_in_upstreams_words(
    services: list[Raw], port: int, words: str
) -> None:
    with pytest.raises(ServiceUnavailable) as refused:
        await address(Objects(services=services), port)
    assert refused.value.message == words


@pytest.mark.parametrize(
    ("ready", "found"), [(True, [("10.1.0.1", 9443)]), (None, [("10.1.0.1", 9443)]), (False, [])]
)
def test_an_endpoint_that_says_nothing_is_ready(ready: bool | None, found: list[tuple[str, int]]) -> None:
    assert list(of_slice(endpoints("10.1.0.1", ready=ready), "web")) == found


def test_a_port_without_a_name_answers_for_a_port_without_one() -> None:
    subset = {"addresses": [{"ip": "10.1.0.1"}], "ports": [{"port": 80}]}
    assert list(of_endpoints({"subsets": [subset]}, "")) == [("10.1.0.1", 80)]
    assert list(of_endpoints({"subsets": [subset]}, "web")) == []


def test_a_certificate_is_for_the_services_name() -> None:
    assert tls_name("shop", "hook") == "hook.shop.svc"
