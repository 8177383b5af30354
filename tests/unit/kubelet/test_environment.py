"""Variables of containers, and references to them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.core_v1 import (
    ConfigMap,
    ConfigMapEnvSource,
    ConfigMapKeySelector,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    ObjectFieldSelector,
    ResourceFieldSelector,
    ResourceRequirements,
    Secret,
    SecretKeySelector,
    Service,
    ServicePort,
    ServiceSpec,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.kubelet.environment import Missing, Sources, environment, expand, referred
from kybern.kubelet.fields import Place
from tests.unit.kubelet.making import container, pod

KNOWN = {"A": "1", "B": "two"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"), ("x$(A)y$(B)", "x1ytwo"), ("$$(A)", "$(A)"), ("$(NOPE)", "$(NOPE)"), ("$A", "$A"), ("$", "$"),
        ("$$", "$"), ("$(A", "$(A"), ("$$$(A)", "$1"), ("$()", "$()"),
    ],
)  # fmt: skip
def test_references_are_expanded(text: str, result: str) -> None:
    assert expand(text, KNOWN) == result


@given(st.text(alphabet="abc AB(){}=/"))
def test_text_without_a_dollar_sign_stays(text: str) -> None:
    assert expand(text, KNOWN) == text


@given(st.text(alphabet="$()AB x"))
def test_doubled_dollar_signs_hide_all_references(text: str) -> None:
    assert expand(text.replace("$", "$$"), KNOWN) == text


def config(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name), data=data)


def secret(name: str, **data: str) -> Secret:
    hidden = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return Secret(metadata=ObjectMeta(name=name), data=hidden)


def service(name: str, address: str = "10.96.0.9", namespace: str = "default") -> Service:
    ports = (
        ServicePort(name="http", port=80, protocol="TCP"),
        ServicePort(name="dns", port=53, protocol="UDP"),
    )
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace), spec=ServiceSpec(cluster_ip=address, ports=ports)
    )


def test_later_variables_refer_to_earlier_ones_and_win() -> None:
    one = container(
        env_from=(EnvFromSource(prefix="P_", config_map_ref=ConfigMapEnvSource(name="cm")),),
        env=(
            EnvVar(name="X", value="$(P_a)!"),
            EnvVar(name="P_a", value="mine"),
            EnvVar(name="Y", value="$(P_a)"),
        ),
    )

    found = environment(pod(one), one, Sources(config_maps={"cm": config("cm", a="1")}))

    assert found == {"P_a": "mine", "X": "1!", "Y": "mine"}


def test_values_come_from_config_maps_secrets_fields_and_resources() -> None:
    one = container(
        resources=ResourceRequirements(limits={"memory": "64Mi"}),
        env=(
            EnvVar(
                name="C", value_from=EnvVarSource(config_map_key_ref=ConfigMapKeySelector(name="cm", key="k"))
            ),
            EnvVar(name="S", value_from=EnvVarSource(secret_key_ref=SecretKeySelector(name="s", key="k"))),
            EnvVar(
                name="F", value_from=EnvVarSource(field_ref=ObjectFieldSelector(field_path="metadata.name"))
            ),
            EnvVar(
                name="M",
                value_from=EnvVarSource(
                    resource_field_ref=ResourceFieldSelector(resource="limits.memory", divisor="1Mi")
                ),
            ),
            EnvVar(
                name="N",
                value_from=EnvVarSource(resource_field_ref=ResourceFieldSelector(resource="limits.cpu")),
            ),
        ),
    )
    sources = Sources({"cm": config("cm", k="v")}, {"s": secret("s", k="hush")}, place=Place(cpu_milli=2500))

    assert environment(pod(one), one, sources) == {"C": "v", "S": "hush", "F": "web", "M": "64", "N": "3"}


@pytest.mark.parametrize("optional", [True, False])
def test_a_missing_source_is_an_error_unless_it_is_optional(optional: bool) -> None:
    reference = ConfigMapKeySelector(name="cm", key="k", optional=optional)
    one = container(env=(EnvVar(name="C", value_from=EnvVarSource(config_map_key_ref=reference)),))

    if optional:
        assert environment(pod(one), one, Sources()) == {}
    else:
        with pytest.raises(Missing, match='configmap "cm" not found'):
            environment(pod(one), one, Sources())
        with pytest.raises(Missing, match="couldn't find key k in ConfigMap default/cm"):
            environment(pod(one), one, Sources({"cm": config("cm")}))


def test_services_show_as_variables() -> None:
    one = container(env=(EnvVar(name="WEB_API_SERVICE_PORT", value="mine"),))
    services = (service("web-api"), service("headless", "None"), service("other", namespace="elsewhere"))

    found = environment(pod(one), one, Sources(services=services))

    assert found["WEB_API_SERVICE_HOST"] == "10.96.0.9"
    assert found["WEB_API_SERVICE_PORT_HTTP"] == "80"
    assert found["WEB_API_PORT_53_UDP"] == "udp://10.96.0.9:53"
    assert found["WEB_API_SERVICE_PORT"] == "mine"
    assert not any(name.startswith(("HEADLESS", "OTHER")) for name in found)


def test_without_service_links_only_the_api_server_shows() -> None:
    one = container()
    services = (service("web"), service("kubernetes"))

    found = environment(pod(one, enable_service_links=False), one, Sources(services=services))

    assert "KUBERNETES_SERVICE_HOST" in found
    assert "WEB_SERVICE_HOST" not in found


def test_what_an_environment_needs_is_known_beforehand() -> None:
    one = container(
        env_from=(EnvFromSource(config_map_ref=ConfigMapEnvSource(name="whole")),),
        env=(EnvVar(name="S", value_from=EnvVarSource(secret_key_ref=SecretKeySelector(name="s", key="k"))),),
    )

    assert referred([one]) == (frozenset({"whole"}), frozenset({"s"}))
