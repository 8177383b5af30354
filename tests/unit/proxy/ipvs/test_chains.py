"""The chains beside virtual servers, and how they and those of iptables take over from each other."""

import re
from dataclasses import replace

import pytest

from kybern.proxy.ipvs import chains, sets
from kybern.proxy.model import Endpoint, ServicePort
from kybern.proxy.restore import everything, missing_jumps, our_chains, removal
from kybern.proxy.rules import Settings
from kybern.proxy.ruleset import Ruleset

SETTINGS = Settings(pod_cidr="10.244.0.0/16", pod_cidr6="fd00:244::/64")
WEB = ServicePort(
    "default", "web", "http", "TCP", 80, "10.96.0.10", endpoints=(Endpoint("10.244.1.2", 8080, local=True),)
)


def after(text: str, before: str) -> str:
    """What iptables-save would print once a text has been restored on top of what it printed before."""
    tables: dict[str, dict[str, list[str]]] = {"filter": {}, "nat": {}}
    for source in (before, text):
        table: dict[str, list[str]] = {}
        for line in source.splitlines():
            if line.startswith("*"):
                table = tables[line[1:]]
            elif line.startswith(":"):
                table[line[1:].split()[0]] = []
            elif line.startswith(("-A ", "-I ", "-D ")):
                verb, chain, rule = line.split(" ", 2)
                held = table.setdefault(chain, [])
                assert verb != "-D" or rule in held, line
                held.remove(rule) if verb == "-D" else held.insert(0 if verb == "-I" else len(held), rule)
            elif line.startswith("-X "):
                chain = line[3:]
                assert not table.pop(chain), line
                left = [one for held in table.values() for one in held if re.search(rf"-j {chain}( |$)", one)]
                assert not left, f"{chain} is still called"
    printed = []
    for name, chains_of_it in tables.items():
        printed += [f"*{name}", *(f":{chain} - [0:0]" for chain in chains_of_it)]
        printed += [f"-A {chain} {rule}" for chain, lines in chains_of_it.items() for rule in lines]
        printed.append("COMMIT")
    return "\n".join([*printed, ""])


def with_iptables(before: str) -> str:
    ruleset = Ruleset(SETTINGS)
    ruleset.put(("default", "web"), [WEB])
    return after(everything(ruleset.tables(), before), before)


def with_ipvs(before: str) -> str:
    return after(everything(chains.tables(SETTINGS, 4), before, chains.JUMPS), before)


@pytest.mark.parametrize("version", [4, 6])
def test_rules_name_only_sets_and_chains_that_there_are(version: int) -> None:
    tables = chains.tables(SETTINGS, version)

    assert {table: tuple(sorted(held)) for table, held in tables.items()} == chains.FIXED
    for table, held in tables.items():
        for rule in (one for lines in held.values() for one in lines):
            asked = re.search(r"--match-set (\S+) (\S+)", rule)
            assert asked is None or asked[1] in sets.names(version)
            if asked:
                name = next(one for one in sets.TYPES if sets.full_name(one, version) == asked[1])
                assert asked[2].count(",") == sets.TYPES[name].partition(":")[2].count(",")
            target = rule.rpartition("-j ")[2].split()[0]
            assert target in held or not target.startswith("KUBE-"), (table, rule)


def test_who_is_no_pod_is_masqueraded_unless_everybody_is() -> None:
    some = "\n".join(chains.tables(SETTINGS, 6)["nat"]["KUBE-SERVICES"])
    everybody = chains.tables(replace(SETTINGS, masquerade_all=True), 4)["nat"]["KUBE-SERVICES"]

    assert re.search("! -s fd00:244::/64 .*KUBE-6-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ", some)
    assert not [rule for rule in everybody if "! -s" in rule]


def test_writing_again_changes_nothing() -> None:
    once = with_ipvs("")

    assert with_ipvs(once) == once
    assert not missing_jumps(once, chains.JUMPS)


def test_one_takes_over_from_the_other_in_one_commit_and_leaves_nothing_of_it() -> None:
    iptables, ipvs = with_iptables(""), with_ipvs("")

    assert our_chains(with_ipvs(iptables)) == our_chains(ipvs)
    assert not missing_jumps(with_ipvs(iptables), chains.JUMPS)
    assert our_chains(with_iptables(ipvs)) == our_chains(iptables)
    assert not missing_jumps(with_iptables(ipvs))
    assert "SVC" not in with_ipvs(iptables)
    assert "IPVS" not in with_iptables(ipvs)
    assert sorted(with_iptables(with_ipvs(iptables)).splitlines()) == sorted(iptables.splitlines())


def test_cleaning_up_takes_both() -> None:
    for found in (with_ipvs(""), with_iptables("")):
        assert "KUBE" not in after(removal(found), found)
