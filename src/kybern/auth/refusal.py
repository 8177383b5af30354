"""The 403 that answers a request which nobody allowed, in upstream's words."""

from kybern.auth.attributes import Attributes
from kybern.auth.rules import quote
from kybern.machinery.errors import Details, Forbidden


def forbidden(asked: Attributes, reason: str = "") -> Forbidden:
    """``pods "p" is forbidden: User "x" cannot get resource "pods" in API group "" in the namespace "y": reason``."""
    tail = f": {reason}" if reason else ""
    user = f"User {quote(asked.user.name)}"
    if not asked.is_resource:
        return Forbidden(f"forbidden: {user} cannot {asked.verb} path {quote(asked.path)}{tail}", Details())
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f"in the namespace {quote(asked.namespace)}" if asked.namespace else "at the cluster scope"
    text = f"{user} cannot {asked.verb} resource {quote(resource)} in API group {quote(asked.group)} {where}"
    shown = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    name = f" {quote(asked.name)}" if asked.name else ""
    details = Details(name=asked.name, group=asked.group, kind=asked.resource)
    return Forbidden(f"{shown}{name} is forbidden: {text}{tail}", details)
