"""Service account tokens on request: the subresource ``serviceaccounts/token``.

``Issuer.create`` gives the body of the 201. A token may be bound to a pod, a secret or a node, and then lives no longer
than that object. A token that admission asked for on behalf of a pod (3607 s, for the server's own audience) really lives
a year, so that clients which never reload it go on working; its claim ``warnafter`` keeps the shorter time.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from kybern.admission.framework import Lookup
from kybern.auth.keys import SigningKey
from kybern.auth.rules import quote
from kybern.auth.tokens import EXTENDED_SECONDS, PROJECTED_SECONDS, Claims, Private, Ref, sign, username
from kybern.machinery.errors import BadRequest, Cause, Conflict, Details, Invalid, NotFound
from kybern.machinery.kind import Raw

GROUP, KIND = "authentication.k8s.io", "TokenRequest"
SHORTEST, DEFAULT, LONGEST = 600, 3600, 1 << 32
BINDABLE = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


@dataclass(slots=True)
class Issuer:
    """Signs tokens. ``audiences`` are the server's own; ``longest`` is the longest lifetime in seconds, 0 for none.

    ``identifier`` makes token ids (random UUIDs), ``clock`` tells Unix time.
    """

    issuer: str
    audiences: tuple[str, ...]
    key: SigningKey
    lookup: Lookup
    identifier: Callable[[], str]
    clock: Callable[[], float]
    longest: int = 0
    extend: bool = True

    async def create(
        self,
        namespace: str,
        name: str,
        body: Raw,
        admit: Callable[[Raw], Awaitable[None]] | None = None,
    ) -> Raw:
        """The answer to a token request for a service account. ``admit`` runs validating admission on the request.

        Raises NotFound, Invalid, BadRequest or Conflict.
        """
        account = await self._get("serviceaccounts", namespace, name)
        now = self.clock()
        request = _completed(body, account, self.audiences, now)
        spec = request["spec"]
        _check(spec)
        if admit is not None:
            await admit(request)
        private = Private(namespace=namespace, serviceaccount=_ref(account))
        if spec.get("boundObjectRef"):
            private = await self._bound(private, namespace, name, spec["boundObjectRef"])
        if self.longest and spec["expirationSeconds"] > self.longest:
            spec["expirationSeconds"] = self.longest
        claims = self._claims(private, spec, username(namespace, name), now)
        request["spec"] = {**spec, "boundObjectRef": spec.get("boundObjectRef")}
        request["status"] = {
            "token": sign(claims, self.key),
            "expirationTimestamp": _time(now + spec["expirationSeconds"]),
        }
        return request

    def _claims(self, private: Private, spec: Raw, subject: str, now: float) -> Claims:
        lifetime: int = spec["expirationSeconds"]
        own = set(spec["audiences"]) <= set(self.audiences)
        if self.extend and private.pod is not None and lifetime == PROJECTED_SECONDS and own:
            private = msgspec.structs.replace(private, warnafter=int(now) + lifetime)
            lifetime = EXTENDED_SECONDS
        return Claims(
            iss=self.issuer,
            sub=subject,
            aud=tuple(spec["audiences"]),
            iat=int(now),
            nbf=int(now),
            exp=int(now) + lifetime,
            jti=self.identifier(),
            kubernetes=private,
        )

    async def _bound(self, private: Private, namespace: str, account: str, ref: Raw) -> Private:
        """The claim with the object that the token is to be bound to."""
        kind, api_version = ref.get("kind", ""), ref.get("apiVersion", "")
        group, _, version = api_version.rpartition("/")
        if group or kind not in BINDABLE:
            shown = f"{group}/{version}, Kind={kind}"
            raise BadRequest(f"cannot bind token to object of type {shown}")
        plural = BINDABLE[kind]
        found = await self._get(plural, "" if kind == "Node" else namespace, ref.get("name", ""))
        if kind == "Pod":
            _same_account(account, found)
        if ref.get("uid") and ref["uid"] != found["metadata"]["uid"]:
            raise Conflict(
                f"Operation cannot be fulfilled on {kind} {quote(ref['name'])}: the UID in the bound object reference"
                f" ({ref['uid']}) does not match the UID in record. The object might have been deleted and then recreated",
                Details(name=ref["name"], kind=kind),
            )
        if kind == "Pod":
            return msgspec.structs.replace(private, pod=_ref(found), node=await self._node_of(found))
        if kind == "Secret":
            return msgspec.structs.replace(private, secret=_ref(found))
        return msgspec.structs.replace(private, node=_ref(found))

    async def _node_of(self, pod: Raw) -> Ref | None:
        """The node that the pod runs on, by name only when the Node object is gone."""
        name = (pod.get("spec") or {}).get("nodeName", "")
        if not name:
            return None
        node = await self.lookup.get("", "nodes", "", name)
        return _ref(node) if node is not None else Ref(name)

    async def _get(self, plural: str, namespace: str, name: str) -> Raw:
        found = await self.lookup.get("", plural, namespace, name)
        found = found or await self.lookup.get_live("", plural, namespace, name)
        if found is None:
            raise NotFound(f"{plural} {quote(name)} not found", Details(name=name, kind=plural))
        return found


def _ref(found: Raw) -> Ref:
    return Ref(found["metadata"]["name"], found["metadata"].get("uid", ""))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _completed(body: Raw, account: Raw, audiences: tuple[str, ...], now: float) -> Raw:
    """The request with the account's metadata and defaults. Raises Invalid when it names another account."""
    given, of = body.get("metadata") or {}, account["metadata"]
    causes = [
        Cause(
            f"metadata.{field}",
            "FieldValueInvalid",
            f"Invalid value: {quote(given[field])}: must match the service account {field} if specified",
        )
        for field in ("name", "namespace")
        if given.get(field, of[field]) != of[field]
    ]
    if causes:
        raise Invalid.of(GROUP, KIND, of["name"], causes)
    metadata = {
        "name": of["name"],
        "namespace": of["namespace"],
        "uid": of.get("uid", ""),
        "creationTimestamp": _time(now),
    }
    asked: dict[str, Any] = body.get("spec") or {}
    spec = {
        **asked,
        "audiences": list(asked.get("audiences") or audiences),
        "expirationSeconds": DEFAULT
        if asked.get("expirationSeconds") is None
        else asked["expirationSeconds"],
    }
    return {
        "kind": KIND,
        "apiVersion": f"{GROUP}/v1",
        "metadata": {**given, **metadata},
        "spec": spec,
        "status": {},
    }


def _check(spec: Raw) -> None:
    seconds = spec["expirationSeconds"]
    wrong = ""
    if seconds < SHORTEST:
        wrong = "may not specify a duration less than 10 minutes"
    if seconds > LONGEST:
        wrong = "may not specify a duration larger than 2^32 seconds"
    if wrong:
        cause = Cause("spec.expirationSeconds", "FieldValueInvalid", f"Invalid value: {seconds}: {wrong}")
        raise Invalid.of(GROUP, KIND, "", [cause])


def _same_account(account: str, pod: Raw) -> None:
    runs_as = (pod.get("spec") or {}).get("serviceAccountName", "")
    if runs_as != account:
        raise BadRequest(
            f"cannot bind token for serviceaccount {quote(account)} to pod running with serviceaccount {quote(runs_as)}"
        )
