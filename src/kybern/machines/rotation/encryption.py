"""Exchanging the key that secrets are encrypted by. Pure: what is seen to the next step.

    key-1, plain          at rest
    key-1, key-2, plain   the new key is on every master, and every API server reads by it
    key-2, key-1, plain   every API server writes by it; then every secret is written again
    key-2, plain          at rest; the old key is kept aside, for snapshots that were made with it

What holds: the operator's file moves on only when every master has what it said before and every API server has taken it
over, and a key leaves it only when no secret in etcd is sealed by it. So a deploy that comes in between does no harm, and
a run that ends anywhere is gone on with by the next one, from what the machines and etcd show; nothing else is remembered.

To encrypt by another provider, or no longer, is the same way with another key, or with plain text, in place of key-2.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kybern.machines.encryption import IDENTITY, NONE, PLAIN, Key, Order, content
from kybern.machines.etcdctl import etcdctl
from kybern.machines.topology import Cluster

SECRETS = "/registry/secrets/"


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is now.

    ``shipped`` is the digest of each master's file, ``loaded`` of the one that its API server has in force; "" is none.
    ``stored`` is by the key in etcd how each secret's value begins, "" for plain text.
    """

    order: Order
    shipped: Mapping[str, str]
    loaded: Mapping[str, str]
    stored: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ship:
    """Masters have another file."""

    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Await:
    """API servers have not taken their file over."""

    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """The operator's file becomes this one.

    ``begins``: all is as the topology says, and this begins to exchange one key for another. ``drops``: a key leaves.
    """

    order: Order
    why: str
    begins: bool = False
    drops: bool = False


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Secrets are to be written again: their keys in etcd."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is left to do."""


type Step = Ship | Await | Write | Rewrite | Rest


def digest(order: Order) -> str:
    return f"sha256:{hashlib.sha256(content(order)).hexdigest()}" if order else ""


def next_step(seen: Seen, provider: str, make: Callable[[str, Order], Key]) -> Step:
    """``provider`` is what the topology asks for; ``make`` gives a new key, which is called when a rotation begins."""
    wanted = digest(seen.order)
    if late := _others(seen.shipped, wanted):
        return Ship(late)
    if late := _others(seen.loaded, wanted):
        return Await(late)
    if provider == NONE:
        return _towards(seen, PLAIN) if seen.order else Rest()
    newest = max(seen.order, key=lambda key: key.number, default=PLAIN)
    if newest.provider == IDENTITY:
        return _begin(seen, make(provider, seen.order))
    step = _towards(seen, newest)
    return _begin(seen, make(provider, seen.order)) if isinstance(step, Rest) else step


def _others(found: Mapping[str, str], wanted: str) -> tuple[str, ...]:
    return tuple(sorted(name for name, digest in found.items() if digest != wanted))


def _begin(seen: Seen, key: Key) -> Write:
    old = tuple(one for one in seen.order if one != PLAIN)
    # Where nothing is encrypted yet, plain text stays first until every server can read by the new key.
    order = (*old, key, PLAIN) if old else (PLAIN, key)
    begins = bool(seen.order) and seen.order[0].provider == key.provider
    return Write(order, f"{key.name} ({key.provider}) is made, and every API server learns it", begins=begins)


def _towards(seen: Seen, first: Key) -> Step:
    """The way to an order in which a key is the first, and no other is needed."""
    if seen.order[0] != first:
        rest = tuple(key for key in seen.order if key not in (first, PLAIN))
        order = (first, *rest) if first == PLAIN else (first, *rest, PLAIN)
        return Write(order, f"every API server writes by {first.name or 'no key'}")
    if others := tuple(sorted(key for key, prefix in seen.stored.items() if prefix != first.prefix)):
        return Rewrite(others)
    rest = (first,) if first == PLAIN else (first, PLAIN)
    if seen.order != rest:
        gone = ", ".join(key.name for key in seen.order if key not in rest)
        return Write(rest, f"{gone} is dropped: no secret is sealed by it", drops=True)
    return Rest()


def question(cluster: Cluster, path: str, *, member: bool) -> str:
    """A script for a master, whose answer ``told`` reads; one that has a ``member`` tells what lies in etcd, too."""
    pki = "/etc/kubernetes/pki"
    pair = f"--cert {pki}/apiserver-kubelet-client.crt --key {pki}/apiserver-kubelet-client.key"
    ask = f"curl -fsS --max-time 5 --cacert {pki}/ca.crt {pair} https://127.0.0.1:{cluster.api_port}/metrics"
    lines = [
        "set -o pipefail",
        f"test ! -e {path} || echo \"KYBERN shipped sha256:$(sha256sum <{path} | cut -d' ' -f1)\"",
        f'metrics=$({ask}) || {{ echo "KYBERN silent"; exit 0; }}',
        (
            'echo "KYBERN loaded $(echo "$metrics" | sed -n \'s/^apiserver_encryption_config_controller_last_config_info'
            '{.*hash="\\(sha256:[0-9a-f]*\\)"}.*/\\1/p\')"'
        ),
    ]
    if member:
        ask = etcdctl(seconds=20)
        lines.append(
            f"{ask} get {SECRETS} --prefix -w json | python3 -c '{_BEGINNINGS}' && echo KYBERN counted"
        )
    return "\n".join([*lines, "true"])


# Of each value only its beginning leaves the machine: k8s:enc:PROVIDER:v1:NAME:
_BEGINNINGS = """
import base64, json, sys
for pair in json.load(sys.stdin).get("kvs") or ():
    value = base64.b64decode(pair.get("value") or "")
    parts = value.split(b":", 5)
    mark = b":".join(parts[:5]).decode() + ":" if value.startswith(b"k8s:enc:") and len(parts) == 6 else ""
    print("KYBERN stored", base64.b64decode(pair["key"]).decode(), mark)
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What one master says. ``stored`` is None where it was not asked, or could not tell."""

    answers: bool = False
    serves: bool = False
    shipped: str = ""
    loaded: str = ""
    stored: Mapping[str, str] | None = None


def told(text: str) -> Told:
    lines = [line.split(" ")[1:] for line in text.splitlines() if line.startswith("KYBERN ")]
    facts = {words[0]: words[1] for words in lines if len(words) == 2}
    alone = {words[0] for words in lines if len(words) == 1}
    stored = {words[1]: words[2] for words in lines if words[0] == "stored" and len(words) == 3}
    return Told(
        bool(lines),
        bool(lines) and "silent" not in alone,
        facts.get("shipped", ""),
        facts.get("loaded", ""),
        stored if "counted" in alone else None,
    )
