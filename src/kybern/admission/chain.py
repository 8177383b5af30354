"""The plugins that are on, in their order, and how a write passes them.

``Chain.mutate`` runs before validation of the object, ``Chain.validate`` after it. A write passes only the plugins that
look at its resource.
"""

from collections.abc import Iterable, Mapping

from kybern.admission.framework import Hook, Plugin, Request
from kybern.admission.plugins import PLUGINS
from kybern.machinery.kind import Raw

LATER = frozenset({
    "ImagePolicyWebhook", "JobValidation", "PodGroupProtection",
    "PodGroupWorkloadExists",
})  # fmt: skip
"""Upstream's plugins that are not here yet: naming one to switch it off is no error, to switch it on is."""

CONFIGURED = frozenset(plugin.name for plugin in PLUGINS if plugin.configure is not None)
"""Those that AdmissionConfiguration may say something of."""


class Chain:
    """Runs a write through the plugins."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = tuple(plugins)
        self._hooks: dict[tuple[str, str, bool], tuple[tuple[Hook, ...], tuple[Hook, ...]]] = {}

    async def mutate(self, request: Request) -> None:
        hooks = self._for(request)[0]
        for hook in hooks:
            await hook(request)
        again = request.again
        if again is not None and again.wanted:
            # Once more, for those who want to see what came after them; the plugins of the server see it, too.
            again.round = 1
            for hook in hooks:
                await hook(request)

    async def validate(self, request: Request) -> None:
        for hook in self._for(request)[1]:
            await hook(request)

    def _for(self, request: Request) -> tuple[tuple[Hook, ...], tuple[Hook, ...]]:
        connects = request.operation == "CONNECT"
        resource = (request.kind.group, request.kind.plural, connects)
        found = self._hooks.get(resource)
        if found is None:
            on = [
                plugin
                for plugin in self.plugins
                if plugin.looks_at(request.kind) and (plugin.connects or not connects)
            ]
            mutating = tuple(plugin.mutate for plugin in on if plugin.mutate is not None)
            validating = tuple(plugin.validate for plugin in on if plugin.validate is not None)
            found = self._hooks[resource] = mutating, validating
        return found


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
