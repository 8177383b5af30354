"""What webhooks are sent, and what their answers mean."""

import base64
from typing import Any

import msgspec
import pytest

from kybern.admission.seen import View
from kybern.admission.webhooks.review import BadPatch, BadReview, answer, question, refusal, version_of
from kybern.admission.webhooks.target import Target, target_of
from kybern.admission.webhooks.webhook import of_configuration
from kybern.auth.user import User
from tests.unit.admission.writes import named, write

type Raw = dict[str, Any]
UID = "u-1"


def reply(kind: str = "AdmissionReview", version: str = "v1", **said: Any) -> bytes:
    response = {"uid": UID, "allowed": True, **said}
    return msgspec.json.encode(
        {"kind": kind, "apiVersion": f"admission.k8s.io/{version}", "response": response}
    )


def encoded(patch: Any) -> str:
    return base64.b64encode(msgspec.json.encode(patch)).decode()


PATCH = [{"op": "add", "path": "/a", "value": 1}]


def test_a_write_is_told_whole() -> None:
    user = User("ann", ("devs",), "7", {"scope": ("a", "b")})
    request = write("UPDATE", "pods/status", named("p", "x"), named("p", "x"), user=user, dry_run=True)
    sent = msgspec.json.decode(question(View(request, request.kind, request.new, request.old), "v1", UID))

    assert sent["apiVersion"] == "admission.k8s.io/v1"
    assert sent["request"] == {
        "uid": UID,
        "kind": {"group": "", "version": "v1", "kind": "Pods"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "subResource": "status",
        "requestKind": {"group": "", "version": "v1", "kind": "Pods"},
        "requestResource": {"group": "", "version": "v1", "resource": "pods"},
        "requestSubResource": "status",
        "name": "p",
        "namespace": "x",
        "operation": "UPDATE",
        "userInfo": {"username": "ann", "uid": "7", "groups": ["devs"], "extra": {"scope": ["a", "b"]}},
        "object": named("p", "x"),
        "oldObject": named("p", "x"),
        "dryRun": True,
        "options": None,
    }


@pytest.mark.parametrize(
    ("accepted", "version"),
    [(("v1",), "v1"), (("v1beta1", "v1"), "v1beta1"), (("v2", "v1"), "v1")],
)
def test_the_first_version_that_both_know_is_spoken(accepted: tuple[str, ...], version: str) -> None:
    assert version_of(accepted) == version


def test_without_a_version_in_common_nothing_is_said() -> None:
    with pytest.raises(BadReview, match="does not accept known AdmissionReview versions"):
        version_of(("v2",))


@pytest.mark.parametrize(
    ("data", "mutating", "says"),
    [
        (b"no", False, "couldn't get version/kind; json parse error"),
        (b"[]", False, "it is not an object"),
        (b"{}", False, "webhook response was absent"),
        (reply(uid="other"), False, 'expected response.uid="u-1", got "other"'),
        (reply(kind="Else"), False, "got admission.k8s.io/v1, Kind=Else"),
        (reply(version="v1beta1"), False, "got admission.k8s.io/v1beta1, Kind=AdmissionReview"),
        (reply(patch=encoded(PATCH)), False, "validating webhook may not return response.patch"),
        (reply(patchType="JSONPatch"), False, "validating webhook may not return response.patchType"),
        (reply(patch=encoded(PATCH)), True, "returned response.patch but not response.patchType"),
        (reply(patchType="JSONPatch"), True, "returned response.patchType but not response.patch"),
        (reply(patch=encoded(PATCH), patchType=""), True, 'invalid response.patchType of ""'),
    ],
)
def test_what_is_no_answer(data: bytes, mutating: bool, says: str) -> None:
    with pytest.raises(BadReview) as problem:
        answer(data, "v1", UID, mutating=mutating)
    assert says in str(problem.value)


@pytest.mark.parametrize("patch", ["%%%", encoded({"a": 1}), base64.b64encode(b"[").decode(), encoded([1])])
def test_what_is_no_patch(patch: str) -> None:
    with pytest.raises(BadPatch):
        answer(reply(patch=patch, patchType="JSONPatch"), "v1", UID, mutating=True)


def test_an_older_answer_says_neither_whose_it_is_nor_what_its_patch_is() -> None:
    data = reply(kind="", version="", uid="", patch=encoded(PATCH))
    found = answer(data, "v1beta1", UID, mutating=True)
    assert (found.allowed, found.patch, found.patch_type) == (True, PATCH, "JSONPatch")


def test_warnings_and_annotations_are_passed_on() -> None:
    found = answer(reply(warnings=["w"], auditAnnotations={"k": "v"}), "v1", UID, mutating=False)
    assert (found.warnings, found.annotations) == (("w",), {"k": "v"})


@pytest.mark.parametrize("allowed", [False, None, "yes"])
def test_only_a_clear_yes_is_one(allowed: Any) -> None:
    assert not answer(reply(allowed=allowed), "v1", UID, mutating=False).allowed


DENIED = 'admission webhook "h" denied the request'


@pytest.mark.parametrize(
    ("status", "code", "reason", "message"),
    [
        (None, 400, None, f"{DENIED} without explanation"),
        ({}, 400, None, f"{DENIED} without explanation"),
        ({"reason": "nope"}, 400, "nope", f"{DENIED}: nope"),
        ({"message": "m", "reason": "r", "code": 403}, 403, "r", f"{DENIED}: m"),
        ({"message": "m", "code": 200, "status": "Success"}, 400, None, f"{DENIED}: m"),
        ({"message": "m", "code": 500}, 500, None, f"{DENIED}: m"),
    ],
)
def test_refusals_keep_what_the_webhook_said(
    status: Raw | None, code: int, reason: str | None, message: str
) -> None:
    found = refusal("h", status).status()
    assert (found["code"], found.get("reason"), found["message"], found["status"]) == (
        code,
        reason,
        message,
        "Failure",
    )


@pytest.mark.parametrize(
    ("client", "address"),
    [
        ({"url": "https://h.example.com/x"}, "https://h.example.com/x?timeout=10s"),
        (
            {"service": {"name": "s", "namespace": "n", "path": "/p"}},
            "https://s.n.svc:443/p?timeout=10s",
        ),
        ({"service": {"name": "s", "namespace": "n", "port": 8443}}, "https://s.n.svc:8443/?timeout=10s"),
    ],
)
def test_targets_are_shown_as_upstream_does(client: Raw, address: str) -> None:
    assert target_of(client).address(10) == address


def test_a_bundle_of_authorities_is_decoded() -> None:
    found = target_of({"url": "https://h", "caBundle": base64.b64encode(b"pem").decode()})
    assert found == Target(url="https://h", authority=b"pem")


def test_webhooks_of_one_name_are_told_apart() -> None:
    hook = {
        "name": "h",
        "clientConfig": {"url": "https://h"},
        "sideEffects": "Some",
        "failurePolicy": "Ignore",
    }
    one, other = of_configuration({"metadata": {"name": "c"}, "webhooks": [hook, hook]})
    assert (one.uid, other.uid) == ("c/h/0", "c/h/1")
    assert (one.dry, one.closed, one.seconds, one.again) == (False, False, 10, False)
