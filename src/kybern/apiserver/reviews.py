"""Questions that are answered and never kept: who am I, may I, may he, is this token good.

``Reviews.create`` takes what was posted, decoded and defaulted, and gives the body of the 201. The server calls it for the
create-only kinds instead of storing them, after authorization and admission like any create.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from kybern.apiserver.authentication import Tokens, authenticated
from kybern.apiserver.authorization import Authorization
from kybern.auth.attributes import Attributes, Verdict
from kybern.auth.tokens import InvalidToken
from kybern.auth.unsettled import settled
from kybern.auth.user import User
from kybern.machinery import written
from kybern.machinery.errors import BadRequest, Cause, Invalid
from kybern.machinery.kind import Raw

AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"

type Warnings = tuple[str, ...]
type Answered = tuple[Raw, Warnings]
"""The review with its status, and what whoever asked is to be told besides."""
type Review = Callable[[Raw, User, str], Awaitable[Answered]]


@dataclass(slots=True)
class Reviews:
    """Answers reviews. Without ``tokens`` no token is good."""

    authorization: Authorization
    tokens: Tokens | None
    clock: Callable[[], float]
    _kinds: Mapping[tuple[str, str], Review] = field(init=False)

    def __post_init__(self) -> None:
        self._kinds = {
            (AUTHENTICATION, "tokenreviews"): self._token,
            (AUTHENTICATION, "selfsubjectreviews"): self._self_subject,
            (AUTHORIZATION, "subjectaccessreviews"): self._access,
            (AUTHORIZATION, "localsubjectaccessreviews"): self._local_access,
            (AUTHORIZATION, "selfsubjectaccessreviews"): self._self_access,
            (AUTHORIZATION, "selfsubjectrulesreviews"): self._self_rules,
        }

    def knows(self, group: str, plural: str) -> bool:
        return (group, plural) in self._kinds

    async def create(self, group: str, plural: str, namespace: str, body: Raw, user: User) -> Answered:
        """The answer to a review. ``namespace`` is that of the path. Raises BadRequest or Invalid."""
        return await self._kinds[group, plural](body, user, namespace)

    async def _token(self, body: Raw, _user: User, _namespace: str) -> Answered:
        spec = body.get("spec") or {}
        if not spec.get("token"):
            raise BadRequest("token is required for TokenReview in authentication")
        if body["metadata"].get("namespace"):
            raise BadRequest(f"namespace is not allowed on this type: {body['metadata']['namespace']}")
        status, warnings = await self._token_status(spec)
        return _answered(body, warnings, status=status)

    async def _token_status(self, spec: Raw) -> Answered:
        """A token that is out of date warns whoever asks about it, as it warns whoever comes with it."""
        if self.tokens is None:
            return {"user": {}}, ()
        try:
            user, audiences = await self.tokens.authenticate(
                spec["token"], tuple(spec.get("audiences") or ())
            )
        except InvalidToken as error:
            text = str(error)
            plain = "invalid bearer token"
            return {"user": {}, "error": text if text == plain else f"[{plain}, {text}]"}, ()
        info = user_info(authenticated(user))
        return {"authenticated": True, "user": info, "audiences": list(audiences)}, user.warnings

    async def _self_subject(self, body: Raw, user: User, _namespace: str) -> Answered:
        made = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = body["metadata"] | {"creationTimestamp": made}
        return _answered(body, metadata=metadata, status={"userInfo": user_info(user)})

    async def _access(self, body: Raw, _user: User, _namespace: str) -> Answered:
        spec = body.get("spec") or {}
        _require_valid([*_spec_causes(spec), *_subject_causes(spec), *_metadata_causes(body["metadata"])])
        return _answered(body, status=await self._access_status(spec, _subject(spec)))

    async def _local_access(self, body: Raw, _user: User, namespace: str) -> Answered:
        spec = body.get("spec") or {}
        metadata = body["metadata"] | {"namespace": namespace}
        _require_valid(
            [
                *_spec_causes(spec),
                *_subject_causes(spec),
                *_metadata_causes(metadata, "namespace"),
                *_local(spec, namespace),
            ]
        )
        return _answered(body, metadata=metadata, status=await self._access_status(spec, _subject(spec)))

    async def _self_access(self, body: Raw, user: User, _namespace: str) -> Answered:
        spec = body.get("spec") or {}
        _require_valid([*_spec_causes(spec), *_metadata_causes(body["metadata"])])
        return _answered(body, status=await self._access_status(spec, user))

    async def _access_status(self, spec: Raw, user: User) -> Raw:
        asked, problems = _attributes(spec, user)
        decision = await settled(partial(self.authorization.allow, asked))
        if decision.error:
            problems.insert(0, decision.error)
        status: Raw = {
            "allowed": decision.verdict is Verdict.ALLOW,
            "denied": decision.verdict is Verdict.DENY,
            "reason": decision.reason,
            "evaluationError": ", ".join(problems),
        }
        return {key: value for key, value in status.items() if value or key == "allowed"}

    async def _self_rules(self, body: Raw, user: User, _namespace: str) -> Answered:
        namespace = (body.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise BadRequest("no namespace on request")
        rights = self.authorization.rights(user, namespace)
        rules: list[Raw] = [msgspec.json.decode(msgspec.json.encode(rule)) for rule in rights.rules]
        resources = ("verbs", "apiGroups", "resources", "resourceNames")
        status: Raw = {
            "resourceRules": [_only(rule, resources) for rule in rules if rule.get("resources")],
            "nonResourceRules": [
                _only(rule, ("verbs", "nonResourceURLs")) for rule in rules if rule.get("nonResourceURLs")
            ],
            "incomplete": rights.incomplete,
        }
        if rights.errors:
            status["evaluationError"] = ", ".join(rights.errors)
        return _answered(body, metadata={}, spec={}, status=status)


def _only(rule: Raw, keys: tuple[str, ...]) -> Raw:
    return {key: rule[key] for key in keys if key in rule}


def _answered(body: Raw, warnings: Warnings = (), **fields: Raw) -> Answered:
    head = {"kind": body["kind"], "apiVersion": body["apiVersion"], "metadata": body["metadata"]}
    spec = {"spec": body.get("spec") or {}} if "spec" in body or "spec" in fields else {}
    return head | spec | fields, warnings


def user_info(user: User) -> Raw:
    """authentication.k8s.io UserInfo of a user."""
    info: Raw = {
        "username": user.name,
        "uid": user.uid,
        "groups": list(user.groups),
        "extra": {key: list(values) for key, values in user.extra.items()},
    }
    return {key: value for key, value in info.items() if value}


def _subject(spec: Raw) -> User:
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)


def _attributes(spec: Raw, user: User) -> tuple[Attributes, list[str]]:
    """What a review asks, and what of it could not be understood (and is ignored)."""
    plain = spec.get("nonResourceAttributes")
    if plain is not None:
        return Attributes(user, plain.get("verb", ""), path=plain.get("path", "")), []
    asked = spec["resourceAttributes"]
    fields, bad = _requirements(asked.get("fieldSelector") or {})
    problems = ["spec.resourceAttributes.fieldSelector ignored due to parse error"] if bad else []
    if _requirements(asked.get("labelSelector") or {})[1]:
        problems.append("spec.resourceAttributes.labelSelector ignored due to parse error")
    words = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
    said = {word: asked.get(word, "") for word in words}
    labels = _label_text(asked.get("labelSelector") or {})
    return Attributes(user, field_selector=fields, label_selector=labels, **said), problems


_LABEL_FORMS: Mapping[str, Callable[[str, str], str]] = {
    "In": lambda key, values: f"{key} in ({values})",
    "NotIn": lambda key, values: f"{key} notin ({values})",
    "Exists": lambda key, _: key,
    "DoesNotExist": lambda key, _: f"!{key}",
}


def _label_text(selector: Raw) -> str:
    """A label selector as requests carry it. Operators that nobody knows narrow nothing down."""
    found: list[str] = [raw] if (raw := selector.get("rawSelector", "")) else []
    found += [
        form(one.get("key", ""), ",".join(one.get("values") or ()))
        for one in selector.get("requirements") or ()
        if (form := _LABEL_FORMS.get(one.get("operator", "")))
    ]
    return ",".join(found)


def _requirements(selector: Raw) -> tuple[tuple[tuple[str, str, str], ...], bool]:
    """(key, = or !=, value) of a selector, and whether a part of it made no sense. Other operators narrow nothing down."""
    found: list[tuple[str, str, str]] = []
    for part in selector.get("rawSelector", "").split(","):
        key, sign, value = part.partition("=")
        if sign:
            operator = "!=" if key.endswith("!") else "="
            found.append((key.removesuffix("!").strip(), operator, value.removeprefix("=").strip()))
    bad = False
    for one in selector.get("requirements") or ():
        operator, values = one.get("operator", ""), one.get("values") or []
        bad = bad or operator not in ("In", "NotIn", "Exists", "DoesNotExist")
        if operator in ("In", "NotIn") and len(values) == 1:
            found.append((one.get("key", ""), "=" if operator == "In" else "!=", values[0]))
    return (() if bad else tuple(found)), bad


def _require_valid(causes: list[Cause]) -> None:
    if causes:
        raise Invalid.of(AUTHORIZATION, "", "", causes)


def _invalid(path: str, value: str, message: str) -> Cause:
    return Cause(path, "FieldValueInvalid", f"Invalid value: {value}: {message}")


def _go_plain(plain: Raw) -> str:
    """Non-resource attributes as upstream prints them: by its own field names."""
    return msgspec.json.encode({"Path": plain.get("path", ""), "Verb": plain.get("verb", "")}).decode()


def _spec_causes(spec: Raw) -> Iterator[Cause]:
    resource, plain = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and plain is not None:
        text = "cannot be specified in combination with resourceAttributes"
        yield _invalid("spec.nonResourceAttributes", _go_plain(plain), text)
    if resource is None and plain is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield _invalid("spec.resourceAttributes", "null", text)
    for name in ("fieldSelector", "labelSelector"):
        selector = (resource or {}).get(name)
        if selector is not None:
            yield from _selector_causes(f"spec.resourceAttributes.{name}", selector)


def _selector_causes(path: str, selector: Raw) -> Iterator[Cause]:
    raw, requirements = selector.get("rawSelector", ""), selector.get("requirements") or []
    if raw and requirements:
        text = "may not specified at the same time as requirements"
        yield _invalid(f"{path}.rawSelector", msgspec.json.encode(raw).decode(), text)
    if not raw and not requirements:
        text = f"when {path} is specified, requirements or rawSelector is required"
        yield Cause(f"{path}.requirements", "FieldValueRequired", f"Required value: {text}")
    for at, one in enumerate(requirements):
        if not one.get("key"):
            yield Cause(
                f"{path}.requirements[{at}].key", "FieldValueRequired", "Required value: must be specified"
            )


def _subject_causes(spec: Raw) -> Iterator[Cause]:
    if not spec.get("user") and not spec.get("groups"):
        yield _invalid("spec.user", '""', "at least one of user or group must be specified")


def _metadata_causes(metadata: Raw, *allowed: str) -> Iterator[Cause]:
    if any(value for key, value in metadata.items() if key not in ("managedFields", *allowed)):
        yield _invalid("metadata", msgspec.json.encode(written.metadata(metadata)).decode(), "must be empty")


def _local(spec: Raw, namespace: str) -> Iterator[Cause]:
    asked: Any = spec.get("resourceAttributes")
    if asked is not None and asked.get("namespace", "") != namespace:
        value = msgspec.json.encode(asked.get("namespace", "")).decode()
        yield _invalid("spec.resourceAttributes.namespace", value, "must match metadata.namespace")
    plain = spec.get("nonResourceAttributes")
    if plain is not None:
        yield _invalid("spec.nonResourceAttributes", _go_plain(plain), "disallowed on this kind of request")
