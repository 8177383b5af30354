"""Who the kubelet is to the API server: a kubeconfig that it was given, or one that it gets for itself.

The part that makes keys and certificates (``bootstrap.py``) is only loaded where it is needed: it costs twelve megabytes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from kybern.client import kubeconfig
from kybern.client.kubeconfig import Config
from kybern.daemon.run import Fatal
from kybern.kubelet.node import own_hostname
from kybern.kubelet.settings import Settings

_OWN = "kubelet-client-current.pem"


@contextlib.asynccontextmanager
async def identity(settings: Settings) -> AsyncIterator[Config | None]:
    """The identity; None without an API server. A certificate of the kubelet's own is rotated meanwhile."""
    if not settings.kubeconfig and not settings.bootstrap_kubeconfig:
        yield None
        return
    node = (settings.hostname_override or own_hostname()).lower()
    if settings.bootstrap_kubeconfig:
        if not settings.kubeconfig:
            raise Fatal("--bootstrap-kubeconfig needs --kubeconfig, where to write the identity")
        from kybern.kubelet.bootstrap import first, usable  # noqa: PLC0415  # see above

        if not await asyncio.to_thread(usable, settings.kubeconfig, datetime.now(UTC)):
            await first(settings, node)
    config = kubeconfig.load(settings.kubeconfig)
    if Path(config.cert_file).name != _OWN or not settings.rotate_certificates:
        yield config
        return
    from kybern.kubelet.bootstrap import rotate  # noqa: PLC0415  # see above

    async with asyncio.TaskGroup() as tasks:
        rotating = tasks.create_task(rotate(settings, config, node))
        try:
            yield config
        finally:
            rotating.cancel()
