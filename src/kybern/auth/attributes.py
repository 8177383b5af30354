"""What is asked: the facts of a request that authorizers decide on (upstream's authorizer.Attributes)."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from kybern.auth.user import User


class Attributes(NamedTuple):
    """A request for a resource (``resource`` set) or for a plain path (``path`` set).

    ``field_selector`` holds the requirements (field, operator, value) of a list, watch or deletecollection; the Node
    authorizer lets kubelets read pods only with ``("spec.nodeName", "=", their name)``. Operators are "=", "!=" ("==" is
    written "=").
    ``label_selector`` is that of such a request, as it was written.

    A tuple, since one is made for each request, and a frozen dataclass of so many fields takes five times as long.
    """

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: tuple[tuple[str, str, str], ...] = ()
    label_selector: str = ""

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
    """``error`` is what kept an authorizer from deciding, whatever the verdict without it is."""

    verdict: Verdict
    reason: str = ""
    error: str = ""
