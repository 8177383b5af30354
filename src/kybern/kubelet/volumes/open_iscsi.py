"""open-iscsi: targets found, sessions begun and ended by ``iscsiadm``; what there is, is read from /sys.

What holds: secrets are written into open-iscsi's own records (0600), never on a command line, where any process could read
them. A session is begun once a portal, and never at boot (``node.startup = manual``): a machine would hang on a target that
is away.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kybern.daemon.files import replace_file
from kybern.kubelet.volumes import programs
from kybern.kubelet.volumes.file_system import Run
from kybern.kubelet.volumes.plugin import CannotMount

_THERE = 15  # ISCSI_ERR_SESS_EXISTS
_NONE_FOUND = 21  # ISCSI_ERR_NO_OBJS_FOUND
_DEVICE_PATIENCE, _LOOK = 10.0, 0.2
_DISCOVERY, _SESSION = "discovery.sendtargets.auth", "node.session.auth"
_KEYS = ("username", "password", "username_in", "password_in")


@dataclass(frozen=True, slots=True)
class Target:
    """What of a target is wanted. ``portals`` with their ports; ``secrets`` by open-iscsi's own keys."""

    portals: tuple[str, ...]
    iqn: str
    lun: int
    interface: str = "default"
    chap_discovery: bool = False
    chap_session: bool = False
    secrets: tuple[tuple[str, str], ...] = ()


def with_values(record: str, values: Mapping[str, str]) -> str:
    """A record of open-iscsi with these values; raises CannotMount for a value that would be two lines. Pure."""
    if any("\n" in value or "\r" in value for value in values.values()):
        raise CannotMount("iscsi: a CHAP secret cannot hold more than one line")
    lines = [line for line in record.splitlines() if line.partition(" = ")[0].strip() not in values]
    end = next((at for at, line in enumerate(lines) if line.startswith("# END RECORD")), len(lines))
    lines[end:end] = [f"{key} = {value}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def chap(prefix: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """What a record needs for CHAP, of a secret of type kubernetes.io/iscsi-chap. Pure."""
    names = (f"{prefix}.{key}" for key in _KEYS)
    return {f"{prefix}.authmethod": "CHAP", **{name: secrets[name] for name in names if secrets.get(name)}}


class OpenIscsi:
    """``system`` is /sys, ``disks`` /dev/disk/by-path; ``records`` where open-iscsi may keep its own."""

    def __init__(
        self,
        run: Run = programs.run,
        system: Path = Path("/sys"),
        disks: Path = Path("/dev/disk/by-path"),
        records: tuple[Path, ...] = (Path("/etc/iscsi"), Path("/var/lib/iscsi")),
    ) -> None:
        self._run = run
        self._system = system
        self._disks = disks
        self._records = records

    async def attach(self, target: Target) -> tuple[Path, ...]:
        """The paths of a LUN, one for each portal that answers. Raises CannotMount when none does."""
        transport = await self._transport(target.interface)
        found, problem = [], ""
        for portal in target.portals:
            try:
                found.append(await self._path(target, portal, transport))
            except CannotMount as said:
                problem = str(said)
        if not found:
            raise CannotMount(f"failed to get any path for iscsi disk, last err seen:\n{problem}")
        return tuple(found)

    async def multipath(self, paths: tuple[Path, ...]) -> Path:
        """The device to mount: the one that joins several paths, where there is one."""
        limit = asyncio.get_running_loop().time() + _DEVICE_PATIENCE
        while len(paths) > 1:
            joined = await asyncio.to_thread(self._joined, paths)
            if joined is not None:
                return joined
            if asyncio.get_running_loop().time() > limit:
                break
            await asyncio.sleep(_LOOK)  # multipathd does it in its own time, and tells nobody
        return paths[0]

    async def remove(self, target: Target) -> None:
        """Have the kernel forget a LUN, before its session ends or while others use it."""
        await asyncio.to_thread(self._remove, target)

    async def log_out(self, target: Target) -> None:
        """End the sessions with a target. Raises CannotMount; one that is not there is no error."""
        for portal in target.portals:
            for last in (("--logout",), ("-o", "delete")):
                code, said = await self._run((*self._node(target, portal), *last))
                if code not in (0, _NONE_FOUND):
                    raise CannotMount(
                        f"iscsi: failed to detach disk Error: {said.strip()} (exit status {code})"
                    )

    # -- one portal ------------------------------------------------------------------------------------------------

    async def _path(self, target: Target, portal: str, transport: str) -> Path:
        hosts = await asyncio.to_thread(self.hosts, target.iqn)
        if portal not in hosts:
            await self._log_in(target, portal)
            hosts = await asyncio.to_thread(self.hosts, target.iqn)
        if portal not in hosts:
            raise CannotMount(f"Could not get SCSI host number for portal {portal} after logging in")
        scan = self._system / f"class/scsi_host/host{hosts[portal]}/scan"
        try:
            await asyncio.to_thread(scan.write_text, f"0 0 {target.lun}")
        except OSError as problem:
            raise CannotMount(f"cannot scan for LUN {target.lun} by {scan}: {problem.strerror}") from problem
        return await self._device(target, portal, transport)

    async def _log_in(self, target: Target, portal: str) -> None:
        found = ("iscsiadm", "-m", "discoverydb", "-t", "sendtargets", "-p", portal, "-I", target.interface)
        await self._run((*found, "-o", "new"))
        secrets = dict(target.secrets)
        if target.chap_discovery:
            place = _place(portal)
            await asyncio.to_thread(self._note, f"send_targets/{place}/st_config", chap(_DISCOVERY, secrets))
        code, said = await self._run((*found, "--discover"))
        if code:
            await self._run((*found, "-o", "delete"))
            raise CannotMount(
                f"iscsi: failed to sendtargets to portal {portal} output: {said.strip()}, err exit status {code}"
            )
        if target.chap_session:
            where = f"nodes/{target.iqn}/{_place(portal)},*/{target.interface}"
            await asyncio.to_thread(self._note, where, chap(_SESSION, secrets))
        node = self._node(target, portal)
        code, said = await self._run((*node, "--login"))
        if code not in (0, _THERE):
            await self._run((*node, "-o", "delete"))
            raise CannotMount(f"iscsi: failed to attach disk: Error: {said.strip()} (exit status {code})")
        await self._run((*node, "-o", "update", "-n", "node.startup", "-v", "manual"))

    def _node(self, target: Target, portal: str) -> tuple[str, ...]:
        return ("iscsiadm", "-m", "node", "-p", portal, "-T", target.iqn, "-I", target.interface)

    async def _transport(self, interface: str) -> str:
        code, said = await self._run(("iscsiadm", "-m", "iface", "-I", interface, "-o", "show"))
        found = re.search(r"iface.transport_name = (\S+)", said)
        if code or found is None:
            raise CannotMount(f"iscsi: could not read iface {interface} error: {said.strip()}")
        return found[1]

    def _note(self, where: str, values: Mapping[str, str]) -> None:
        """Write secrets into open-iscsi's record of a portal."""
        files = [path for root in self._records for path in root.glob(where) if path.is_file()]
        if not files:
            raise CannotMount(f"iscsi: there is no record {where} to write a CHAP secret into")
        for path in files:
            replace_file(path, with_values(path.read_text(), values).encode())

    async def _device(self, target: Target, portal: str, transport: str) -> Path:
        limit = asyncio.get_running_loop().time() + _DEVICE_PATIENCE
        while True:
            found = await asyncio.to_thread(self._named, target, portal, transport)
            if found is not None:
                return found
            if asyncio.get_running_loop().time() > limit:
                raise CannotMount(f"Could not attach disk: Timeout after {_DEVICE_PATIENCE:.0f}s")
            await asyncio.sleep(_LOOK)  # udev makes the name in its own time

    # -- what there is (blocking) ----------------------------------------------------------------------------------

    def hosts(self, iqn: str) -> dict[str, int]:
        """The numbers of the hosts by which a target is reached, by portal."""
        found = {}
        for name in self._system.glob(
            "class/iscsi_host/host*/device/session*/iscsi_session/session*/targetname"
        ):
            if _text(name) != iqn:
                continue
            session = name.parents[2]
            number = int(session.parents[1].name.removeprefix("host"))
            for address in session.glob("connection*/iscsi_connection/connection*/persistent_address"):
                host, port = _text(address), _text(address.with_name("persistent_port"))
                found[f"[{host}]:{port}" if ":" in host else f"{host}:{port}"] = number
        return found

    def _named(self, target: Target, portal: str, transport: str) -> Path | None:
        last = f"ip-{portal}-iscsi-{target.iqn}-lun-{target.lun}"
        pattern = last if transport == "tcp" else f"pci-*-{last}"
        escaped = pattern.replace("[", "[[]") if transport == "tcp" else pattern
        return next(iter(sorted(self._disks.glob(escaped))), None)

    def _joined(self, paths: tuple[Path, ...]) -> Path | None:
        for path in paths:
            for holder in (self._system / "block" / path.resolve().name / "holders").glob("dm-*"):
                if _text(self._system / "block" / holder.name / "dm/uuid").startswith("mpath-"):
                    return Path("/dev") / holder.name
        return None

    def _remove(self, target: Target) -> None:
        for portal in target.portals:
            for path in self._disks.glob(
                f"*ip-{portal.replace('[', '[[]')}-iscsi-{target.iqn}-lun-{target.lun}"
            ):
                delete = self._system / "block" / path.resolve().name / "device/delete"
                if delete.exists():
                    delete.write_text("1")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _place(portal: str) -> str:
    """A portal as open-iscsi names its records: ADDRESS,PORT."""
    host, _, port = portal.rpartition(":")
    return f"{host.strip('[]')},{port}"
