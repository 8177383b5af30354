"""From what is there to what is wanted, as one input for ``iptables-restore --noflush``. Pure.

Only chains that bear our names are ever touched. ``--noflush`` leaves everything alone that the input does not name; naming
a chain empties it, so a chain that is as it should be is not named at all: a change of one service sends a few lines.

Two backends have chains here, iptables and ipvs, some of one name. So each takes over from the other as from a proxy of
before: in one commit it writes its own chains, and takes away those that only the other one has.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import batched

from kybern.proxy.ipvs import chains as ipvs
from kybern.proxy.rules import FIXED, JUMPS, Chains
from kybern.proxy.ruleset import Chain, Edit, Ruleset

LONG = 50
LATE = 10  # chains that go in one input, for each service that comes in one
ENDPOINT = "KUBE-SEP-"
PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", ENDPOINT)
_FIXED = {table: {*FIXED[table], *ipvs.FIXED[table]} for table in FIXED}

type Jumps = Sequence[tuple[str, str, str]]
"""Rules of ours, most of them in chains that are not: table, chain, and the rule."""


def is_ours(table: str, chain: str) -> bool:
    return chain in _FIXED[table] or chain.startswith(PREFIXES)


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


def missing_jumps(saved: str, jumps: Jumps = JUMPS) -> Jumps:
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
            present.add((table, chain, _comment(line), _target(line)))
    return tuple(
        (table, chain, rule)
        for table, chain, rule in jumps
        if (table, chain, _comment(rule), _target(rule)) not in present
    )


def _target(rule: str) -> str:
    return f" {rule}".rpartition(" -j ")[2]


def _comment(rule: str) -> str:
    return rule.partition('--comment "')[2].partition('"')[0]


def steps(rules: Ruleset, saved: str, size: int) -> Iterator[str]:
    """Inputs for iptables-restore that write every chain anew, one after the other; ``saved`` is what iptables-save printed.

    Services' own chains come first, ``size`` services at a time, each whole, and what leads to them comes last: whatever has
    been written so far, no packet meets half a service. Endpoints' chains that nothing leads to any more go after that, as
    many at a time as come: a release of before had one for each endpoint. With a size of 0 it is one input.
    """
    batches = list(rules.batches(size)) if size else []
    ready: set[Chain] = set()
    late: list[str] = []
    if len(batches) > 1:
        there, wanted = our_chains(saved), rules.names()
        late = sorted(name for name in there["nat"] - wanted["nat"] if name.startswith(ENDPOINT))
        yield _text({(table, name): [] for table, name in rules.shared if name not in there[table]}, (), {})
        for batch in batches:
            yield touched(rules, dict.fromkeys(batch))
            ready.update(batch)
    yield everything(rules.tables(), saved, ready=ready, kept=set(late))
    for some in batched(late, LATE * size or 1):
        yield _text({("nat", name): None for name in some}, (), {})


def everything(
    tables: Mapping[str, Chains],
    saved: str,
    jumps: Jumps = JUMPS,
    ready: Container[Chain] = (),
    kept: Container[str] = (),
) -> str:
    """Input for iptables-restore that writes every chain anew; ``saved`` is what iptables-save printed.

    Chains of ours that are no longer asked for are taken away unless ``kept``, and jumps that are missing are put back.
    Those that are ``ready`` were written before.
    """
    present = our_chains(saved)
    stale = {
        table: {one for one in present[table] - tables[table].keys() if one not in kept} for table in FIXED
    }
    wanted: dict[Chain, list[str] | None] = {
        (table, chain): rules
        for table, chains in tables.items()
        for chain, rules in chains.items()
        if (table, chain) not in ready
    }
    wanted |= {(table, chain): None for table, chains in stale.items() for chain in sorted(chains)}
    return _text(wanted, missing_jumps(saved, jumps), _leading(saved, stale, present))


def touched(rules: Ruleset, chains: Mapping[Chain, Edit | None]) -> str:
    """Input for iptables-restore that writes some chains only; "" for none.

    A long chain of which a few rules became other is edited, not written: the program takes 0.1 ms for each rule.
    """
    whole: dict[Chain, list[str] | None] = {}
    edits: dict[Chain, Edit] = {}
    for chain, edit in chains.items():
        if edit is not None and rules.added(chain) > LONG + 10 * sum(map(len, edit)):
            edits[chain] = edit
        else:
            whole[chain] = rules.rules(chain)
    come: list[tuple[str, str, str]] = []
    gone: dict[str, list[str]] = {}
    for (table, name), found in edits.items():
        place = rules.begin((table, name)) + 1
        come += [(table, name, f"{place} {rule}") for rule in found.come]
        gone.setdefault(table, []).extend(f"-D {name} {rule}" for rule in found.gone)
    return _text(whole, come, gone)


def written(text: str) -> dict[str, int]:
    """How many rules of our own chains an input writes, by table."""
    found = dict.fromkeys(FIXED, 0)
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(("-A ", "-I KUBE-")):
            found[table] += 1
    return found


def transactions(text: str) -> int:
    """As how many batches of changes the program of nf_tables sends an input to the kernel."""
    return text.splitlines().count("COMMIT")


def questions(rules: Jumps) -> str:
    """Input for iptables-restore that writes nothing, and that it refuses when one of some rules is not there."""
    asked: dict[str, list[str]] = {}
    for table, chain, rule in rules:
        asked.setdefault(table, []).append(f"-C {chain} {rule}")
    return "".join("\n".join([f"*{table}", *lines, "COMMIT", ""]) for table, lines in asked.items())


def removal(saved: str) -> str:
    """Input for iptables-restore that deletes what of ours is in an iptables-save."""
    ours = our_chains(saved)
    wanted: dict[Chain, list[str] | None] = {
        (table, chain): None for table, chains in ours.items() for chain in sorted(chains)
    }
    return _text(wanted, (), _leading(saved, ours, ours))


def _leading(
    saved: str, targets: Mapping[str, set[str]], ours: Mapping[str, set[str]]
) -> dict[str, list[str]]:
    """What deletes the rules of chains that are not ours which lead to some that are, by table."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A ") and table in targets:
            chain, target = line.split(" ", 2)[1], line.rpartition(" -j ")[2].split(" ")[0]
            if target in targets[table] and chain not in ours[table]:
                found.setdefault(table, []).append("-D" + line[2:])
    return found


def _text(wanted: Mapping[Chain, list[str] | None], heads: Jumps, deletions: Mapping[str, list[str]]) -> str:
    """``wanted`` are chains and their rules, None for one that goes; ``heads`` are put first in chains that are not ours."""
    parts = []
    for table in FIXED:
        found = {chain: rules for (where, chain), rules in wanted.items() if where == table}
        first = [f"-I {chain} {rule}" for where, chain, rule in reversed(heads) if where == table]
        gone = deletions.get(table, [])
        if not (found or first or gone):
            continue
        lines = [f"*{table}", *(f":{chain} - [0:0]" for chain in found), *gone]
        lines += [f"-A {chain} {rule}" for chain, held in found.items() for rule in held or ()]
        lines += first
        lines += [f"-X {chain}" for chain, held in found.items() if held is None]
        parts.append("\n".join([*lines, "COMMIT", ""]))
    return "".join(parts)
