"""From what is there to what is wanted, as one input for ``iptables-restore --noflush``. Pure.

Only chains that bear our names are ever touched. ``--noflush`` leaves everything alone that the input does not name; naming
a chain empties it, so a chain that is as it should be is not named at all: a change of one service sends a few lines.
"""

from collections.abc import Mapping

from kybern.proxy.rules import FIXED, JUMPS, Chains, Tables

PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-")


def is_ours(table: str, chain: str) -> bool:
    return chain in FIXED[table] or chain.startswith(PREFIXES)


def our_chains(saved: str) -> dict[str, set[str]]:
    """The names of our chains in an ``iptables-save``, by table."""
    found: dict[str, set[str]] = {table: set() for table in FIXED}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":") and table in found:
            name = line[1:].split(" ", 1)[0]
            if is_ours(table, name):
                found[table].add(name)
    return found


def missing_jumps(saved: str) -> tuple[tuple[str, str, str], ...]:
    """Which of our rules in the kernel's own chains are not there.

    The kernel prints a rule's matches in an order of its own, so a jump is known by its chain, its target and its comment.
    """
    present: set[tuple[str, str, str, str]] = set()
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A "):
            chain = line.split(" ", 2)[1]
            present.add((table, chain, _comment(line), line.rpartition(" -j ")[2]))
    return tuple(
        (table, chain, rule)
        for table, chain, rule in JUMPS
        if (table, chain, _comment(rule), rule.rpartition(" -j ")[2]) not in present
    )


def _comment(rule: str) -> str:
    return rule.partition('--comment "')[2].partition('"')[0]


def changes(
    wanted: Tables,
    applied: Mapping[str, Chains] | None,
    present: Mapping[str, set[str]],
    saved: str | None = None,
) -> str:
    """Input for iptables-restore, "" when nothing is to be done.

    ``applied`` is what we wrote last (None at the start: then every wanted chain is written anew, whatever it holds).
    ``present`` are the names of our chains in the kernel. ``saved`` is an iptables-save to find missing jumps in; without
    it (between full syncs) the jumps are not looked at.
    """
    jumps = () if saved is None else missing_jumps(saved)
    parts = [
        _table(name, chains, None if applied is None else applied[name], present[name], jumps)
        for name, chains in wanted.by_name().items()
    ]
    return "".join(part for part in parts if part)


def _table(
    table: str,
    wanted: Chains,
    applied: Chains | None,
    present: set[str],
    jumps: tuple[tuple[str, str, str], ...],
) -> str:
    known = applied or {}
    changed = [chain for chain, rules in wanted.items() if known.get(chain) != rules or chain not in present]
    stale = sorted(present - wanted.keys())
    heads = [(chain, rule) for where, chain, rule in reversed(jumps) if where == table]
    if not (changed or stale or heads):
        return ""
    lines = [f"*{table}"]
    lines += [f":{chain} - [0:0]" for chain in [*changed, *stale]]
    lines += [f"-A {chain} {rule}" for chain in changed for rule in wanted[chain]]
    lines += [f"-I {chain} {rule}" for chain, rule in heads]
    lines += [f"-X {chain}" for chain in stale]
    return "\n".join([*lines, "COMMIT", ""])


def removal(saved: str) -> str:
    """Input for iptables-restore that deletes what of ours is in an iptables-save. Pure."""
    ours = our_chains(saved)
    parts: list[str] = []
    table = ""
    jumps: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A ") and table in ours:
            chain, target = line.split(" ", 2)[1], line.rpartition(" -j ")[2].split(" ")[0]
            if target in ours[table] and chain not in ours[table]:
                jumps.setdefault(table, []).append("-D" + line[2:])
    for name, chains in ours.items():
        if chains or jumps.get(name):
            lines = [f"*{name}", *(f":{chain} - [0:0]" for chain in sorted(chains)), *jumps.get(name, ())]
            parts.append("\n".join([*lines, *(f"-X {chain}" for chain in sorted(chains)), "COMMIT", ""]))
    return "".join(parts)
