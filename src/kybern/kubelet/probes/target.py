"""What is probed, and what came of it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from kybern.api.core_v1 import Container
from kybern.kubelet.cri import Runtime


class Outcome(NamedTuple):
    """``ok`` is None when the probe could not be made at all. ``text`` is what the event says.

    ``warns``: it went well, but somebody should know what was found.
    """

    ok: bool | None
    text: str = ""
    warns: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """One run of a container and where it is reached."""

    runtime: Runtime
    instance: str
    container: Container
    ip: str
    seconds: float = 1.0
    agent: str = field(default="kube-probe/1.36")


class NoPort(ValueError):
    """A probe names a port that the container does not have."""


def port_of(container: Container, port: int | str | None) -> int:
    """A number, or the number of a named port."""
    if isinstance(port, int):
        return port
    for found in container.ports:
        if found.name == port and found.container_port is not None:
            return found.container_port
    if port and port.isdigit():
        return int(port)
    raise NoPort(f"couldn't find port: {port}")


def within(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
