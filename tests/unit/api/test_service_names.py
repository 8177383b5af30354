"""Names of Services: any label of RFC 1123 since v1.36 (KEP-5311), also where an Ingress names one."""

from typing import Any

import pytest

from kybern.api.core_v1.service import KIND
from kybern.api.networking_v1.ingress import KIND as INGRESS


def ingress(name: str) -> dict[str, Any]:
    return {"spec": {"defaultBackend": {"service": {"name": name, "port": {"number": 80}}}}}


@pytest.mark.parametrize("name", ["web", "1-web", "8"])
def test_a_service_may_begin_with_a_digit(name: str) -> None:
    assert KIND.valid_name is not None
    assert list(KIND.valid_name(name)) == []
    assert list(INGRESS.rules.validate(ingress(name), None)) == []


@pytest.mark.parametrize("name", ["-web", "a.b", "Web", "a" * 64])
def test_a_service_is_a_label(name: str) -> None:
    assert KIND.valid_name is not None
    (wrong,) = KIND.valid_name(name)
    (cause,) = INGRESS.rules.validate(ingress(name), None)

    assert cause.field == "spec.defaultBackend.service.name"
    assert cause.message.endswith(wrong)
