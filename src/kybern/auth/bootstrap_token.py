"""Bootstrap tokens, with which new nodes ask for certificates.

A token ``ID.SECRET`` is kept as the Secret ``kube-system/bootstrap-token-ID``, and stands for the user
``system:bootstrap:ID`` until it expires.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kybern.auth.user import User

NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"
GROUP = "system:bootstrappers"

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


def secret_name(token: str) -> str:
    """The Secret that would hold a token; "" when the token has another form."""
    match = _TOKEN.fullmatch(token)
    return f"bootstrap-token-{match[1]}" if match else ""


def user_of(token: str, secret: Mapping[str, Any] | None, now: float) -> User | None:
    """The user that a token stands for, given its Secret; None when the Secret does not bear it out."""
    if secret is None or secret.get("type") != TYPE or secret["metadata"].get("deletionTimestamp"):
        return None
    data = secret.get("data") or {}
    identity, _, shared = token.partition(".")
    if text(data, "token-id") != identity or not hmac.compare_digest(text(data, "token-secret"), shared):
        return None
    left = seconds_left(data, now)
    if (left is not None and left <= 0) or text(data, "usage-bootstrap-authentication") != "true":
        return None
    extra = [group.strip() for group in text(data, "auth-extra-groups").split(",") if group.strip()]
    if not all(_EXTRA_GROUP.fullmatch(group) for group in extra):
        return None
    return User(f"system:bootstrap:{identity}", tuple(dict.fromkeys((*sorted(extra), GROUP))))


def seconds_left(data: Mapping[str, str], now: float) -> float | None:
    """Until a token expires; None when it never does. A time that cannot be read counts as past, as upstream has it."""
    until = text(data, "expiration")
    if not until:
        return None
    try:
        return datetime.fromisoformat(until).timestamp() - now
    except ValueError:
        return 0.0


def text(data: Mapping[str, str], key: str) -> str:
    """One value of a Secret, "" when it is not there or not text."""
    try:
        return base64.b64decode(data.get(key, "")).decode()
    except ValueError:
        return ""
