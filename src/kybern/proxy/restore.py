"""From what is there to what is wanted, as one input for ``iptables-restore --noflush``. Pure.

Only chains that bear our names are ever touched. ``--noflush`` leaves everything alone that the input does not name; naming
a chain empties it, so a chain that is as it should be is not named at all: a change of one service sends a few lines.
"""

from collections.abc import Iterable, Sequence

from kybern.proxy.rules import FIXED, JUMPS
from kybern.proxy.ruleset import Chain, Ruleset

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


def everything(rules: Ruleset, saved: str) -> str:
    """Input for iptables-restore that writes every chain anew; ``saved`` is what iptables-save printed.

    Chains of ours that are no longer asked for are taken away, and jumps that are missing are put back.
    """
    names, present = rules.names(), our_chains(saved)
    stale = {(table, chain) for table in FIXED for chain in present[table] - names[table]}
    return _text(rules, [*rules.chains(), *sorted(stale)], missing_jumps(saved))


def touched(rules: Ruleset, chains: Iterable[Chain]) -> str:
    """Input for iptables-restore that writes some chains only; "" for none."""
    return _text(rules, sorted(chains), ())


def _text(rules: Ruleset, chains: Sequence[Chain], jumps: Sequence[tuple[str, str, str]]) -> str:
    parts = []
    for table in FIXED:
        named = [chain for where, chain in chains if where == table]
        found = {chain: rules.rules((table, chain)) for chain in named}
        heads = [(chain, rule) for where, chain, rule in reversed(jumps) if where == table]
        if not (named or heads):
            continue
        lines = [f"*{table}", *(f":{chain} - [0:0]" for chain in named)]
        lines += [f"-A {chain} {rule}" for chain, held in found.items() for rule in held or ()]
        lines += [f"-I {chain} {rule}" for chain, rule in heads]
        lines += [f"-X {chain}" for chain, held in found.items() if held is None]
        parts.append("\n".join([*lines, "COMMIT", ""]))
    return "".join(parts)


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
