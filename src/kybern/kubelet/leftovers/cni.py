"""CNI's side of leftovers: the runtime's networks, the addresses that host-local gave out, and DEL.

Formats are those of the CNI specification 1.0 (a network's configuration, the environment of a plugin), of host-local (a
file for each address: the container's id and the interface on two lines) and of libcni's cache of results.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from kybern.kubelet.leftovers.plan import Address

CACHE = Path("/var/lib/cni/results")
_ADDRESSES = "/var/lib/cni/networks"
_PATIENCE = 30.0
_INTERFACE = "eth0"


class PluginFailed(Exception):
    """What a plugin said instead of taking an address back."""


@dataclass(frozen=True, slots=True)
class Network:
    """One network of the runtime: its plugins' configurations in the order of ADD, and where programs lie."""

    name: str
    version: str
    plugins: Sequence[Mapping[str, Any]]
    programs: Sequence[str] = ()

    @property
    def directories(self) -> Iterator[Path]:
        """Where host-local keeps this network's addresses."""
        for plugin in self.plugins:
            ipam = plugin.get("ipam") or {}
            if ipam.get("type") == "host-local":
                yield Path(ipam.get("dataDir") or _ADDRESSES, self.name)


def networks(told: str) -> tuple[Network, ...]:
    """Of what containerd tells of its CNI configuration (Status, verbose, ``cniconfig``). Pure."""
    found = json.loads(told or "{}")
    return tuple(
        Network(
            one["Config"]["Name"],
            one["Config"].get("CNIVersion", ""),
            [json.loads(plugin["Source"]) for plugin in one["Config"]["Plugins"]],
            tuple(found.get("PluginDirs") or ()),
        )
        for one in found.get("Networks") or ()
    )


def addresses(network: Network) -> Iterator[Address]:
    """All that are given out; what is no address (locks, the last one given) is left alone. Blocking."""
    for directory in network.directories:
        for path in directory.iterdir() if directory.is_dir() else ():
            try:
                ip_address(path.name)
                sandbox, _, interface = path.read_text().strip().partition("\n")
                made = path.stat().st_mtime
            except (ValueError, FileNotFoundError):
                continue
            if sandbox.strip():
                yield Address(network.name, path.name, sandbox.strip(), interface.strip() or _INTERFACE, made)


def requests(network: Network, cached: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """What to tell which plugin, in the order of DEL, which is the reverse of ADD's. Pure.

    ``cached`` is what libcni kept of the ADD; empty when it never came to its end.
    """
    given = cached.get("capabilityArgs") or {}
    for plugin in reversed(network.plugins):
        able = [name for name, on in (plugin.get("capabilities") or {}).items() if on and name in given]
        more: dict[str, Any] = {"name": network.name, "cniVersion": network.version}
        if able:
            more["runtimeConfig"] = {name: given[name] for name in able}
        if cached.get("result"):
            more["prevResult"] = cached["result"]
        yield str(plugin["type"]), json.dumps({**plugin, **more}).encode()


async def release(network: Network, given: Address, cache: Path = CACHE) -> None:
    """Have the plugins take back an address of a namespace that is gone; raises PluginFailed, OSError."""
    kept = cache / f"{network.name}-{given.sandbox}-{given.interface}"
    cached = await asyncio.to_thread(_cached, kept)
    environment = {
        **os.environ,
        "CNI_COMMAND": "DEL",
        "CNI_CONTAINERID": given.sandbox,
        "CNI_IFNAME": given.interface,
        "CNI_NETNS": "",
        "CNI_PATH": ":".join(network.programs),
        "CNI_ARGS": ";".join("=".join(pair) for pair in cached.get("cniArgs") or ()),
    }
    for name, content in requests(network, cached):
        await _run(name, content, environment)
    await asyncio.to_thread(kept.unlink, missing_ok=True)


def _cached(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


async def _run(name: str, content: bytes, environment: Mapping[str, str]) -> None:
    path = await asyncio.to_thread(_program, name, environment["CNI_PATH"])
    process = await asyncio.create_subprocess_exec(
        path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_PATIENCE):
            out, problem = await process.communicate(content)
    except TimeoutError as late:
        raise PluginFailed(f"cannot take an address back: {path} did not end in {_PATIENCE:.0f} s") from late
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        text = (out + problem).decode(errors="replace").strip()
        raise PluginFailed(f"cannot take an address back: {path} ended with {process.returncode}: {text}")


def _program(name: str, places: str) -> str:
    for place in places.split(":"):
        path = Path(place, name)
        if path.is_file():
            return str(path)
    raise PluginFailed(f"cannot take an address back: no program {name} in {places}")
