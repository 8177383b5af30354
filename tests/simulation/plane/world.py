"""All objects of a cluster at one moment, as plain JSON values, and what can be asked of them; pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kybern.machinery.quantity import Quantity, parse

type Raw = Mapping[str, Any]

ZERO = parse("0")


@dataclass(frozen=True, slots=True)
class Outside:
    """What the objects do not tell: loads by namespace and app, and starts that cron jobs had."""

    loads: Mapping[tuple[str, str], int] = field(default_factory=dict)
    due: Mapping[tuple[str, str], str] = field(default_factory=dict)


class World:
    """``objects`` by kind."""

    def __init__(self, objects: Mapping[str, Sequence[Raw]]) -> None:
        self._objects = objects
        self._owned: defaultdict[tuple[str, str], list[Raw]] = defaultdict(list)
        self._pods: defaultdict[str, list[Raw]] = defaultdict(list)
        self.uids = {one["metadata"]["uid"] for one in self.all()}
        for one in self.all():
            owner = controller(one)
            if owner is not None:
                self._owned[one["kind"], owner["uid"]].append(one)
        for pod in self.of("Pod"):
            self._pods[pod["metadata"].get("namespace", "")].append(pod)

    def all(self) -> Iterator[Raw]:
        for found in self._objects.values():
            yield from found

    def of(self, kind: str) -> Sequence[Raw]:
        return self._objects.get(kind, ())

    def one(self, kind: str, namespace: str, name: str) -> Raw | None:
        return next((one for one in self.of(kind) if place(one) == (namespace, name)), None)

    def owned(self, kind: str, owner: Raw) -> list[Raw]:
        return self._owned[kind, owner["metadata"]["uid"]]

    def pods(self, namespace: str, labels: Mapping[str, str]) -> list[Raw]:
        return [pod for pod in self._pods[namespace] if bears(pod, labels)]


def place(one: Raw) -> tuple[str, str]:
    return one["metadata"].get("namespace", ""), one["metadata"]["name"]


def shown(one: Raw) -> str:
    namespace, name = place(one)
    return f"{one['kind']} {namespace}/{name}" if namespace else f"{one['kind']} {name}"


def controller(one: Raw) -> Raw | None:
    owners: Iterable[Raw] = one["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def bears(one: Raw, labels: Mapping[str, str]) -> bool:
    return labels.items() <= (one["metadata"].get("labels") or {}).items()


def status(one: Raw, name: str) -> int:
    return int((one.get("status") or {}).get(name) or 0)


def says(one: Raw, **wanted: int) -> Iterator[str]:
    """What its status has other numbers of than these."""
    for name, number in wanted.items():
        if status(one, name) != number:
            yield f"{shown(one)} says {name} {status(one, name)}, and it is {number}"


def condition(one: Raw, kind: str) -> str:
    found: Iterable[Raw] = (one.get("status") or {}).get("conditions") or ()
    return next((str(each["status"]) for each in found if each["type"] == kind), "")


def is_ready(pod: Raw) -> bool:
    return condition(pod, "Ready") == "True"


def is_over(pod: Raw) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def asks(pod: Raw, resource: str) -> Quantity:
    found = (
        (one.get("resources") or {}).get("requests", {}).get(resource, "0")
        for one in pod["spec"]["containers"]
    )
    return sum((parse(one) for one in found), ZERO)
