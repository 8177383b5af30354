"""Encryption at rest: the file that ``--encryption-provider-config`` names, read at the start and again when it changes.

With ``--encryption-provider-config-automatic-reload`` the file's stamp is looked at once a second (upstream: once a
minute), and a new configuration takes over within the running server: no watch ends. One that cannot be used leaves the
old one in force, and so does one whose key management services are not well. Which one is in force is told by upstream's
metric, as the digest of the file: a rotation of keys waits until every server tells the same.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kybern.apiserver import kms_metrics
from kybern.apiserver.reloads import EVERY, Reloads, Retired, said, stamp
from kybern.daemon.run import Fatal
from kybern.machinery.kind import Kind
from kybern.storage.encryption.configuration import Configuration, Invalid, parse
from kybern.storage.encryption.kms import Kms, KmsSetting
from kybern.storage.encryption.plugin import Plugin, Unwell
from kybern.storage.encryption.values import Values

log = logging.getLogger(__name__)

FLAG = "encryption-provider-config"
PROVIDERS = "kms-providers"
"""The name of the check of health."""
_MOVED = "events.k8s.io"  # its objects are kept as the core group's

RELOADS = Reloads("encryption")


def resources(kinds: Iterable[Kind]) -> Mapping[str, tuple[str, str]]:
    """(group, resource) by the place in the store."""
    return {
        kind.storage: (kind.group, kind.plural) for kind in kinds if kind.storage and kind.group != _MOVED
    }


class Encryption:
    """The file, and the values that are sealed by it. Raises Fatal when it cannot be used at the start."""

    def __init__(self, path: Path, kinds: Iterable[Kind], root: str, *, follows: bool = False) -> None:
        self._path, self._follows = path, follows
        self._plugins: dict[KmsSetting, Plugin] = {}
        self._made: dict[KmsSetting, Plugin] = {}
        self._retired = Retired()
        self._content = b""
        try:
            self._stamp = stamp(path)
            configuration = self._read()
        except (OSError, Invalid) as problem:
            raise Fatal(f"kube-apiserver: cannot use --{FLAG} {path}: {said(problem)}") from problem
        self._plugins = self._made
        RELOADS.uses(self._content)
        self.values = Values(configuration, resources(kinds), root)

    @property
    def checked(self) -> bool:
        """Whether health has a check of key management services: there are some, or may be some day."""
        return self._follows or bool(self._plugins)

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Connect to the services, and follow the file if that is wanted. A service that is not well may come later."""
        for plugin in self._plugins.values():
            await plugin.start()
        if self._follows:
            tasks.create_task(self._run(), name="encryption")

    async def close(self) -> None:
        for plugin in self._plugins.values():
            await plugin.close()
        await self._retired.close()

    async def check(self) -> None:
        """Raises Unwell when a service is not well."""
        await _check(tuple(self._plugins.values()))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.look()
            await self._retired.tend()

    async def look(self) -> None:
        """Take over what the file says, if it has changed."""
        try:
            now = stamp(self._path)
            if now == self._stamp:
                return
            self._stamp = now
            configuration = self._read()
            await self._connect()
        except (OSError, Invalid, Unwell) as problem:
            log.warning(
                "cannot use %s: %s; the configuration before it stays in force", self._path, said(problem)
            )
            RELOADS.counted("failure")
            return
        self.values.use(configuration)
        for setting, plugin in self._plugins.items():
            if setting not in self._made:
                self._retired.add(plugin.close)
        self._plugins = self._made
        RELOADS.uses(self._content)
        RELOADS.counted("success")
        log.info("Reloaded the encryption configuration %s", self._path)

    async def _connect(self) -> None:
        """Connect to the services that are new in a configuration. Raises Unwell, and leaves none connected then."""
        new = tuple(plugin for setting, plugin in self._made.items() if setting not in self._plugins)
        for plugin in new:
            await plugin.start()
        try:
            await _check(new)
        except Unwell:
            for plugin in new:
                await plugin.close()
            raise

    def _read(self) -> Configuration:
        content = self._path.read_bytes()
        self._made = {}
        configuration = parse(content, self._service)
        self._content = content
        return configuration

    def _service(self, setting: KmsSetting) -> Kms:
        """The way of a service: one that is at work goes on, with the seeds that it knows."""
        plugin = self._plugins.get(setting)
        if plugin is None:
            kms = Kms(setting, noticed=kms_metrics.used(setting.name))
            plugin = Plugin(kms, kms_metrics.timed(setting.name), kms_metrics.named(setting.name))
            kms_metrics.SEEDS.follow(setting.name, kms)
        self._made[setting] = plugin
        return plugin.kms


async def _check(plugins: Sequence[Plugin]) -> None:
    problems = []
    for number, plugin in enumerate(plugins):
        try:
            await plugin.check()
        except Unwell as problem:
            problems.append(f"kms-provider-{number}: {problem}")
    if problems:
        raise Unwell(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
