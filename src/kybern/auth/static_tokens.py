"""Tokens of a file (``--token-auth-file``): users outside of the cluster, known for as long as the server runs.

A line is ``token,user,uid`` and, if need be, a quoted column with the groups: ``secret,jane,7,"dev,ops"``. The source is
upstream's "Static token file" (Authenticating, in the reference of Kubernetes).
"""

import csv
import hmac
from collections.abc import Mapping

from kybern.auth.user import User


def read(text: str) -> dict[str, User]:
    """Tokens and whose they are; of a token that is there twice the last line holds. Raises ValueError with the line."""
    found: dict[str, User] = {}
    reader = csv.reader(text.splitlines(), strict=True, skipinitialspace=True)
    try:
        for row in reader:
            if not row:
                continue
            if len(row) < 3:
                raise ValueError(
                    f"line {reader.line_num} must have at least 3 columns (token, user name, user uid), found {len(row)}"
                )
            token, name, uid, *more = row
            groups = tuple(group for each in more[:1] for part in each.split(",") if (group := part.strip()))
            if token:
                found[token] = User(name, groups, uid)
    except csv.Error as problem:
        raise ValueError(f"line {reader.line_num}: {problem}") from problem
    return found


def user_of(token: str, known: Mapping[str, User]) -> User | None:
    """Whose a token is. Every known token is compared, so that the time tells nothing of them."""
    given = token.encode()
    found = None
    for each, user in known.items():
        if hmac.compare_digest(each.encode(), given):
            found = user
    return found
