"""The lock that keeps two operators apart: who holds it, as each machine knows, and what their answers mean. Pure.

It is a file on every machine with a member of etcd, ``/run/kybern-deploy.lock``, and belongs to whoever has it on more than
half of them: where they are a quorum of etcd, the lock can be had. It bears a token, the owner, and a time by the machine's
own clock since its start, after which anybody may have it. The holder asks
for it again and again meanwhile, so that the lock of one who is gone ends by itself. A file of ``/run`` does not outlive a
restart of its machine, and neither does that clock.

A look and what follows from it are one step: it is taken under flock(1).
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

PLACE = "/run/kybern-deploy.lock"
EXPIRES = 300  # seconds without a word of the holder: several answers may be as late as they may be
EVERY = 20  # seconds between two words
WITHIN = 60.0  # seconds that a machine may take to answer: SSH anew, on one that its first deploy keeps busy
TAKEN = "KYBERN taken"
HELD = re.compile(r"KYBERN held (?P<seconds>\d+) (?P<owner>.*)")


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants the lock. ``token`` tells two runs of one owner apart."""

    token: str
    owner: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]+", self.token):
            raise ValueError(f"{self.token!r} is no token of a lock")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the machines said: on how many it is ours now, on how many another's, whose, and for how long.

    Without any of them there is nothing that others are to be kept away from.
    """

    asked: int
    taken: int
    refused: int
    held: Mapping[str, int]

    @property
    def is_ours(self) -> bool:
        return self.taken > self.asked // 2 or not self.asked

    @property
    def is_another_s(self) -> bool:
        return self.refused > self.asked // 2


def taking(claim: Claim, breaking: bool = False) -> str:
    """The script that takes the lock on a machine, or keeps it; ``breaking`` takes it from whoever has it."""
    owner = shlex.quote(" ".join(claim.owner.split()))
    free = (
        "true" if breaking else f'[ -z "$token" ] || [ "$token" = {claim.token} ] || [ "$until" -le "$now" ]'
    )
    return f"""{_looked()}
if {free}; then
  umask 077
  printf '%s\\n' {claim.token} $((now + {EXPIRES})) {owner} >{PLACE}.new &&
    mv -f {PLACE}.new {PLACE} && echo {shlex.quote(TAKEN)}
else
  echo "KYBERN held $((until - now)) $owner"
fi
"""


def releasing(claim: Claim) -> str:
    """The script that gives it back, where it is still ours."""
    return f"""{_looked()}
if [ "$token" = {claim.token} ]; then rm -f {PLACE}; fi
"""


def _looked() -> str:
    return f"""exec 9>{PLACE}.guard; flock -w 10 9 || exit 1
read -r up _ </proc/uptime; now=${{up%.*}}
token=; until=0; owner=
if [ -s {PLACE} ]; then {{ read -r token; read -r until; read -r owner; }} <{PLACE}; fi"""


def read(texts: Mapping[str, str]) -> Answers:
    """What machines answered, by their names; an empty text is of one that did not."""
    refusals = [found for text in texts.values() if (found := HELD.search(text))]
    held: dict[str, int] = {}
    for found in refusals:
        held[found["owner"]] = max(int(found["seconds"]), held.get(found["owner"], 0))
    taken = sum(TAKEN in text.splitlines() for text in texts.values())
    return Answers(len(texts), taken, len(refusals), held)


def refused(cluster: str, answers: Answers, silences: Mapping[str, str] = MappingProxyType({})) -> str:
    """Why the lock is not ours, and what to do about it. ``silences``: why machines said nothing, by their names."""
    if answers.held:
        owner, seconds = max(answers.held.items(), key=lambda one: one[1])
        return (
            f"cannot work on {cluster}: {owner} does, and has its lock for {seconds} s, or for as long as that run lives; "
            "wait for it, or, when it is certain that it is dead, say --break-lock"
        )
    few = f"cannot work on {cluster}: {answers.taken} of {answers.asked} machines with etcd gave the lock, which needs "
    if silences:
        heard = "; ".join(f"{name}: {why}" for name, why in sorted(silences.items()))
        return f"{few}more than half ({heard}); look whether they answer by SSH, and run the command again"
    return f"{few}more than half; another run may begin at this moment, so run the command again"
