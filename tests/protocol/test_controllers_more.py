"""More control loops against a real API server, each with its own account's rights only."""

import base64
import ssl
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPSConnection
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.controllers_bed import BATCH, CORE, Cluster, condition, manage, template

DISCOVERY, NETWORKING = "/apis/discovery.k8s.io/v1", "/apis/networking.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def cluster(lab: Lab, free_ports: Callable[[], int]) -> Callable[[str], Cluster]:
    """Makes a namespace for a test. The controllers that have to be named are."""
    server = lab.start(free_ports())
    unused = "--legacy-service-account-token-clean-up-period=1ms"
    manage(lab, server, free_ports(), "--controllers=*,bootstrapsigner,tokencleaner", unused)
    return lambda name: Cluster(lab, server, name)


def test_a_secret_is_filled_with_a_token_that_lets_in(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("tokens")
    bed.make(bed.path(CORE, "serviceaccounts"), {"metadata": {"name": "robot"}})
    metadata = {"name": "robot", "annotations": {"kubernetes.io/service-account.name": "robot"}}
    kind = "kubernetes.io/service-account-token"
    bed.make(bed.path(CORE, "secrets"), {"metadata": metadata, "type": kind})

    path = bed.path(CORE, "secrets", "robot")
    found = bed.until(path, lambda one: (one.get("data") or {}).get("token"))
    token = base64.b64decode(found["data"]["token"]).decode()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    status = bed.make("/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]

    assert status["user"]["username"] == "system:serviceaccount:tokens:robot"
    assert {"ca.crt", "namespace", "token"} == found["data"].keys()
    bed.ask("DELETE", bed.path(CORE, "serviceaccounts", "robot"))
    bed.until(path, lambda one: not one)


def test_hand_written_endpoints_are_mirrored(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("mirror")
    ports = [{"name": "sql", "port": 5432}]
    bed.make(bed.path(CORE, "services"), {"metadata": {"name": "db"}, "spec": {"ports": ports}})
    subset = {"addresses": [{"ip": "192.0.2.1"}], "ports": ports}
    bed.make(bed.path(CORE, "endpoints"), {"metadata": {"name": "db"}, "subsets": [subset]})

    path = bed.path(DISCOVERY, "endpointslices")
    (one,) = bed.until(path, lambda found: found["items"])["items"]

    assert one["endpoints"][0]["addresses"] == ["192.0.2.1"]
    assert one["metadata"]["labels"]["kubernetes.io/service-name"] == "db"
    bed.ask("DELETE", bed.path(CORE, "endpoints", "db"))
    bed.until(path, lambda found: not found["items"])


def test_a_range_of_cluster_ips_becomes_ready_and_goes(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("ranges")
    bed.make(
        f"{NETWORKING}/servicecidrs", {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.200.0.0/24"]}}
    )
    path = f"{NETWORKING}/servicecidrs/more"

    found = bed.until(path, lambda one: condition(one, "Ready"))

    assert condition(found, "Ready")["status"] == "True"
    assert found["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
    bed.ask("DELETE", path)
    bed.until(path, lambda one: not one)


def test_services_get_addresses_of_a_range_that_was_added_until_it_goes(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("added-range")
    path = f"{NETWORKING}/servicecidrs/added"
    bed.make(
        f"{NETWORKING}/servicecidrs", {"metadata": {"name": "added"}, "spec": {"cidrs": ["10.201.0.0/24"]}}
    )
    bed.until(path, lambda one: condition(one, "Ready"))

    def asking(name: str, last: int) -> tuple[int, Any]:
        spec = {"ports": [{"port": 80}], "clusterIP": f"10.201.0.{last}"}
        return bed.ask("POST", bed.path(CORE, "services"), {"metadata": {"name": name}, "spec": spec})

    assert asking("one", 5)[0] == 201
    bed.ask("DELETE", path)
    bed.until(path, lambda one: (condition(one, "Ready") or {}).get("status") == "False")
    code, refusal = asking("two", 6)
    assert code == 422
    assert "failed to allocate IP 10.201.0.6: the provided network does not match" in refusal["message"]
    bed.ask("DELETE", bed.path(CORE, "services", "one"))
    bed.until(path, lambda one: not one)


def test_cluster_info_is_signed_and_old_tokens_go(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("bootstrap")
    for name, until in (("abcdef", "2100-01-01T00:00:00Z"), ("oldold", "2020-01-01T00:00:00Z")):
        data = {
            "token-id": name, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true", "expiration": until,
        }  # fmt: skip
        secret = {
            "metadata": {"name": f"bootstrap-token-{name}"}, "type": "bootstrap.kubernetes.io/token", "stringData": data,
        }  # fmt: skip
        bed.make(f"{CORE}/namespaces/kube-system/secrets", secret)
    info = {"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "x"}}
    bed.make(f"{CORE}/namespaces/kube-public/configmaps", info)

    bed.until(
        f"{CORE}/namespaces/kube-public/configmaps/cluster-info",
        lambda one: {"kubeconfig", "jws-kubeconfig-abcdef"} == one["data"].keys(),
    )
    bed.until(f"{CORE}/namespaces/kube-system/secrets/bootstrap-token-oldold", lambda one: not one)


def test_a_cron_job_starts_a_job_for_the_minute(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("cron")
    pod = {**template(app="cron")}
    pod["spec"] = {**pod["spec"], "restartPolicy": "Never"}
    spec = {"schedule": "* * * * *", "timeZone": "Asia/Kolkata", "jobTemplate": {"spec": {"template": pod}}}
    bed.make(bed.path(BATCH, "cronjobs"), {"metadata": {"name": "tick"}, "spec": spec})

    found = bed.until(
        bed.path(BATCH, "cronjobs", "tick"), lambda one: one.get("status", {}).get("active"), seconds=75
    )
    at = datetime.fromisoformat(found["status"]["lastScheduleTime"]).astimezone(UTC)
    (job,) = bed.items(bed.path(BATCH, "jobs"))

    assert job["metadata"]["name"] == f"tick-{int(at.timestamp()) // 60}"
    assert job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"].endswith(
        "+05:30"
    )
    assert found["status"]["active"][0]["uid"] == job["metadata"]["uid"]


def test_a_policy_is_told_which_expressions_do_not_fit(cluster: Callable[[str], Cluster]) -> None:
    bed = cluster("policies")
    rule = {
        "apiGroups": ["apps", ""], "apiVersions": ["v1"], "operations": ["CREATE"],
        "resources": ["deployments", "configmaps"],
    }  # fmt: skip
    checks = [
        {"expression": "object.metadata.labels['a'] == 'b'", "messageExpression": "'no ' + object.none"},
        {"expression": "variables.count > 1"},
    ]
    spec = {
        "matchConstraints": {"resourceRules": [rule]}, "validations": checks,
        "variables": [{"name": "count", "expression": "object.spec.replicas"}],
    }  # fmt: skip
    root = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    bed.make(root, {"metadata": {"name": "typed"}, "spec": spec})

    def checked(generation: int) -> Callable[[dict[str, Any]], bool]:
        return lambda one: (one.get("status") or {}).get("observedGeneration") == generation

    found = bed.until(f"{root}/typed", checked(1))

    (warning,) = found["status"]["typeChecking"]["expressionWarnings"]
    mark = " | 'no ' + object.none\n | ..............^\n"
    assert warning == {
        "fieldRef": "spec.validations[0].messageExpression",
        "warning": f"/v1, Kind=ConfigMap: ERROR: <input>:1:15: undefined field 'none'\n{mark}\n"
        f"apps/v1, Kind=Deployment: ERROR: <input>:1:15: undefined field 'none'\n{mark}",
    }
    bed.change(f"{root}/typed", lambda one: one["spec"].update(validations=checks[1:]))
    found = bed.until(f"{root}/typed", checked(2))
    assert not found["status"].get("typeChecking")
    applied = [each for each in found["metadata"]["managedFields"] if each["operation"] == "Apply"]
    names = [(each["manager"], each["subresource"]) for each in applied]
    assert names == [("validatingadmissionpolicy-status-controller", "status")]
    bed.ask("DELETE", f"{root}/typed")


def test_a_generated_token_that_nobody_uses_is_marked_and_then_goes(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("generated")
    tracking = (
        f"{CORE}/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking"
    )
    bed.until(tracking, lambda one: one["data"]["since"] == datetime.now(UTC).date().isoformat())
    secrets, name = bed.path(CORE, "secrets"), {"kubernetes.io/service-account.name": "robot"}
    bed.make(bed.path(CORE, "serviceaccounts"), {"metadata": {"name": "robot"}})
    kind = "kubernetes.io/service-account-token"
    for each in ("key", "mine"):
        bed.make(secrets, {"metadata": {"name": each, "annotations": name}, "type": kind})
        bed.until(f"{secrets}/{each}", lambda one: (one.get("data") or {}).get("token"))

    # As one that was made by a control plane of old, in a cluster that has noted uses for long.
    bed.change(tracking, lambda one: one["data"].update(since="2020-01-01"))
    account = bed.path(CORE, "serviceaccounts", "robot")
    bed.change(account, lambda one: one.update(secrets=[{"name": "key"}]))
    today, mark = datetime.now(UTC).date().isoformat(), "kubernetes.io/legacy-token-invalid-since"
    found = bed.until(f"{secrets}/key", lambda one: mark in (one["metadata"].get("labels") or {}))

    assert found["metadata"]["labels"] == {mark: today}
    token = base64.b64decode(found["data"]["token"]).decode()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    status = bed.make("/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]
    assert "has been marked invalid" in status["error"]
    used = bed.get(f"{secrets}/key")["metadata"]["labels"]
    assert used["kubernetes.io/legacy-token-last-used"] == today
    old = {mark: "2020-01-01"}
    bed.change(f"{secrets}/key", lambda one: one["metadata"].update(labels=old))
    bed.until(f"{secrets}/key", lambda one: not one)
    assert "labels" not in bed.get(f"{secrets}/mine")["metadata"]
    bed.change(tracking, lambda one: one["data"].update(since=today))


def told(connection: HTTPSConnection, method: str, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    """Status and warning of an answer."""
    connection.request(method, path, "{}" if method == "POST" else None, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.headers["Warning"]


def test_a_request_with_a_kept_token_is_noted_and_answered_with_a_warning(
    cluster: Callable[[str], Cluster],
) -> None:
    bed = cluster("noted")
    bed.make(bed.path(CORE, "serviceaccounts"), {"metadata": {"name": "robot"}})
    may = [{"apiGroups": [""], "resources": ["users", "groups"], "verbs": ["impersonate"]}]
    bed.make(f"{RBAC}/clusterroles", {"metadata": {"name": "acting"}, "rules": may})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "acting"}
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": bed.namespace}
    bed.make(
        f"{RBAC}/clusterrolebindings", {"metadata": {"name": "acting"}, "roleRef": ref, "subjects": [subject]}
    )
    metadata = {"name": "key", "annotations": {"kubernetes.io/service-account.name": "robot"}}
    kind = "kubernetes.io/service-account-token"
    path = bed.path(CORE, "secrets", "key")
    bed.make(bed.path(CORE, "secrets"), {"metadata": metadata, "type": kind})
    found = bed.until(path, lambda one: (one.get("data") or {}).get("token"))
    bed.change(bed.path(CORE, "serviceaccounts", "robot"), lambda one: one.update(secrets=[{"name": "key"}]))
    token = base64.b64decode(found["data"]["token"]).decode()

    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    jane = {"Impersonate-User": "jane", "Impersonate-Group": "system:masters"}
    trusted = ssl.create_default_context(cafile=str(bed.lab.directory / "ca.crt"))
    pods, review = bed.path(CORE, "pods"), "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    with closing(HTTPSConnection("127.0.0.1", bed.server.port, context=trusted, timeout=10)) as connection:
        page = told(connection, "GET", "/version", headers)
        refused = told(connection, "GET", pods, headers)
        answered = told(connection, "POST", review, headers)
        acting = told(connection, "GET", pods, headers | jane)

    warning = (
        '299 - "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated '
        'secret-based tokens."'
    )
    assert [page, refused, answered, acting] == [(code, warning) for code in (200, 403, 201, 200)]
    labels = bed.get(path)["metadata"]["labels"]
    assert labels == {"kubernetes.io/legacy-token-last-used": datetime.now(UTC).date().isoformat()}


def test_what_the_daemon_is_is_for_who_has_a_certificate(
    cluster: Callable[[str], Cluster], free_ports: Callable[[], int]
) -> None:
    lab, port = cluster("about").lab, free_ports()
    server = Server(lab.directory, port, cluster("about-more").server.process)
    authority = f"{lab.directory}/ca"
    pair = (
        f"--tls-cert-file={lab.directory}/server.crt",
        f"--tls-private-key-file={lab.directory}/server.key",
    )
    more = ("--controllers=ttl-controller", f"--client-ca-file={authority}.crt", *pair)
    manage(lab, cluster("about-last").server, port, *more)
    server.wait("/healthz")

    flags = server.ask("GET", "/flagz")[1].splitlines()
    trusted = ssl.create_default_context(cafile=f"{authority}.crt")
    codes = []
    with closing(HTTPSConnection("127.0.0.1", port, context=trusted, timeout=10)) as connection:
        for path in ("/livez", "/flagz", "/statusz", "/metrics/slis"):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            codes.append(answer.status)

    assert (flags[1], "controllers=[ttl-controller]" in flags) == ("kube-controller-manager flags", True)
    assert server.ask("GET", "/statusz")[1].splitlines()[1] == "kube-controller-manager statusz"
    assert codes == [200, 401, 401, 401]
