"""Upstream's metric names for what admission does: its steps, each plugin, webhooks and policies.

A policy's time is that of all its expressions, where upstream measures each.
"""

from prometheus_client import Counter, Histogram

from kybern.daemon.tally import Tallies

# A write passes some ten plugins: these are told to in a fraction of a microsecond each.
_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
STEPS = Tallies(
    "apiserver_admission_step_admission_duration_seconds",
    "Time of all plugins of a step, admit or validate.",
    ("type", "operation", "rejected"),
    _SECONDS,
)
CONTROLLERS = Tallies(
    "apiserver_admission_controller_admission_duration_seconds",
    "Time that an admission plugin took.",
    ("name", "type", "operation", "rejected"),
    _SECONDS,
)
_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25)
_webhooks = Histogram(
    "apiserver_admission_webhook_admission_duration_seconds",
    "Time that an admission webhook took.",
    ("name", "type", "operation", "rejected"),
    buckets=_BUCKETS,
)
_requests = Counter(
    "apiserver_admission_webhook_request_total",
    "Calls of admission webhooks.",
    ("name", "type", "operation", "code", "rejected"),
)
# The client library puts _total behind a counter's name, which these two of upstream's do not have.
_rejections = Counter(
    "apiserver_admission_webhook_rejection_count",
    "Refusals by admission webhooks, and failures to call them.",
    ("name", "type", "operation", "error_type", "rejection_code"),
)
_opened = Counter(
    "apiserver_admission_webhook_fail_open_count",
    "Failures to call admission webhooks that let the write pass.",
    ("name", "type"),
)
_MOST = 600

_POLICY_BUCKETS = (0.0000005, 0.001, 0.01, 0.1, 1.0)
_VALIDATING = ("policy", "policy_binding", "error_type", "enforcement_action")
_checks = Counter(
    "apiserver_validating_admission_policy_check_total",
    "What validating admission policies did to writes.",
    _VALIDATING,
)
_check_times = Histogram(
    "apiserver_validating_admission_policy_check_duration_seconds",
    "Time that a validating admission policy took.",
    _VALIDATING,
    buckets=_POLICY_BUCKETS,
)
_MUTATING = ("policy", "policy_binding", "error_type")
_mutations = Counter(
    "apiserver_mutating_admission_policy_check_total",
    "Mutations of admission policies.",
    _MUTATING,
)
_mutation_times = Histogram(
    "apiserver_mutating_admission_policy_check_duration_seconds",
    "Time that a mutation of an admission policy took.",
    _MUTATING,
    buckets=_POLICY_BUCKETS,
)


def called(name: str, kind: str, operation: str, code: int, seconds: float, *, rejected: bool) -> None:
    said = str(rejected).lower()
    _requests.labels(name, kind, operation, str(min(code, _MOST)), said).inc()
    _webhooks.labels(name, kind, operation, said).observe(seconds)


def rejected(name: str, kind: str, operation: str, error: str, code: int) -> None:
    """``error``: no_error, calling_webhook_error or apiserver_internal_error."""
    _rejections.labels(name, kind, operation, error, str(min(code, _MOST))).inc()


def opened(name: str, kind: str) -> None:
    _opened.labels(name, kind).inc()


def checked(policy: str, binding: str, error: str, action: str, seconds: float) -> None:
    """``error``: no_error, compile_error, invalid_error or out_of_budget; ``action``: allow, deny, audit or warn."""
    _checks.labels(policy, binding, error, action).inc()
    _check_times.labels(policy, binding, error, action).observe(seconds)


def mutated(policy: str, binding: str, error: str, seconds: float) -> None:
    _mutations.labels(policy, binding, error).inc()
    _mutation_times.labels(policy, binding, error).observe(seconds)
