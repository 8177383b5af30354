"""What is asked: the facts of a request that authorizers decide on (upstream's authorizer.Attributes)."""

from dataclasses import dataclass
from enum import Enum

from kybern.auth.user import User


@dataclass(frozen=True, slots=True)
class Attributes:
    """A request for a resource (``resource`` set) or for a plain path (``path`` set)."""

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def is_resource(self) -> bool:
        return bool(self.resource)


class Verdict(Enum):
    """An authorizer allows, denies, or leaves it to the next one; a request that nobody allows is forbidden."""

    ALLOW = "allow"
    DENY = "deny"
    NO_OPINION = "no opinion"


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    reason: str = ""
