"""The plugins that are on, in their order, and how a write passes them.

``Chain.mutate`` runs before validation of the object, ``Chain.validate`` after it. A write passes only the plugins that
look at its resource. Each plugin's time is measured, and that of all of them.
"""

from collections.abc import Iterable, Mapping
from time import perf_counter

from kybern.admission import metrics
from kybern.admission.framework import Hook, Plugin, Request
from kybern.admission.plugins import PLUGINS
from kybern.machinery.kind import Raw

LATER = frozenset({"JobValidation", "PodGroupProtection", "PodGroupWorkloadExists"})
"""Upstream's plugins that are not here yet: naming one to switch it off is no error, to switch it on is."""

CONFIGURED = frozenset(plugin.name for plugin in PLUGINS if plugin.configure is not None)
"""Those that AdmissionConfiguration may say something of."""


class _Step:
    """The hooks of one type (admit or validate) that look at a resource in an operation, by their plugins' names.

    Where their time goes when nothing is refused is looked up once.
    """

    def __init__(self, type_: str, operation: str, hooks: Iterable[tuple[str, Hook]]) -> None:
        self._type, self._operation = type_, operation
        self._passed = metrics.STEPS.of(type_, operation, "false")
        self._hooks = tuple(
            (name, hook, metrics.CONTROLLERS.of(name, type_, operation, "false")) for name, hook in hooks
        )

    async def run(self, request: Request) -> None:
        started = then = perf_counter()
        name = ""
        try:
            while True:
                for name, hook, passed in self._hooks:  # noqa: B007  # who refused
                    await hook(request)
                    now = perf_counter()
                    passed.observe(now - then)
                    then = now
                again = request.again
                if again is None or again.round or not again.wanted:
                    break
                # Once more, for those who want to see what came after them; the plugins of the server see it, too.
                again.round = 1
        except Exception:
            now = perf_counter()
            metrics.CONTROLLERS.of(name, self._type, self._operation, "true").observe(now - then)
            metrics.STEPS.of(self._type, self._operation, "true").observe(now - started)
            raise
        self._passed.observe(then - started)


class Chain:
    """Runs a write through the plugins."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = tuple(plugins)
        self._steps: dict[tuple[str, str, str], tuple[_Step, _Step]] = {}

    async def mutate(self, request: Request) -> None:
        await self._for(request)[0].run(request)

    async def validate(self, request: Request) -> None:
        await self._for(request)[1].run(request)

    async def close(self) -> None:
        """End what plugins have open."""
        for plugin in self.plugins:
            if plugin.close is not None:
                await plugin.close()

    def _for(self, request: Request) -> tuple[_Step, _Step]:
        kind, operation = request.kind, request.operation
        key = (kind.group, kind.plural, operation)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = self._made(request)
        return found

    def _made(self, request: Request) -> tuple[_Step, _Step]:
        connects = request.operation == "CONNECT"
        on = [
            plugin
            for plugin in self.plugins
            if plugin.looks_at(request.kind) and (plugin.connects or not connects)
        ]
        mutating = [(plugin.name, plugin.mutate) for plugin in on if plugin.mutate is not None]
        validating = [(plugin.name, plugin.validate) for plugin in on if plugin.validate is not None]
        return (
            _Step("admit", request.operation, mutating),
            _Step("validate", request.operation, validating),
        )


def chain(
    enable: Iterable[str] = (), disable: Iterable[str] = (), settings: Mapping[str, Raw] | None = None
) -> Chain:
    """The chain that --enable-admission-plugins and --disable-admission-plugins ask for. Raises ValueError.

    ``settings`` are the plugins' own of AdmissionConfiguration, by name.
    """
    on, off = frozenset(enable), frozenset(disable)
    known = {plugin.name for plugin in PLUGINS}
    for flag, names in (("enable", on - known), ("disable", off - known - LATER)):
        for name in sorted(names):
            raise ValueError(f'{flag}-admission-plugins plugin "{name}" is unknown')
    for name in sorted(on & off):
        raise ValueError(f'"{name}" in enable-admission-plugins and disable-admission-plugins overlapped')
    return Chain(
        _configured(plugin, settings or {})
        for plugin in PLUGINS
        if plugin.name in on or (plugin.default and plugin.name not in off)
    )


def _configured(plugin: Plugin, settings: Mapping[str, Raw]) -> Plugin:
    if plugin.configure is None:
        return plugin
    try:
        return plugin.configure(settings.get(plugin.name, {}))
    except ValueError as problem:
        raise ValueError(f'couldn\'t init admission plugin "{plugin.name}": {problem}') from problem
