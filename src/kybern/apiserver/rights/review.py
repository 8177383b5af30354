"""A question as a SubjectAccessReview, and what its status comes to. Pure."""

from typing import Any

from kybern.auth.attributes import Attributes, Decision, Verdict
from kybern.machinery.errors import BadRequest
from kybern.machinery.kind import Raw
from kybern.machinery.selectors import parse_labels

GROUP = "authorization.k8s.io"
LARGEST = 10_000
"""Characters that a requester may choose in a question whose answer is kept (upstream's rule against floods)."""
_FIELD_OPERATORS = {"=": "In", "!=": "NotIn"}
_LABEL_OPERATORS = {
    "=": "In", "in": "In", "!=": "NotIn", "notin": "NotIn", "exists": "Exists", "!": "DoesNotExist",
}  # fmt: skip


def spec_of(asked: Attributes) -> Raw:
    """The spec of the review; what is empty is left out, as upstream does."""
    user = asked.user
    extra = {key: list(values) for key, values in user.extra.items()}
    parts: Raw = {"user": user.name, "groups": list(user.groups), "extra": extra, "uid": user.uid}
    found: Raw = {}
    if asked.is_resource:
        found["resourceAttributes"] = _resource(asked)
    else:
        found["nonResourceAttributes"] = _present({"path": asked.path, "verb": asked.verb})
    return found | _present(parts)


def _resource(asked: Attributes) -> Raw:
    words = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
    found = _present({word: getattr(asked, word) for word in words})
    fields = [
        {"key": key, "operator": _FIELD_OPERATORS[operator], "values": [value]}
        for key, operator, value in asked.field_selector
        if operator in _FIELD_OPERATORS
    ]
    if fields:
        found["fieldSelector"] = {"requirements": fields}
    if labels := _labels(asked.label_selector):
        found["labelSelector"] = {"requirements": labels}
    return found


def _labels(text: str) -> list[Raw]:
    """What narrows the question down. A selector that cannot be read narrows nothing, so nobody is allowed more by it."""
    if not text:
        return []
    try:
        requirements = parse_labels(text).requirements
    except BadRequest:
        return []
    return [
        _present({"key": one.key, "operator": _LABEL_OPERATORS[one.operator], "values": list(one.values)})
        for one in requirements
        if one.operator in _LABEL_OPERATORS
    ]


def _present(found: Raw) -> Raw:
    return {key: value for key, value in found.items() if value}


def review_of(spec: Raw, version: str) -> Raw:
    """The review of a version. In v1beta1 the groups are called "group"."""
    if version == "v1beta1":
        spec = {"group" if key == "groups" else key: value for key, value in spec.items()}
    return {"kind": "SubjectAccessReview", "apiVersion": f"{GROUP}/{version}", "metadata": {}, "spec": spec}


def decision_of(status: Raw) -> Decision:
    reason: Any = status.get("reason") or ""
    allowed, denied = status.get("allowed") is True, status.get("denied") is True
    if allowed and denied:
        error = "webhook subject access review returned both allow and deny response"
        return Decision(Verdict.DENY, str(reason), error)
    verdict = Verdict.DENY if denied else Verdict.ALLOW if allowed else Verdict.NO_OPINION
    return Decision(verdict, str(reason))


def large(asked: Attributes) -> bool:
    """Whether so much of it is the requester's choice that its answer is not kept."""
    words = (
        asked.namespace, asked.verb, asked.group, asked.version, asked.resource, asked.subresource, asked.name,
        asked.path,
    )  # fmt: skip
    return sum(map(len, words)) >= LARGEST
