"""Other firewalls, which would stop pods, or take our rules away when they load theirs. Pure."""

from kybern.machines.preflight.record import Looked, Outcome, failure, passed

# "active NAME" of programs; "drop CHAIN" of a chain whose policy is not to let in or on.
ASKED = (
    "ufw status 2>/dev/null | grep -q '^Status: active' && echo active ufw; "
    "for each in firewalld nftables; do systemctl is-active -q $each && echo active $each; done; "
    "iptables -S 2>/dev/null | sed -n 's/^-P \\(INPUT\\|FORWARD\\) DROP$/drop \\1/p'; "
    'nft list ruleset 2>/dev/null | awk \'/^table/ {table = $2 " " $3} '
    '/hook (input|forward) .*policy drop/ && table !~ /^ip6? filter$/ {print "drop", table}\'; true'
)


def firewalls(looked: Looked) -> Outcome:
    found = [line.split(None, 1) for line in looked.facts.lines("firewalls")]
    active = [words[1] for words in found if words[0] == "active" and len(words) == 2]
    drops = sorted({words[1] for words in found if words[0] == "drop" and len(words) == 2})
    if active:
        off = " && ".join(
            "ufw disable" if each == "ufw" else f"systemctl disable --now {each}" for each in active
        )
        return failure(f"{', '.join(active)} is active", f"{off}: Kybern brings a firewall of its own")
    if drops:
        return failure(
            f"drops what nobody lets through: {', '.join(drops)}",
            "let it through; Kybern brings a firewall of its own",
        )
    return passed("no other firewall")
