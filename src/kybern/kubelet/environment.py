"""The environment of a container: services, envFrom, env in their order, and ``$(NAME)`` in values, commands and arguments.

Pure: config maps, secrets and files come in through ``Sources``. A reference that cannot be met raises ``Missing`` with
upstream's words, which become the container's CreateContainerConfigError.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kybern.api.core_v1 import (
    ConfigMap,
    Container,
    EnvFromSource,
    EnvVar,
    FileKeySelector,
    Pod,
    Secret,
    Service,
)
from kybern.kubelet import env_files
from kybern.kubelet.fields import Place, Unknown, container_of, field_value, resource_value

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")


class Missing(Exception):
    """Something that a container needs is not there (yet)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What variables may come from, by name; None for an object that does not exist."""

    config_maps: Mapping[str, ConfigMap | None] = field(default_factory=dict)
    secrets: Mapping[str, Secret | None] = field(default_factory=dict)
    services: tuple[Service, ...] = ()
    files: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    """The text of files, by the volume and the path in it."""
    place: Place = field(default_factory=Place)


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; ``$$`` is a dollar sign, and what is not known stays as it is."""

    def replaced(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return known.get(found[2], found[0])

    return _REFERENCE.sub(replaced, text)


def references(text: str) -> frozenset[str]:
    """The names that a text refers to."""
    return frozenset(found[2] for found in _REFERENCE.finditer(text) if found[1] != "$")


def environment(pod: Pod, container: Container, sources: Sources) -> dict[str, str]:
    """All variables; later ones win, and may refer to those before them."""
    services = service_variables(pod, sources.services)
    found: dict[str, str] = {}
    for source in container.env_from:
        found.update(_from(pod, source, sources))
    result = dict(found)
    known = {**services, **found}
    for variable in container.env:
        value = _value(pod, container, variable, sources, known)
        if value is not None:
            result[variable.name] = known[variable.name] = value
    return {**{name: value for name, value in services.items() if name not in result}, **result}


def _from(pod: Pod, source: EnvFromSource, sources: Sources) -> Iterator[tuple[str, str]]:
    if source.config_map_ref is not None:
        name, optional = source.config_map_ref.name, source.config_map_ref.optional
        data = config_data(pod, sources, name, optional=bool(optional))
    elif source.secret_ref is not None:
        name, optional = source.secret_ref.name, source.secret_ref.optional
        raw = secret_data(pod, sources, name, optional=bool(optional))
        data = {key: value.decode(errors="replace") for key, value in raw.items()}
    else:
        return
    for key, value in data.items():
        yield source.prefix + key, value


def config_data(pod: Pod, sources: Sources, name: str, *, optional: bool) -> Mapping[str, str]:
    found = sources.config_maps.get(name)
    if found is None:
        if optional:
            return {}
        raise Missing(f'configmap "{name}" not found')
    return found.data


def secret_data(pod: Pod, sources: Sources, name: str, *, optional: bool) -> Mapping[str, bytes]:
    found = sources.secrets.get(name)
    if found is None:
        if optional:
            return {}
        raise Missing(f'secret "{name}" not found')
    return {key: base64.b64decode(value) for key, value in found.data.items()}


def _value(
    pod: Pod, container: Container, variable: EnvVar, sources: Sources, known: Mapping[str, str]
) -> str | None:
    """The value of one variable; None when an optional source has none."""
    source = variable.value_from
    if source is None:
        return expand(variable.value, known)
    try:
        if source.field_ref is not None:
            return field_value(source.field_ref, pod, sources.place)
        if source.resource_field_ref is not None:
            name = source.resource_field_ref.container_name
            of = container_of(pod, name) if name else container
            return resource_value(source.resource_field_ref, of, sources.place)
    except Unknown as problem:
        raise Missing(str(problem)) from problem
    return _keyed(pod, variable, sources)


def _keyed(pod: Pod, variable: EnvVar, sources: Sources) -> str | None:
    source = variable.value_from
    assert source is not None
    namespace = pod.metadata.namespace
    if source.config_map_key_ref is not None:
        config = source.config_map_key_ref
        data = config_data(pod, sources, config.name, optional=bool(config.optional))
        if config.key in data:
            return data[config.key]
        if config.optional:
            return None
        raise Missing(f"couldn't find key {config.key} in ConfigMap {namespace}/{config.name}")
    if source.secret_key_ref is not None:
        secret = source.secret_key_ref
        raw = secret_data(pod, sources, secret.name, optional=bool(secret.optional))
        if secret.key in raw:
            return raw[secret.key].decode(errors="replace")
        if secret.optional:
            return None
        raise Missing(f"couldn't find key {secret.key} in Secret {namespace}/{secret.name}")
    if source.file_key_ref is not None:
        return _in_file(source.file_key_ref, sources)
    raise Missing(f'invalid env var "{variable.name}": its source is not supported')


def _in_file(wanted: FileKeySelector, sources: Sources) -> str | None:
    text = sources.files.get((wanted.volume_name, wanted.path))
    try:
        found = env_files.value(text, wanted.key) if text is not None else None
    except ValueError as problem:
        raise Missing(
            f"couldn't parse env file {wanted.path} of volume {wanted.volume_name}: {problem}"
        ) from problem
    if found is not None or wanted.optional:
        return found
    if text is None:
        raise Missing(f'environment variable file "{wanted.path}" not found in volume "{wanted.volume_name}"')
    raise Missing(f'environment variable key "{wanted.key}" not found in file "{wanted.path}"')


def files_of(container: Container) -> frozenset[tuple[str, str]]:
    """The files that the environment of a container needs: the volume, and the path in it."""
    sources = (
        variable.value_from.file_key_ref for variable in container.env if variable.value_from is not None
    )
    return frozenset((source.volume_name, source.path) for source in sources if source is not None)


def referred(containers: Iterable[Container]) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the config maps and secrets that the environments of containers need."""
    maps, secrets = set(), set()
    for container in containers:
        for whole in container.env_from:
            if whole.config_map_ref is not None:
                maps.add(whole.config_map_ref.name)
            if whole.secret_ref is not None:
                secrets.add(whole.secret_ref.name)
        for source in (variable.value_from for variable in container.env):
            if source is not None and source.config_map_key_ref is not None:
                maps.add(source.config_map_key_ref.name)
            if source is not None and source.secret_key_ref is not None:
                secrets.add(source.secret_key_ref.name)
    return frozenset(maps), frozenset(secrets)


def service_variables(pod: Pod, services: Iterable[Service]) -> dict[str, str]:
    """NAME_SERVICE_HOST and its kin. The API server's own Service shows in every namespace, others only in theirs."""
    chosen: dict[str, Service] = {}
    for service in services:
        meta, address = service.metadata, service.spec.cluster_ip
        if not address or address == "None":
            continue
        master = meta.namespace == "default" and meta.name == "kubernetes"
        local = pod.spec.enable_service_links is not False and meta.namespace == pod.metadata.namespace
        if local or (master and meta.name not in chosen):
            chosen[meta.name] = service
    found: dict[str, str] = {}
    for name in sorted(chosen):
        found.update(_of_service(chosen[name]))
    return found


def _of_service(service: Service) -> Iterator[tuple[str, str]]:
    name = service.metadata.name.upper().replace("-", "_")
    address = service.spec.cluster_ip
    ports = service.spec.ports
    if not ports:
        return
    yield f"{name}_SERVICE_HOST", address
    yield f"{name}_SERVICE_PORT", str(ports[0].port)
    for port in ports:
        if port.name:
            yield f"{name}_SERVICE_PORT_{port.name.upper().replace('-', '_')}", str(port.port)
    shown = f"[{address}]" if ":" in address else address
    for index, port in enumerate(ports):
        protocol = (port.protocol or "TCP").lower()
        url = f"{protocol}://{shown}:{port.port}"
        if index == 0:
            yield f"{name}_PORT", url
        prefix = f"{name}_PORT_{port.port}_{protocol.upper()}"
        yield prefix, url
        yield f"{prefix}_PROTO", protocol
        yield f"{prefix}_PORT", str(port.port)
        yield f"{prefix}_ADDR", address
