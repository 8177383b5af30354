"""Errors of the API, raised by name where they are known and answered as a Status in one place.

Every class stands for one reason of upstream's metav1.Status (apimachinery/pkg/apis/meta/v1/types.go); the code is the
HTTP status. ``status()`` gives the body that clients read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing wrong with one field, in the words of upstream's field.Error.

    ``field`` is a path such as ``spec.containers[0].name``; ``reason`` one of upstream's cause types
    (FieldValueRequired, FieldValueInvalid, FieldValueDuplicate, FieldValueForbidden, FieldValueNotSupported,
    FieldValueNotFound, FieldValueTypeInvalid, FieldValueTooLong, FieldValueTooMany, ...); ``message`` without the path,
    e.g. ``Required value`` or ``Invalid value: "A_b": a lowercase RFC 1123 label must consist of ...``.
    """

    field: str
    reason: str
    message: str

    def line(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def as_dict(self) -> dict[str, str]:
        found = {"reason": self.reason, "message": self.message, "field": self.field}
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Details:
    """What a Status says about the object in question; empty fields are not sent."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[Cause, ...] = ()
    retry_after_seconds: int = 0

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": self.name,
            "group": self.group,
            "kind": self.kind,
            "uid": self.uid,
            "causes": [cause.as_dict() for cause in self.causes],
            "retryAfterSeconds": self.retry_after_seconds,
        }
        return {key: value for key, value in found.items() if value}


class ApiError(Exception):
    """An answer other than success. ``code`` is the HTTP status, ``reason`` the machine-readable word."""

    code: int = 500
    reason: str = "InternalError"

    def __init__(self, message: str, details: Details | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        """The metav1.Status that is sent to the client."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details.as_dict()
        body["code"] = self.code
        return body


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    code, reason = 409, "Conflict"


class Gone(ApiError):
    code, reason = 410, "Gone"


class Expired(ApiError):
    """``continued`` is a token with which a list can go on all the same, at another revision."""

    code, reason = 410, "Expired"

    def __init__(self, message: str, details: Details | None = None, continued: str = "") -> None:
        super().__init__(message, details)
        self.continued = continued

    def status(self) -> dict[str, Any]:
        body = super().status()
        return {**body, "metadata": {"continue": self.continued}} if self.continued else body


class RequestEntityTooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"

    @classmethod
    def of(cls, group: str, kind: str, name: str, causes: Iterable[Cause]) -> "Invalid":
        """An object that breaks rules; one cause a rule. Words as in upstream's errors.NewInvalid."""
        found = tuple(causes)
        lines = list(dict.fromkeys(cause.line() for cause in found))
        text = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
        shown = f"{kind}.{group}" if group else kind
        details = Details(name=name, group=group, kind=kind, causes=found)
        return cls(f'{shown} "{name}" is invalid: {text}', details)


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    code, reason = 500, "InternalError"

    @classmethod
    def of(cls, why: str) -> "InternalError":
        """Words as in upstream's errors.NewInternalError."""
        return cls(f"Internal error occurred: {why}", Details(causes=(Cause("", "", why),)))


class ServiceUnavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


class PassedOn(ApiError):
    """A refusal that somebody else worded: its status goes to the client as it is."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        super().__init__(str(status.get("message") or ""))
        self._status = status
        self.code = int(status.get("code") or 500)
        self.reason = str(status.get("reason") or "")

    def status(self) -> dict[str, Any]:
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **self._status}


REASONS: Mapping[str, type[ApiError]] = {
    error.reason: error
    for error in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, AlreadyExists, Conflict, Gone,
        Expired, RequestEntityTooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError,
        ServiceUnavailable, Timeout,
    )
}  # fmt: skip
