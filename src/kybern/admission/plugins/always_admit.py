"""Nothing is refused or changed: it has no effect at all. Off by default, and deprecated.

Upstream's ``plugin/pkg/admission/admit``, which is there for configurations that name it.
"""

import logging
from dataclasses import replace

from kybern.admission.framework import Plugin
from kybern.machinery.kind import Raw

log = logging.getLogger(__name__)


def deprecated(plugin: Plugin) -> Plugin:
    """The plugin that runs, after upstream's warning."""
    log.warning(
        "%s admission controller is deprecated. Please remove this controller from your configuration files and scripts.",
        plugin.name,
    )
    return replace(plugin, configure=None)


def configured(_settings: Raw) -> Plugin:
    return deprecated(PLUGIN)


PLUGIN = Plugin("AlwaysAdmit", default=False, configure=configured)
