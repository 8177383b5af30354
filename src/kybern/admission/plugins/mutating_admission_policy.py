"""Lets the cluster's mutating policies change a write, one after the other: by configurations to apply, or JSON patches.

What a policy sets belongs to nobody: who updates the object again, and is not met by the policy, may drop it.
"""

from dataclasses import dataclass
from functools import partial
from time import perf_counter

import msgspec

from kybern.admission import metrics
from kybern.admission.framework import Again, Plugin, Request, refused
from kybern.admission.matching import is_exempt
from kybern.admission.plugins.validating_admission_policy import namespace_seen
from kybern.admission.policies import changing, conditions
from kybern.admission.policies.bound import Bound
from kybern.admission.policies.expression import Evaluation, Failed, NotCompiled, visible
from kybern.admission.policies.params import Misconfigured, collected
from kybern.admission.policies.policy import JSON_PATCH, Binding, Mutation, Policy
from kybern.admission.rewriting import put, rewritten
from kybern.admission.seen import View, undisguised, view
from kybern.admission.selecting import Selecting
from kybern.auth.unsettled import settled
from kybern.machinery.errors import ApiError, PassedOn
from kybern.machinery.kind import Kind, Raw
from kybern.machinery.patch.json import TestFailed, json_patch

NAME = "MutatingAdmissionPolicy"


@dataclass(frozen=True, slots=True)
class _Turn:
    """A policy bound to a write, with one of its parameters."""

    policy: Policy
    binding: Binding
    kind: Kind
    params: Raw | None

    @property
    def key(self) -> str:
        metadata = (self.params or {}).get("metadata") or {}
        return "/".join(
            (self.policy.name, self.binding.name, metadata.get("namespace", ""), metadata.get("name", ""))
        )


async def mutate(request: Request) -> None:
    configured = request.configured
    if configured is None:
        return
    await configured.ready(request)
    if not configured.mutating_policies or request.operation == "DELETE" or is_exempt(request.kind):
        return
    again = request.again = request.again or Again()
    if again.round and again.last.get(NAME) != request.new:
        again.changed(NAME)
    asked = undisguised(request)
    await _Round(asked, again).run(configured.mutating_policies)
    if asked is not request and request.disguise and request.new is not None and asked.new is not None:
        request.disguise.place(request.new, asked.new)
    if again.called.get(NAME):
        # Only who may be called again asks whether the object is still what it left.
        again.last[NAME] = msgspec.json.decode(msgspec.json.encode(request.new))


class _Round:
    def __init__(self, request: Request, again: Again) -> None:
        self._request = request
        self._again = again
        self._selecting = Selecting(request)
        self._errors: list[tuple[str, str]] = []

    async def run(self, policies: tuple[Bound, ...]) -> None:
        turns = [turn for bound in policies for turn in await self._turns(bound)]
        for turn in turns:
            await self._take(turn)
        if self._errors:
            raise self._refusal()

    async def _turns(self, bound: Bound) -> list[_Turn]:
        """Who is for this write, as it came."""
        policy, found = bound.policy, []
        try:
            kind = await self._selecting.kind(policy.criteria)
        except ApiError as problem:
            self._failed(policy, None, f"failed to configure policy: {problem.message}")
            return []
        for binding in bound.bindings if kind else ():
            assert kind is not None
            try:
                if await self._selecting.kind(binding.criteria) is None:
                    continue
                params = await collected(self._request, policy, binding)
            except (ApiError, Misconfigured) as problem:
                text = problem.message if isinstance(problem, ApiError) else str(problem)
                self._failed(policy, binding, f"failed to configure binding: {text}")
                continue
            found += [_Turn(policy, binding, kind, one) for one in params]
        return found

    def _failed(self, policy: Policy, binding: Binding | None, why: str, reason: str = "") -> None:
        if not policy.closed:
            return
        by = f"'{policy.name}' with binding '{binding.name}'" if binding else f'"{policy.name}"'
        self._errors.append((f"policy {by} denied request: {why}", reason))

    async def _take(self, turn: _Turn) -> None:
        request, policy = self._request, turn.policy
        seen = await view(request, turn.kind)
        namespace = await namespace_seen(request, self._selecting)
        try:
            sees = visible(seen, turn.params, namespace)
            held = partial(conditions.hold, policy.conditions, sees, policy.variables)
            if policy.conditions and not await settled(held):
                return
        except conditions.Unclear as problem:
            self._failed(policy, turn.binding, str(problem), "Invalid")
            return
        if self._again.skips(NAME, turn.key):
            return
        changed = False
        for mutation in policy.mutations if seen.new is not None else ():
            began, error = perf_counter(), "no_error"
            try:
                changed |= await self._mutated(turn, mutation, namespace)
            except (Failed, changing.Unusable) as problem:
                error = problem.kind if isinstance(problem, Failed) else Failed.kind
                self._failed(policy, turn.binding, str(problem), "Invalid")
            metrics.mutated(policy.name, turn.binding.name, error, perf_counter() - began)
        if changed:
            self._again.changed(NAME)
        if policy.again:
            self._again.called.setdefault(NAME, set()).add(turn.key)

    async def _mutated(self, turn: _Turn, mutation: Mutation, namespace: Raw | None) -> bool:
        """Whether the object is another one now. Raises Failed and Unusable."""
        seen = await view(self._request, turn.kind)
        evaluation = Evaluation(visible(seen, turn.params, namespace), turn.policy.variables)
        if mutation.expression.program is None:
            raise NotCompiled(mutation.expression.error)
        value = await settled(partial(evaluation.value, mutation.expression))
        made = _patched(seen, value) if mutation.kind == JSON_PATCH else self._applied(seen, value)
        return made is not None and await put(seen, rewritten(seen, made))

    def _applied(self, seen: View, value: object) -> Raw:
        assert self._request.configured is not None and seen.new is not None  # noqa: PT018  both hold here
        config = changing.configuration(value)
        try:
            return self._request.configured.versions.merged(seen.kind, seen.new, config)
        except ValueError as problem:
            raise changing.Unusable(f"error applying patch: {problem}") from problem

    def _refusal(self) -> PassedOn:
        """The first error is told; all are causes."""
        text, reason = self._errors[0]
        status = refused(self._request, text).status()
        causes = [{"message": one} for one, _ in self._errors]
        details = {**status["details"], "causes": causes}
        return PassedOn({**status, "message": text, "reason": reason or status["reason"], "details": details})


def _patched(seen: View, value: object) -> Raw | None:
    """None when a test of the patch says that it is not to be applied."""
    assert seen.new is not None and isinstance(value, list)  # noqa: PT018  its type was checked
    try:
        found: Raw = json_patch(seen.new, changing.operations(value))
    except TestFailed:
        return None
    except ApiError as problem:
        raise changing.Unusable(f"JSON Patch: {problem.message}") from problem
    return found


PLUGIN = Plugin(NAME, mutate=mutate, connects=True)
