"""A small kernel: reads what is sent to ``nft -f``, refuses what the real one refuses, and judges packets by it."""

import itertools
import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from kybern.policies.table import FAMILY, NAME
from tests.unit.policies.judge import Packet

TABLE = f"{FAMILY} {NAME}"
FIELD = r"(?:ip6?|icmpv6|meta|tcp|udp|sctp) (?:saddr|daddr|dport|l4proto|nfproto|type)"
CONDITION = re.compile(
    rf"(?P<fields>{FIELD}(?: \. {FIELD})*) (?P<not>!= )?"
    r"(?:(?P<vmap>vmap )?@(?P<set>\S+)|\{ (?P<several>[^}]*) \}|(?P<one>\S+)) ?"
)


class Refused(Exception):
    """The kernel takes nothing of a transaction that has such a line."""


@dataclass
class Kernel:
    """One table."""

    chains: dict[str, list[str]] = field(default_factory=dict)
    hooks: dict[str, str] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)

    def apply(self, text: str) -> None:
        for line in text.splitlines():
            verb, kind, *rest = line.split(" ", 2)
            name, _, tail = rest[0].removeprefix(TABLE).strip().partition(" ")
            self._do(f"{verb} {kind}", name, tail, line)
        for rules in self.chains.values():
            for rule in rules:
                self._check(rule)

    def _do(self, what: str, name: str, tail: str, line: str) -> None:
        match what:
            case "add table":
                return
            case "delete table":
                self.chains, self.hooks, self.sets, self.elements = {}, {}, {}, {}
            case "add set" | "add map":
                self.sets[name] = tail
                self.elements.setdefault(name, {})
            case "add element" | "delete element":
                for element in tail.removeprefix("{ ").removesuffix(" }").split(", "):
                    self._element(what, name, element)
            case "delete chain" | "delete set":
                self._delete(what, name, line)
            case _:
                self._chains(what, name, tail, line)

    def _chains(self, what: str, name: str, tail: str, line: str) -> None:
        match what:
            case "add chain":
                self.chains.setdefault(name, [])
                if tail:
                    self.hooks[name] = tail
            case "flush chain":
                self.chains[name] = []
            case "add rule":
                self.chains[name].append(tail)
            case _:
                raise Refused(line)

    def _delete(self, what: str, name: str, line: str) -> None:
        sign = f"jump {name} " if what == "delete chain" else f"@{name} "
        if any(sign in f"{text} " for text in self._named_by()):
            raise Refused(f"busy: {line}")
        if what == "delete chain":
            del self.chains[name]
        else:
            del self.sets[name], self.elements[name]

    def _named_by(self) -> list[str]:
        return [rule for rules in self.chains.values() for rule in rules] + [
            value for held in self.elements.values() for value in held.values()
        ]

    def _element(self, what: str, name: str, element: str) -> None:
        key, *value = re.split(r"(?= comment )", element, maxsplit=1)
        held = self.elements[name]
        if what == "delete element":
            if key not in held:
                raise Refused(f"no such element in {name}: {key}")
            del held[key]
        elif key in held:
            raise Refused(f"exists in {name}: {key}")
        else:
            held[key] = "".join(value)

    def _check(self, rule: str) -> None:
        for found in CONDITION.finditer(rule):
            if found["set"] and found["set"] not in self.sets:
                raise Refused(f"no such set: {rule}")
            ranges = [_range(one) for one in (found["several"] or "").split(", ") if _is_range(one)]
            for before, after in itertools.pairwise(ranges):
                if after[0] <= before[1]:
                    raise Refused(f"intervals overlap: {rule}")
        for target in re.findall(r"jump (\S+)", rule):
            if target not in self.chains:
                raise Refused(f"no such chain: {rule}")

    def passes(self, packet: Packet) -> bool:
        """Whether the packet goes on, forwarded by this node, or sent on by one of its virtual servers."""
        if not self.chains:
            return True
        (dropped,) = {self._chain(hook, packet) == "drop" for hook in ("forward", "output")}
        return not dropped

    def _chain(self, name: str, packet: Packet) -> str:
        for rule in self.chains[name]:
            verdict = self._rule(rule, packet)
            if verdict in ("accept", "drop"):
                return verdict
            if verdict == "return":
                return ""
        return ""

    def _rule(self, rule: str, packet: Packet) -> str:
        if rule.startswith(("ct state established", "fib saddr type local")):
            return ""  # these packets are each the first of a connection, and not of the node itself
        verdict = ""
        while found := CONDITION.match(rule):
            rule = rule[found.end() :]
            key = _key(found["fields"], packet)
            if key is None:
                return ""
            if found["vmap"]:
                if key not in self.elements[found["set"]]:
                    return ""
                verdict = self.elements[found["set"]][key].rpartition(" : ")[2]
            elif self._holds(found, key) == bool(found["not"]):
                return ""
        verdict = verdict or rule.partition(" comment ")[0].strip()
        return self._chain(verdict.removeprefix("jump "), packet) if verdict.startswith("jump ") else verdict

    def _holds(self, found: re.Match[str], key: str) -> bool:
        if found["set"]:
            return key in self.elements[found["set"]]
        return any(_within(key, one) for one in (found["several"] or found["one"]).split(", "))


def _key(fields: str, packet: Packet) -> str | None:
    """The value of an expression; None when the packet has no such field."""
    values = [_value(one, packet) for one in fields.split(" . ")]
    return None if None in values else " . ".join(str(value) for value in values)


def _value(name: str, packet: Packet) -> str | None:
    version = 6 if ":" in packet.source else 4
    head, _, end = name.partition(" ")
    if head in ("ip", "ip6"):
        address = packet.source if end == "saddr" else packet.destination
        return address if (head == "ip6") == (version == 6) else None
    if head == "meta":
        return packet.protocol.lower() if end == "l4proto" else f"ipv{version}"
    return str(packet.port) if head == packet.protocol.lower() else None


def _is_range(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f:.]*[0-9][0-9a-f:.]*(-[0-9a-f:.]+)?", text))


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return _number(first), _number(last or first)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else int(ip_address(text))


def _within(key: str, text: str) -> bool:
    if "/" in text:
        return ip_address(key) in ip_network(text)
    if not _is_range(text):
        return key == text
    first, last = _range(text)
    return first <= _number(key) <= last
