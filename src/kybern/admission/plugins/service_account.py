"""Every pod runs as a service account that exists, and finds a token for it, unless it does not want one.

The token, the cluster's CA and the namespace come as one projected volume at the well-known path, in every container that
has nothing mounted there.
"""

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

from kybern.admission.framework import Plugin, Request, refused
from kybern.auth import references
from kybern.auth.tokens import PROJECTED_SECONDS
from kybern.machinery.kind import Raw

DEFAULT = "default"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
ENFORCE = "kubernetes.io/enforce-mountable-secrets"
ATTEMPTS, PAUSE = 10, 0.15
"""A new namespace's ``default`` account is made by a controller: it is waited for, as long as upstream waits."""
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
TRUE = ("1", "t", "T", "true", "TRUE", "True")


async def mutate(request: Request) -> None:
    pod = request.new
    if pod is None or request.subresource or request.operation != "CREATE":
        return
    if _is_mirror(pod):
        _check_mirror(request, pod)
        return
    spec = pod.setdefault("spec", {})
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT
    # The second is the old name of the first; clients find the same under both.
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = await _account(request, name)
    if _automount(spec, account):
        _mount(spec)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [{"name": one.get("name", "")} for one in account["imagePullSecrets"]]


async def validate(request: Request) -> None:
    pod = request.new
    if pod is None or not (
        (request.operation == "CREATE" and not request.subresource)
        or (request.operation == "UPDATE" and request.subresource == "ephemeralcontainers")
    ):
        return
    if _is_mirror(pod):
        if request.operation == "CREATE":
            _check_mirror(request, pod)
        return
    name = (pod.get("spec") or {}).get("serviceAccountName") or ""
    if not name:
        raise refused(
            request,
            f"no service account specified for pod {request.namespace}/{pod['metadata'].get('name', '')}",
        )
    account = await _account(request, name)
    if (account["metadata"].get("annotations") or {}).get(ENFORCE) in TRUE:
        for problem in _unlisted(pod, account, ephemeral=bool(request.subresource)):
            raise refused(request, problem)


def _is_mirror(pod: Raw) -> bool:
    return references.MIRROR in (pod["metadata"].get("annotations") or {})


def _check_mirror(request: Request, pod: Raw) -> None:
    """Mirror pods show what a kubelet runs by itself; they must not open doors to secrets."""
    if (pod.get("spec") or {}).get("serviceAccountName"):
        raise refused(request, "a mirror pod may not reference service accounts")
    if any(references.secrets(pod)):
        raise refused(request, "a mirror pod may not reference secrets")
    for volume in references.volumes(pod):
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken"):
                raise refused(request, "a mirror pod may not use ServiceAccountToken volume projections")


async def _account(request: Request, name: str) -> Raw:
    where = "", "serviceaccounts", request.namespace, name
    found = await request.lookup.get(*where)
    for attempt in range(ATTEMPTS if name == DEFAULT else 1):
        if found is not None:
            return found
        if attempt:
            await asyncio.sleep(PAUSE)
        found = await request.lookup.get_live(*where)
    if found is None:
        raise refused(
            request,
            f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found',
        )
    return found


def _automount(spec: Raw, account: Raw) -> bool:
    for holder in (spec, account):
        if holder.get("automountServiceAccountToken") is not None:
            return bool(holder["automountServiceAccountToken"])
    return True


def _mount(spec: Raw) -> None:
    volumes = spec.get("volumes") or []
    name = next((one["name"] for one in volumes if _is_token_volume(one)), "")
    volume_name = name or "kube-api-access-" + "".join(secrets.choice(LETTERS) for _ in range(5))
    needed = False
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                continue
            mount = {"name": volume_name, "readOnly": True, "mountPath": MOUNT_PATH}
            container["volumeMounts"] = [*mounts, mount]
            needed = True
    if needed and not name:
        spec["volumes"] = [*volumes, _token_volume(volume_name)]


def _is_token_volume(volume: Any) -> bool:
    """A volume of ours from before, in a pod that was copied."""
    sources: list[Raw] | None = (volume.get("projected") or {}).get("sources")
    name: str = volume["name"]
    return name.startswith("kube-api-access-") and sources == _token_volume("")["projected"]["sources"]


def _token_volume(name: str) -> Raw:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources: list[Raw] = [
        {"serviceAccountToken": {"expirationSeconds": PROJECTED_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}


def _unlisted(pod: Raw, account: Raw, *, ephemeral: bool) -> Iterator[str]:
    """References to secrets that the account does not list."""
    spec, name = pod.get("spec") or {}, account["metadata"]["name"]
    listed = {one.get("name", "") for one in account.get("secrets") or ()}
    tail = f"is not allowed because service account {name} does not reference that secret"
    fields = {"ephemeralContainers": "ephemeral container"}
    if not ephemeral:
        fields = {"initContainers": "init container", "containers": "container"}
        for volume in spec.get("volumes") or ():
            secret = (volume.get("secret") or {}).get("secretName")
            if secret and secret not in listed:
                yield f'volume with secret.secretName="{secret}" {tail}'
    for field, word in fields.items():
        for container in spec.get(field) or ():
            for variable, secret in _secret_keys(container):
                if secret not in listed:
                    where = f"{word} {container['name']} with envVar {variable}"
                    yield f'{where} referencing secret.secretName="{secret}" {tail}'
    yield from () if ephemeral else _unlisted_pulls(spec, account)


def _secret_keys(container: Any) -> Iterator[tuple[str, str]]:
    for variable in container.get("env") or ():
        named = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if named:
            yield variable["name"], named.get("name", "")


def _unlisted_pulls(spec: Raw, account: Raw) -> Iterator[str]:
    pulls = {one.get("name", "") for one in account.get("imagePullSecrets") or ()}
    for at, pull in enumerate(spec.get("imagePullSecrets") or ()):
        secret = pull.get("name", "")
        if secret not in pulls:
            name = account["metadata"]["name"]
            yield (
                f'imagePullSecrets[{at}].name="{secret}" is not allowed because service account {name} does not'
                " reference that imagePullSecret"
            )


PLUGIN = Plugin("ServiceAccount", mutate=mutate, validate=validate, resources=frozenset({("", "pods")}))
