"""Who is a member of etcd, and whether a change of that may be risked: pure.

Read from ``etcdctl member list -w json`` and ``etcdctl endpoint health --cluster -w json``. A learner has no vote: it
joins as one and is promoted when it has caught up, so that a member that never starts costs no quorum.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Member:
    """One member. ``name`` is empty until it has started once; ``id`` is as etcdctl takes it, in hexadecimal."""

    id: str
    name: str
    peers: tuple[str, ...]
    clients: tuple[str, ...] = ()
    learner: bool = False


def listed(text: str) -> tuple[Member, ...]:
    """The members in an answer of ``etcdctl member list -w json``."""
    answer: dict[str, Any] = json.loads(text)
    return tuple(
        Member(
            id=f"{member['ID']:x}",
            name=member.get("name", ""),
            peers=tuple(member.get("peerURLs", ())),
            clients=tuple(member.get("clientURLs", ())),
            learner=member.get("isLearner", False),
        )
        for member in answer.get("members", ())
    )


def healthy(text: str) -> frozenset[str]:
    """The client addresses that ``etcdctl endpoint health --cluster -w json`` found in good health."""
    return frozenset(each["endpoint"] for each in json.loads(text or "[]") if each["health"])


def of_name(members: Iterable[Member], name: str, peer: str) -> Member | None:
    """The member of this machine: by its name, or by its address as long as it has not started."""
    return next(
        (member for member in members if member.name == name or (not member.name and peer in member.peers)),
        None,
    )


def cannot_join(
    members: Iterable[Member], own: Member | None, cluster: str, name: str, has_data: bool
) -> str:
    """Why a machine may not become a member now, and what to do about it; nothing when it may."""
    if own is None and has_data:
        return f"it has data of when it was one; take them off with: kybern remove {cluster} {name}"
    if own and own.name and not has_data:
        return f"etcd knows it as a member, and its data are gone; run: kybern remove {cluster} {name}"
    waiting = [member.peers[0] for member in members if not member.name and member != own]
    if waiting:
        return (
            f"{waiting[0]} was added and has not started; start it, or remove it with etcdctl member remove"
        )
    return ""


def may_leave(members: Collection[Member], well: Collection[str], leaving: Member) -> bool:
    """Whether the others have a quorum without it. ``well`` are client addresses of members in good health."""
    others = [member for member in members if member.id != leaving.id and not member.learner]
    alive = [member for member in others if set(member.clients) & set(well)]
    return bool(others) and len(alive) >= len(others) // 2 + 1


def initial(members: Iterable[Member], name: str, peer: str) -> str:
    """What a joining member is told of the others: their names and addresses, and its own."""
    pairs = [
        (member.name, url) for member in members if member.name not in ("", name) for url in member.peers
    ]
    return ",".join(f"{each}={url}" for each, url in (*pairs, (name, peer)))
