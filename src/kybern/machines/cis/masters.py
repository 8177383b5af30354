"""Judgements of a master beside its flags: encryption, audit policy, etcd's own authority. Pure."""

from collections.abc import Mapping
from typing import Any

import yaml

from kybern.machines.cis.record import Judge, Level, Outcome, Place, failed, passed, unknown

STRONG = ("aescbc", "secretbox", "kms")
# What the benchmark's 3.2.2 wants told, by group and resource.
TELLING = (
    ("", "secrets"),
    ("", "pods"),
    ("apps", "deployments"),
    ("", "pods/exec"),
    ("", "pods/portforward"),
    ("", "pods/proxy"),
    ("", "services/proxy"),
)


def encryption(place: Place) -> Outcome:
    """The first provider is the one that writes."""
    found = [line.strip(' ":') for line in place.text("providers").splitlines() if line.strip()]
    first = next(iter(found), "")
    if first in STRONG:
        return passed(f"written by {first}")
    if first == "aesgcm":
        return Outcome(
            Level.EXPLAINED,
            "written by aesgcm",
            "authenticated, as aescbc is not; exchange its key after some 200,000 writes of Secrets (docs/how-to/keys.md)",
        )
    return failed(f"written by {first or 'nobody'}", "set encryption in the topology, and deploy")


def authorizers(by_flags: Judge, mode: str, *, wanted: bool = True) -> Judge:
    """What is judged by --authorization-mode; of a server that is given a file in its place, whether it has that type."""

    def judge(place: Place) -> Outcome:
        if "authorization-config" not in (place.flags("kube-apiserver") or {}):
            return by_flags(place)
        try:
            file = yaml.safe_load(place.text("authorization"))
        except yaml.YAMLError:
            file = None
        if not isinstance(file, Mapping):
            return unknown("the file of --authorization-config could not be read")
        types = [one.get("type", "") for one in file.get("authorizers") or () if isinstance(one, Mapping)]
        said = f"authorizers: {', '.join(types)}"
        return (
            passed(said)
            if (mode in types) is wanted
            else failed(said, "mend the file of authorization, and deploy")
        )

    return judge


def audit_policy(place: Place) -> Outcome:
    """Nothing that has to be told is left out for people: the last rule tells of all, and no earlier one hides it."""
    try:
        policy = yaml.safe_load(place.text("audit-policy"))
    except yaml.YAMLError:
        return failed("the policy is no YAML", "deploy")
    if not isinstance(policy, Mapping):
        return unknown("there is no audit policy")
    rules = policy.get("rules") or []
    last = rules[-1] if rules else {}
    if last.get("level", "None") == "None" or any(
        last.get(key) for key in ("resources", "users", "verbs", "namespaces")
    ):
        return failed(
            "its last rule does not tell of everything else", "end it with a rule of level Metadata"
        )
    hidden = [
        f"{group}/{name}".lstrip("/")
        for group, name in TELLING
        if any(_hides(rule, group, name) for rule in rules)
    ]
    if hidden:
        return failed(f"it leaves out {', '.join(hidden)}", "tell of them at level Metadata")
    return passed(f"everything else at level {last['level']}")


def _hides(rule: Mapping[str, Any], group: str, resource: str) -> bool:
    """A rule for everybody that leaves a resource out."""
    if (
        rule.get("level") != "None"
        or rule.get("users")
        or rule.get("userGroups")
        or rule.get("nonResourceURLs")
    ):
        return False
    given = rule.get("resources")
    if not given:
        return True
    return any(
        one.get("group", "") == group
        and (not one.get("resources") or {resource, "*"} & set(one["resources"]))
        for one in given
    )


def own_authority(place: Place) -> Outcome:
    digests = place.text("authorities").split()
    if len(digests) < 1:
        return unknown("the authorities could not be read")
    if len(digests) == 2 and digests[0] == digests[1]:
        return failed("etcd trusts the cluster's authority", "give etcd an authority of its own: deploy")
    return passed("an authority of its own")
