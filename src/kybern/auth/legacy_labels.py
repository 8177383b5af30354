"""What is written down of tokens that are kept in Secrets: labels of the Secrets, and since when uses are noted.

Apart from ``legacy_tokens``, so that a control loop that reads labels loads no cryptography.
"""

import re
from datetime import date

INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
LAST_USED = "kubernetes.io/legacy-token-last-used"
TRACKING = ("kube-system", "kube-apiserver-legacy-service-account-token-tracking")
"""Namespace and name of the config map that says since when uses are noted, as a date under ``since``."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def is_date(text: str) -> bool:
    """Whether a text is a date as the labels and the config map write it."""
    return _DATE.fullmatch(text) is not None and _exists(text)


def _exists(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
