"""Puts a write before the validating policies that are bound to it: they may deny it, warn, or note it for the audit."""

from functools import partial
from time import perf_counter

import msgspec

from kybern.admission import metrics
from kybern.admission.framework import Plugin, Request, refused
from kybern.admission.matching import is_exempt
from kybern.admission.policies.bound import Bound
from kybern.admission.policies.deciding import Denial, Said, decided
from kybern.admission.policies.expression import visible
from kybern.admission.policies.params import Misconfigured, collected
from kybern.admission.policies.policy import Binding, Policy
from kybern.admission.seen import undisguised, view
from kybern.admission.selecting import Selecting, is_namespace
from kybern.auth.unsettled import settled
from kybern.machinery.errors import ApiError, PassedOn
from kybern.machinery.kind import Kind, Raw

_CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}
_LONGEST_ANNOTATION = 10 * 1024
_FAILURES = "validation.policy.admission.k8s.io/validation_failure"


async def validate(request: Request) -> None:
    configured = request.configured
    if configured is None:
        return
    await configured.ready(request)
    if not configured.validating_policies or is_exempt(request.kind):
        return
    found = _Round(undisguised(request))
    for bound in configured.validating_policies:
        await found.policy(bound)
    if found.denied:
        raise _refusal(request, *found.denied[0])


class _Round:
    """One write before all policies."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._selecting = Selecting(request)
        self.denied: list[tuple[str, str]] = []
        self._annotations: dict[str, list[str]] = {}

    async def policy(self, bound: Bound) -> None:
        policy = bound.policy
        try:
            kind = await self._selecting.kind(policy.criteria)
        except ApiError as problem:
            self._misconfigured(policy, None, problem.message)
            return
        if kind is None:
            return
        self._annotations = {}
        for binding in bound.bindings:
            await self._binding(policy, binding, kind)
        for key, values in self._annotations.items():
            self._request.annotations[f"{policy.name}/{key}"] = ", ".join(values)

    async def _binding(self, policy: Policy, binding: Binding, kind: Kind) -> None:
        request = self._request
        try:
            if await self._selecting.kind(binding.criteria) is None:
                return
            params = await collected(request, policy, binding)
            seen = await view(request, kind) if params else None
        except (ApiError, Misconfigured) as problem:
            message = problem.message if isinstance(problem, ApiError) else str(problem)
            self._misconfigured(policy, binding, message)
            return
        if seen is None:
            return
        namespace = await namespace_seen(request, self._selecting)
        for one in params:
            began = perf_counter()
            said = await settled(partial(decided, policy, visible(seen, one, namespace)))
            self._heard(policy, binding, said)
            _count(policy, binding, said, perf_counter() - began)

    def _misconfigured(self, policy: Policy, binding: Binding | None, why: str) -> None:
        if not policy.closed:
            return
        what = "policy" if binding is None else "binding"
        self._deny(policy, binding, Denial(f"failed to configure {what}: {why}"))

    def _deny(self, policy: Policy, binding: Binding | None, denial: Denial) -> None:
        by = f" with binding '{binding.name}'" if binding else ""
        text = f"ValidatingAdmissionPolicy '{policy.name}'{by} denied request: {denial.message}"
        self.denied.append((text, denial.reason or "Invalid"))

    def _heard(self, policy: Policy, binding: Binding, said: Said) -> None:
        for denial in said.denials:
            for action in binding.actions:
                self._act(policy, binding, denial, action)
        for key, value in said.annotations:
            held = self._annotations.setdefault(key, [])
            if value[:_LONGEST_ANNOTATION] not in held:
                held.append(value[:_LONGEST_ANNOTATION])
        for fault in said.faults:
            self._deny(policy, binding, fault)

    def _act(self, policy: Policy, binding: Binding, denial: Denial, action: str) -> None:
        if action == "Deny":
            self._deny(policy, binding, denial)
        elif action == "Warn":
            text = (
                f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding "
                f"'{binding.name}': {denial.message}"
            )
            if text not in self._request.warnings:
                self._request.warnings.append(text)
        else:
            failure: Raw = {
                "message": denial.message,
                "policy": policy.name,
                "binding": binding.name,
                "expressionIndex": denial.index,
                "validationActions": list(binding.actions),
            }
            self._request.annotations[_FAILURES] = msgspec.json.encode([failure]).decode()


def _count(policy: Policy, binding: Binding, said: Said, seconds: float) -> None:
    for error in said.passed_over:
        metrics.checked(policy.name, binding.name, error, "allow", seconds)
    for denial in said.denials:
        for action in binding.actions:
            metrics.checked(policy.name, binding.name, denial.error, action.lower(), seconds)
    for fault in said.faults:
        metrics.checked(policy.name, binding.name, fault.error, "deny", seconds)


async def namespace_seen(request: Request, selecting: Selecting) -> Raw | None:
    """The namespace as expressions see it: nothing of who manages its fields, or owns it."""
    if not request.namespace or is_namespace(request.kind):
        return None
    found = await selecting.namespace()
    metadata = {
        key: value
        for key, value in found["metadata"].items()
        if key not in ("managedFields", "ownerReferences")
    }
    return {**found, "metadata": metadata}


def _refusal(request: Request, message: str, reason: str) -> PassedOn:
    status = refused(request, message).status()
    details = {**status["details"], "causes": [{"message": message}]}
    return PassedOn({**status, "reason": reason, "code": _CODES.get(reason, 422), "details": details})


PLUGIN = Plugin("ValidatingAdmissionPolicy", validate=validate, connects=True)
