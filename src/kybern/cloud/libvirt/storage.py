"""What libvirt is asked about volumes, and told to do. Blocking; each function takes a connection that may write.

What is decided is in ``disks``, without libvirt. Each function brings about a state, and does nothing where it is there.
Failures are libvirt's own, which the hypervisor's line makes CloudErrors of, and the CloudErrors of ``disks``.
"""

import time
from typing import Any

import libvirt

from kybern.cloud.libvirt import disks, loops
from kybern.cloud.libvirt.disks import Host, Place
from kybern.cloud.provider import CloudError, NoRoom, Snapshot


def room(connection: Any, pool: str) -> int | None:
    """Bytes that a new volume can have in a pool; None where there is no such pool, or it is not started."""
    try:
        found = connection.storagePoolLookupByName(pool)
    except libvirt.libvirtError as problem:
        if problem.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_POOL:
            return None
        raise
    return _left(found) if found.isActive() else None


def create(connection: Any, place: Place, size: int) -> int:
    """A new volume, empty; the size that it has. One that an earlier call made is as good."""
    pool = _pool(connection, place)
    made = _volume(pool, place.name)
    if made is None:
        _refuse_large(pool, place, size)
        made = pool.createXML(disks.volume(place.name, size, disks.sort_of(pool.XMLDesc(0))), 0)
    if made.info()[1] < size:
        made.resize(size, 0)  # half made, by a libvirt that ended meanwhile
    return int(made.info()[1])


def clone(connection: Any, place: Place, source: Place, size: int) -> int:
    """A new volume with what another one holds, of at least ``size`` bytes. Raises InUse while a machine writes to it.

    One of that name is what is left of a copy that did not end: libvirt does not say how far it came.
    """
    pool, hosts = _pool(connection, place), _hosts(connection)
    origin = _volume(_pool(connection, source), source.name)
    if origin is None:
        raise CloudError(f"cannot copy volume {source}: it is gone")
    disks.refuse_user(hosts, source, origin.path(), "copy")
    old = _volume(pool, place.name)
    if old is not None:
        disks.refuse_user(hosts, place, old.path(), "make")
        old.delete(0)
    size = max(size, int(origin.info()[1]))
    _refuse_large(pool, place, size)
    made = pool.createXMLFrom(disks.volume(place.name, size, disks.sort_of(pool.XMLDesc(0))), origin, 0)
    if made.info()[1] < size:
        made.resize(size, 0)
    return int(made.info()[1])


def snapshot(connection: Any, place: Place, source: Place) -> Snapshot:
    """A copy of a volume, as it is now."""
    now = time.time_ns()
    return Snapshot(str(place), clone(connection, place, source, 0), now)


def delete(connection: Any, place: Place) -> None:
    """Volume and loop device go; raises InUse when a machine has it."""
    found = _volume(_pool(connection, place), place.name)
    if found is None:
        _drop_holder(connection, place)
        return
    disks.refuse_user(_hosts(connection), place, found.path(), "delete")
    _drop_holder(connection, place)
    found.delete(0)


def attach(connection: Any, place: Place, cluster: str, node: str) -> dict[str, str]:
    """Give a volume to a machine; what the node finds it by."""
    found = _volume(_pool(connection, place), place.name)
    if found is None:
        raise CloudError(f"cannot attach volume {place}: it is gone")
    path, is_block = found.path(), found.info()[0] == libvirt.VIR_STORAGE_VOL_BLOCK
    hosts = _hosts(connection)
    machine, target = disks.target_for(hosts, cluster, node, place, path)
    if machine.disk(place.serial, path) is None:
        if machine.is_container and not is_block:
            path = _held(connection, place, path)
        xml = disks.disk(machine, path, target, place.serial, is_block=is_block)
        _domain(connection, machine).attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return disks.told(machine, target, place)


def detach(connection: Any, place: Place, cluster: str, node: str) -> None:
    """Take a volume from a machine. A guest has to let it go: raises CloudError until it has."""
    machine = disks.machine_of(_hosts(connection), cluster, node)
    disk = machine.disk(place.serial) if machine is not None and machine.running else None
    if machine is not None and disk is not None:
        _domain(connection, machine).detachDeviceFlags(disk.xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    hosts = _hosts(connection)
    user = disks.user_of(hosts, place.serial, "")
    if user is not None and user.running and (user.cluster, user.node) == (cluster, node):
        raise CloudError(f"cannot detach volume {place} yet: {node} has not let it go")
    if user is None:
        _drop_holder(connection, place)


def expand(connection: Any, place: Place, size: int) -> int:
    """At least ``size`` bytes; a virtual machine that has the volume is told. How many it has."""
    pool = _pool(connection, place)
    found = _volume(pool, place.name)
    if found is None:
        raise CloudError(f"cannot expand volume {place}: it is gone")
    has = int(found.info()[1])
    if has < size:
        _refuse_large(pool, place, size - has)
        found.resize(size, 0)
    user = disks.user_of(_hosts(connection), place.serial, found.path())
    disk = user.disk(place.serial, found.path()) if user is not None else None
    if user is not None and disk is not None and user.running and not user.is_container:
        grown = int(found.info()[1])
        _domain(connection, user).blockResize(disk.target, grown, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
    return int(found.info()[1])


def _left(pool: Any) -> int:
    volumes = [one.info()[1:3] for one in pool.listAllVolumes()]
    return disks.left(pool.info()[3], volumes, disks.sort_of(pool.XMLDesc(0)))


def _refuse_large(pool: Any, place: Place, size: int) -> None:
    there = _left(pool)
    if size > there:
        raise NoRoom(
            f"not enough space in pool {place.pool} of {place.hypervisor}: "
            f"{size} bytes are asked for, {there} are left"
        )


def _pool(connection: Any, place: Place) -> Any:
    found = connection.storagePoolLookupByName(place.pool)
    if not found.isActive():
        raise CloudError(f"cannot use pool {place.pool} of {place.hypervisor}: it is not started")
    return found


def _volume(pool: Any, name: str) -> Any:
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as problem:
        if problem.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
            return None
        raise


def _hosts(connection: Any) -> tuple[Host, ...]:
    found = []
    for one in connection.listAllDomains():
        try:
            found.append(disks.read(one.XMLDesc(0), running=bool(one.isActive())))
        except libvirt.libvirtError as problem:
            if problem.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
    return tuple(found)


def _domain(connection: Any, host: Host) -> Any:
    return connection.lookupByName(host.name)


def _held(connection: Any, place: Place, path: str) -> str:
    """The loop device of a file, made by the start of its holder."""
    try:
        connection.lookupByName(place.holder)
    except libvirt.libvirtError as problem:
        if problem.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        connection.createXML(disks.holder(place, path), 0)
    device = loops.device(path)
    if not device:
        raise CloudError(
            f"cannot attach volume {place}: its loop device cannot be seen from here; "
            "containers of another host need a pool of devices, such as one of LVM"
        )
    return device


def _drop_holder(connection: Any, place: Place) -> None:
    try:
        connection.lookupByName(place.holder).destroy()
    except libvirt.libvirtError as problem:
        if problem.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
            raise
