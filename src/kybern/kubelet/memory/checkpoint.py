"""Upstream's file of who has what memory: ROOT/memory_manager_state, JSON with a checksum.

The checksum is FNV-1a (32 bits) over the text by which Go's spew prints the object with its types, so that one kubelet
reads what the other wrote. Since v1.36 upstream prints another type name, and still reads the one that is written here.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from kybern.kubelet.memory.ledger import Block, Cell, Entries, Kept, State, Table

FILE = "memory_manager_state"
_NAMES = ("MemoryManagerCheckpoint", "MemoryManagerCheckpointV1")


class Corrupt(ValueError):
    """The file cannot be believed."""


class _File(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    policy_name: str
    machine_state: Mapping[int, Cell]
    entries: Mapping[str, Mapping[str, tuple[Block, ...]]] = {}
    checksum: int = 0


_READS = msgspec.json.Decoder(_File)


def encode(policy: str, kept: Kept) -> bytes:
    total = checksum(policy, kept, _NAMES[0])
    return msgspec.json.encode(_File(policy, kept.state, kept.entries, total))


def decode(content: bytes) -> tuple[str, Kept]:
    """The policy, and what was kept. Raises Corrupt."""
    try:
        found = _READS.decode(content)
    except msgspec.DecodeError as problem:
        raise Corrupt(str(problem)) from problem
    kept = Kept(found.machine_state, found.entries)
    # None at all is believed: files of old had none.
    if found.checksum and all(found.checksum != checksum(found.policy_name, kept, name) for name in _NAMES):
        raise Corrupt("checkpoint is corrupted")
    return found.policy_name, kept


def read(file: Path) -> tuple[str, Kept] | None:
    """None where there is no file. Raises Corrupt and OSError."""
    try:
        return decode(file.read_bytes())
    except FileNotFoundError:
        return None


def checksum(policy: str, kept: Kept, name: str) -> int:
    found = 0x811C9DC5
    for byte in _spewed(policy, kept, name).encode():
        found = (found ^ byte) * 0x01000193 & 0xFFFFFFFF
    return found


def _spewed(policy: str, kept: Kept, name: str) -> str:
    return (
        f"(*state.{name}){{PolicyName:(string){policy} MachineState:(state.NUMANodeMap){_state(kept.state)} "
        f"Entries:(state.ContainerMemoryAssignments){_entries(kept.entries)} Checksum:(checksum.Checksum)0}}"
    )


def _state(state: State) -> str:
    return f"map[{' '.join(f'{node}:<*>{_cell(state[node])}' for node in sorted(state))}]"


def _cell(cell: Cell) -> str:
    tables = " ".join(f"{sort}:<*>{_table(cell.memory_map[sort])}" for sort in sorted(cell.memory_map))
    return (
        f"{{NumberOfAssignments:(int){cell.number_of_assignments} "
        f"MemoryMap:(map[v1.ResourceName]*state.MemoryTable)map[{tables}] Cells:{_numbers(cell.cells)}}}"
    )


def _table(table: Table) -> str:
    rows = (
        ("TotalMemSize", table.total),
        ("SystemReserved", table.system_reserved),
        ("Allocatable", table.allocatable),
        ("Reserved", table.reserved),
        ("Free", table.free),
    )
    return f"{{{' '.join(f'{name}:(uint64){value}' for name, value in rows)}}}"


def _entries(entries: Entries) -> str:
    pods = (f"{pod}:{_containers(entries[pod])}" for pod in sorted(entries))
    return f"map[{' '.join(pods)}]"


def _containers(found: Mapping[str, tuple[Block, ...]]) -> str:
    each = (f"{name}:[{' '.join(_block(one) for one in found[name])}]" for name in sorted(found))
    return f"map[{' '.join(each)}]"


def _block(block: Block) -> str:
    affinity = _numbers(block.numa_affinity)
    return f"{{NUMAAffinity:{affinity} Type:(v1.ResourceName){block.type} Size:(uint64){block.size}}}"


def _numbers(found: tuple[int, ...]) -> str:
    return f"([]int)[{' '.join(map(str, found))}]"
