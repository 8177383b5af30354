"""The providers that are installed, found by their entry points: ours is one among others."""

from collections.abc import Callable
from importlib.metadata import entry_points

from kybern.cloud.provider import BadConfig, Provider

GROUP = "kybern.cloud_providers"


def find(name: str) -> Callable[[str], Provider]:
    """The function that makes a provider of the text of its configuration; raises BadConfig."""
    found = {one.value: one for one in entry_points(group=GROUP, name=name)}
    if not found:
        known = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
        raise BadConfig(f'unknown cloud provider "{name}"; installed: {known}')
    if len(found) > 1:
        raise BadConfig(
            f'cloud provider "{name}" is two things: {" and ".join(sorted(found))}; uninstall one of them'
        )
    (one,) = found.values()
    try:
        made: Callable[[str], Provider] = one.load()
    except ImportError as problem:
        raise BadConfig(f'cannot load cloud provider "{name}" ({one.value}): {problem}') from problem
    return made
