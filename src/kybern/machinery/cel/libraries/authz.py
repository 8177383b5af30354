"""kubernetes.authz: asking whether somebody may do something.

An expression builds a check step by step and asks it. Who decides, and for whom, is in the value of the variable
``authorizer``: nothing here knows users or rules.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from kybern.machinery import names
from kybern.machinery.cel import measures, types
from kybern.machinery.cel.functions import Function, Library, Overload, Range
from kybern.machinery.cel.types import Type
from kybern.machinery.cel.values import EvaluationError

AUTHORIZER = types.opaque("kubernetes.authorization.Authorizer")
PATH_CHECK = types.opaque("kubernetes.authorization.PathCheck")
GROUP_CHECK = types.opaque("kubernetes.authorization.GroupCheck")
RESOURCE_CHECK = types.opaque("kubernetes.authorization.ResourceCheck")
DECISION = types.opaque("kubernetes.authorization.Decision")
# As much as lets an expression ask twice.
_CHECK = 350_000
# A requirement of a selector has at least two signs; it takes a struct and a list.
_REQUIREMENT = 0.5
_EACH = measures.LIST + measures.STRUCT


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. With a ``path`` it is about that, otherwise about a resource.

    ``service_account`` is the namespace and name of who would do it; None: the user of the request.
    """

    verb: str = ""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    service_account: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """``error`` is what went wrong when it was decided, if something did."""

    TYPE: ClassVar[Type] = DECISION
    allowed: bool
    reason: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Asking:
    decide: Callable[[Question], Decision] = field(compare=False)
    question: Question = Question()


class Authorizer(_Asking):
    TYPE: ClassVar[Type] = AUTHORIZER
    __slots__ = ()


class PathCheck(_Asking):
    TYPE: ClassVar[Type] = PATH_CHECK
    __slots__ = ()


class GroupCheck(_Asking):
    TYPE: ClassVar[Type] = GROUP_CHECK
    __slots__ = ()


class ResourceCheck(_Asking):
    """The variable ``authorizer.requestResource`` is one, too."""

    TYPE: ClassVar[Type] = RESOURCE_CHECK
    __slots__ = ()


def path(asking: Authorizer, text: str) -> PathCheck:
    if not text.strip():
        raise EvaluationError("path must not be empty")
    return PathCheck(asking.decide, replace(asking.question, path=text))


def group(asking: Authorizer, text: str) -> GroupCheck:
    return GroupCheck(asking.decide, replace(asking.question, group=text))


def service_account(asking: Authorizer, namespace: str, name: str) -> Authorizer:
    if _any(names.dns1123_subdomain(name)):
        raise EvaluationError("Invalid service account name")
    if _any(names.dns1123_label(namespace)):
        raise EvaluationError("Invalid service account namespace")
    return Authorizer(asking.decide, replace(asking.question, service_account=(namespace, name)))


def _any(problems: Iterable[str]) -> bool:
    return any(True for _ in problems)


def resource(asking: GroupCheck, text: str) -> ResourceCheck:
    if not text.strip():
        raise EvaluationError("resource must not be empty")
    return ResourceCheck(asking.decide, replace(asking.question, resource=text))


def check(asking: PathCheck | ResourceCheck, verb: str) -> Decision:
    return asking.decide(replace(asking.question, verb=verb))


def _more(name: str) -> Callable[[ResourceCheck, str], ResourceCheck]:
    def call(asking: ResourceCheck, text: str) -> ResourceCheck:
        changes: dict[str, Any] = {name: text}
        return ResourceCheck(asking.decide, replace(asking.question, **changes))

    return call


def _selector_cost(length: Range) -> Range:
    """Reading it, and a list of its requirements."""
    each = measures.by(measures.by(length, _REQUIREMENT), _EACH)
    return measures.sum_of(Range(measures.LIST, measures.LIST), measures.by(length, measures.TRAVERSAL), each)


def _selector_count(arguments: tuple[Any, ...], _result: Any) -> int:
    length = len(arguments[1])
    return _selector_cost(Range(length, length)).most


def _selector(overload: str, name: str) -> tuple[Overload, ...]:
    return (
        Overload(
            overload, (RESOURCE_CHECK, types.STRING), RESOURCE_CHECK, _more(name), member=True,
            estimate=lambda sizes: _selector_cost(sizes[1]), count=_selector_count,
        ),
    )  # fmt: skip


def _step(
    overload: str, on: Type, result: Type, call: Callable[..., Any], texts: int = 1
) -> tuple[Overload, ...]:
    return (Overload(overload, (on, *(types.STRING,) * texts), result, call, member=True),)


def _asked(overload: str, on: Type) -> Overload:
    return Overload(
        overload, (on, types.STRING), DECISION, check, member=True,
        estimate=lambda _sizes: Range(_CHECK, _CHECK), count=lambda _arguments, _result: _CHECK,
    )  # fmt: skip


LIBRARY = Library(
    "kubernetes.authz",
    (
        Function("path", _step("authorizer_path", AUTHORIZER, PATH_CHECK, path)),
        Function("group", _step("authorizer_group", AUTHORIZER, GROUP_CHECK, group)),
        Function(
            "serviceAccount",
            _step("authorizer_serviceaccount", AUTHORIZER, AUTHORIZER, service_account, 2),
        ),
        Function("resource", _step("groupcheck_resource", GROUP_CHECK, RESOURCE_CHECK, resource)),
        Function(
            "subresource",
            _step("resourcecheck_subresource", RESOURCE_CHECK, RESOURCE_CHECK, _more("subresource")),
        ),
        Function(
            "namespace", _step("resourcecheck_namespace", RESOURCE_CHECK, RESOURCE_CHECK, _more("namespace"))
        ),
        Function("name", _step("resourcecheck_name", RESOURCE_CHECK, RESOURCE_CHECK, _more("name"))),
        Function("fieldSelector", _selector("authorizer_fieldselector", "field_selector")),
        Function("labelSelector", _selector("authorizer_labelselector", "label_selector")),
        Function(
            "check", (_asked("pathcheck_check", PATH_CHECK), _asked("resourcecheck_check", RESOURCE_CHECK))
        ),
        Function(
            "errored", _step("decision_errored", DECISION, types.BOOL, lambda value: bool(value.error), 0)
        ),
        Function("error", _step("decision_error", DECISION, types.STRING, lambda value: value.error, 0)),
        Function("allowed", _step("decision_allowed", DECISION, types.BOOL, lambda value: value.allowed, 0)),
        Function("reason", _step("decision_reason", DECISION, types.STRING, lambda value: value.reason, 0)),
    ),
)
