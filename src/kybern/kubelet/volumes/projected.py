"""Several sources in one directory: config maps, secrets, the pod's fields, tokens of its service account, trust anchors."""

from pathlib import Path

from kybern.api.core_v1 import ConfigMapProjection, SecretProjection, VolumeProjection
from kybern.kubelet.security import run_as
from kybern.kubelet.volumes import atomic, payload, tmpfs
from kybern.kubelet.volumes.atomic import File
from kybern.kubelet.volumes.ownership import own
from kybern.kubelet.volumes.plugin import CannotMount, Plugin, Site


async def _set_up(site: Site) -> Path:
    source = site.volume.projected
    assert source is not None
    files: dict[str, File] = {}
    for part in source.sources:
        files.update(await _part(site, part, source.default_mode))
    await tmpfs.mount(site.directory)
    atomic.write(site.directory, files, site.fs_group)
    own(site.directory, site.fs_group)
    return site.directory


async def _part(site: Site, part: VolumeProjection, mode: int | None) -> dict[str, File]:
    if part.config_map is not None:
        return await _config_map(site, part.config_map, mode)
    if part.secret is not None:
        return await _secret(site, part.secret, mode)
    if part.downward_api is not None:
        return payload.downward(part.downward_api.items, site.pod, site.place, mode)
    if part.service_account_token is not None:
        wanted = part.service_account_token
        token = await site.objects.token(site.pod, wanted)
        return {_path(wanted.path): _private(site, token, mode)}
    if part.cluster_trust_bundle is not None:
        anchors = await site.objects.trust_anchors(part.cluster_trust_bundle)
        return {_path(part.cluster_trust_bundle.path): _private(site, anchors, mode)}
    if part.pod_certificate is not None:
        raise CannotMount("projected volume has a podCertificate source: pod certificates are not supported")
    raise CannotMount("projected volume has a source that is not supported")


async def _config_map(site: Site, source: ConfigMapProjection, mode: int | None) -> dict[str, File]:
    found = await site.objects.config_map(site.pod.metadata.namespace, source.name)
    if found is None:
        if source.optional:
            return {}
        raise CannotMount(f'configmap "{source.name}" not found')
    return payload.chosen(payload.of_config_map(found), source.items, mode, optional=bool(source.optional))


async def _secret(site: Site, source: SecretProjection, mode: int | None) -> dict[str, File]:
    found = await site.objects.secret(site.pod.metadata.namespace, source.name)
    if found is None:
        if source.optional:
            return {}
        raise CannotMount(f'secret "{source.name}" not found')
    return payload.chosen(
        payload.of_secret(found), source.items, mode, optional=bool(source.optional), kind="secret"
    )


def _path(path: str) -> str:
    try:
        return atomic.checked(path)
    except ValueError as problem:
        raise CannotMount(str(problem)) from problem


def _private(site: Site, text: str, mode: int | None) -> File:
    """Readable by the group, or by the one user that all containers run as, or by everyone (upstream's rule)."""
    usual = payload.DEFAULT_MODE if mode is None else mode
    if site.fs_group is not None:
        return File(text.encode(), 0o600)
    users = {run_as(site.pod, c)[0] for c in (*site.pod.spec.init_containers, *site.pod.spec.containers)}
    if len(users) == 1 and (user := users.pop()) is not None:
        return File(text.encode(), 0o600, user)
    return File(text.encode(), usual)


PLUGIN = Plugin(
    "kubernetes.io~projected", "projected", _set_up, changes=True, only_read=True, tear_down=tmpfs.unmount
)
