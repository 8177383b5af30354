"""Encryption at rest: the file that ``--encryption-provider-config`` names, read at the start and again when it changes.

With ``--encryption-provider-config-automatic-reload`` the file's stamp is looked at once a second (upstream: once a
minute), and a new configuration takes over within the running server: no watch ends. One that cannot be used leaves the
old one in force, and so does one whose key management services are not well. Which one is in force is told by upstream's
metric, as the digest of the file: a rotation of keys waits until every server tells the same.

A file whose services are not well is tried again while it lies there, as upstream does at each of its looks: it need not
be touched once they are well.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path

from kybern.apiserver import kms_metrics
from kybern.apiserver.reloads import EVERY, Followed, Reloads, Retired, said
from kybern.daemon.run import Fatal
from kybern.machinery.kind import Kind
from kybern.storage.encryption.configuration import Configuration, Invalid, parse
from kybern.storage.encryption.kms import Kms, KmsSetting
from kybern.storage.encryption.plugin import UNWELL, Plugin, Unwell
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
        self._follows = follows
        self._plugins: dict[KmsSetting, Plugin] = {}
        self._retired = Retired()
        self._again = inf  # by the loop's clock: when a file is tried again whose services were not well
        try:
            self._file = Followed(path)
            configuration, plugins = self._parsed()
        except (OSError, Invalid) as problem:
            raise Fatal(f"kube-apiserver: cannot use --{FLAG} {path}: {said(problem)}") from problem
        self._use(plugins)
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
        """Take over what the file says, if it has changed, or if its services were not well the last time."""
        clock = asyncio.get_running_loop().time
        try:
            if not self._file.changed() and clock() < self._again:
                return
            self._again = inf
            configuration, plugins = self._parsed()
            await _connect([plugin for at, plugin in plugins.items() if at not in self._plugins])
        except (OSError, Invalid, Unwell) as problem:
            log.warning(
                "cannot use %s: %s; the configuration before it stays in force",
                self._file.path,
                said(problem),
            )
            if isinstance(problem, Unwell):
                self._again = clock() + UNWELL
            RELOADS.counted("failure")
            return
        self.values.use(configuration)
        for setting, plugin in self._plugins.items():
            if setting not in plugins:
                self._retired.add(plugin.close)
        self._use(plugins)
        RELOADS.counted("success")
        log.info("Reloaded the encryption configuration %s", self._file.path)

    def _use(self, plugins: dict[KmsSetting, Plugin]) -> None:
        """The file and its services are in force from now on."""
        self._plugins = plugins
        for setting, plugin in plugins.items():
            kms_metrics.SEEDS.follow(setting.name, plugin.kms)
        RELOADS.uses(self._file.content)

    def _parsed(self) -> tuple[Configuration, dict[KmsSetting, Plugin]]:
        """What the file says, and its services: one that is at work goes on, with the seeds that it knows."""
        plugins: dict[KmsSetting, Plugin] = {}

        def service(setting: KmsSetting) -> Kms:
            plugin = plugins[setting] = self._plugins.get(setting) or _plugin(setting)
            return plugin.kms

        return parse(self._file.content, service), plugins


def _plugin(setting: KmsSetting) -> Plugin:
    kms = Kms(setting, noticed=kms_metrics.used(setting.name))
    return Plugin(kms, kms_metrics.timed(setting.name), kms_metrics.named(setting.name))


async def _connect(new: Sequence[Plugin]) -> None:
    """Connect to the services that are new in a configuration. Raises Unwell, and leaves none connected then."""
    for plugin in new:
        await plugin.start()
    try:
        await _check(new)
    except Unwell:
        for plugin in new:
            await plugin.close()
        raise


async def _check(plugins: Sequence[Plugin]) -> None:
    problems = []
    for number, plugin in enumerate(plugins):
        try:
            await plugin.check()
        except Unwell as problem:
            problems.append(f"kms-provider-{number}: {problem}")
    if problems:
        raise Unwell(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
