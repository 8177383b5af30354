"""What a user does with a cluster: nodes, workloads, services, logs, rollouts, deletion."""

import json
import subprocess
from functools import partial

from tests.cluster.conftest import KUBECTL, TOPOLOGY, Lab

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox:1.36
        command: [sh, -c, "mkdir -p /www && hostname > /www/index.html && echo serving && exec httpd -f -p 8080 -h /www"]
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
"""


def web(lab: Lab, namespace: str) -> None:
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)
    lab.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s", seconds=90)


def test_all_nodes_are_ready_with_their_roles_and_version(lab: Lab) -> None:
    lab.eventually("five nodes ready", lambda: len(lab.nodes_ready()) == 5)

    lines = lab.kubectl("get", "nodes", "--no-headers").splitlines()
    assert [line.split()[2] for line in lines] == ["control-plane"] * 3 + ["<none>"] * 2
    assert all(line.split()[4].startswith("v1.36.") and line.split()[4].endswith("-kybern") for line in lines)


def test_a_second_deploy_changes_nothing(lab: Lab) -> None:
    done = lab.kybern("deploy", TOPOLOGY)

    assert "0 changes on 5 machines" in done.stdout


def test_every_machine_is_as_it_should_be(lab: Lab) -> None:
    done = lab.kybern("verify", TOPOLOGY, check=False)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_a_preflight_of_a_cluster_that_runs_finds_no_failure(lab: Lab) -> None:
    done = lab.kybern("preflight", TOPOLOGY, "--all", "-o", "json", check=False)

    found = json.loads(done.stdout)
    assert [one for one in found if one["level"] == "failure"] == []
    ports = {one["machine"]: one["said"] for one in found if one["check"] == "ports"}
    assert ports == {
        machine.name: "ports are in use by this cluster's own daemons" for machine in lab.cluster.machines
    }
    assert done.returncode == 0


def test_a_service_answers_from_every_node_and_from_pods(lab: Lab, namespace: str) -> None:
    web(lab, namespace)
    lab.kubectl(
        "expose", "deployment", "web", "-n", namespace, "--port=80", "--target-port=8080", "--type=NodePort"
    )
    service = lab.get("service", "web", "-n", namespace)
    address, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    names = {pod["metadata"]["name"] for pod in lab.running(namespace, "app=web")}
    assert len(names) == 4

    # A pod that is ready is an endpoint a moment later, and a rule on each node a moment after that.
    asked = f"for i in $(seq 40); do curl -fsS --max-time 3 http://{address}; done"

    def answered(machine: str) -> bool:
        return set(lab.ssh(machine, asked).split()) == names

    for machine in lab.cluster.machines:
        lab.eventually(
            f"each pod answers at the cluster IP from {machine.name}", partial(answered, machine.name)
        )
        assert (
            lab.ssh(machine.name, f"curl -fsS --max-time 3 http://{machine.address}:{port}").strip() in names
        )

    lab.kubectl(
        "run", "asker", "-n", namespace, "--image=busybox:1.36", "--restart=Never", "--",
        "sh", "-c", f"wget -qO- -T 5 http://{address}",
    )  # fmt: skip
    lab.eventually(
        "the pod has asked", lambda: lab.kubectl("logs", "asker", "-n", namespace).strip() in names
    )


def test_pods_reach_each_other_across_nodes_with_their_own_addresses(lab: Lab, namespace: str) -> None:
    web(lab, namespace)
    pods = lab.running(namespace, "app=web")
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2, "both workers have some"

    for node in {pod["spec"]["nodeName"] for pod in pods}:
        for pod in pods:
            assert (
                lab.ssh(node, f"curl -fsS --max-time 3 http://{pod['status']['podIP']}:8080").strip()
                == pod["metadata"]["name"]
            )


def test_scale_rollout_undo_and_history(lab: Lab, namespace: str) -> None:
    web(lab, namespace)

    lab.kubectl("scale", "deployment/web", "-n", namespace, "--replicas=2")
    lab.eventually("two pods", lambda: len(lab.pods(namespace, "app=web")) == 2)

    lab.kubectl("set", "env", "deployment/web", "-n", namespace, "GREETING=hello")
    lab.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s", seconds=90)
    env = lab.get("deployment", "web", "-n", namespace)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env == [{"name": "GREETING", "value": "hello"}]

    lab.kubectl("rollout", "undo", "deployment/web", "-n", namespace)
    lab.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s", seconds=90)
    assert (
        "env"
        not in lab.get("deployment", "web", "-n", namespace)["spec"]["template"]["spec"]["containers"][0]
    )
    history = lab.kubectl("rollout", "history", "deployment/web", "-n", namespace)
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["2", "3"]


def test_logs_describe_and_events_read_as_upstream(lab: Lab, namespace: str) -> None:
    web(lab, namespace)
    pod = lab.running(namespace, "app=web")[0]["metadata"]["name"]

    assert lab.kubectl("logs", pod, "-n", namespace).strip() == "serving"
    assert lab.kubectl("logs", "-l", "app=web", "-n", namespace, "--tail=1").splitlines() == ["serving"] * 4
    text = lab.kubectl("describe", "pod", pod, "-n", namespace)
    for words in (
        f"Successfully assigned {namespace}/{pod} to",
        "Container created",
        "Container started",
        "Ready:          True",
    ):
        assert words in text
    assert (
        "Replicas:               4 desired | 4 updated | 4 total | 4 available | 0 unavailable"
        in lab.kubectl("describe", "deployment", "web", "-n", namespace)
    )


def test_a_pod_that_fits_nowhere_says_why(lab: Lab, namespace: str) -> None:
    big = '{"spec":{"containers":[{"name":"big","image":"busybox","resources":{"requests":{"cpu":"64"}}}]}}'
    lab.kubectl("run", "big", "-n", namespace, "--image=busybox", f"--overrides={big}")

    def message() -> str:
        conditions = lab.get("pod", "big", "-n", namespace)["status"].get("conditions", [])
        return next((one["message"] for one in conditions if one.get("reason") == "Unschedulable"), "")

    said = lab.eventually("the condition", message)
    assert said.startswith("0/5 nodes are available: 2 Insufficient cpu, 3 node(s) had untolerated taint(s).")


def test_a_crashing_container_is_restarted_with_back_off(lab: Lab, namespace: str) -> None:
    lab.kubectl("run", "crash", "-n", namespace, "--image=busybox:1.36", "--", "sh", "-c", "echo bye; exit 3")

    def crashed() -> bool:
        (status,) = lab.get("pod", "crash", "-n", namespace)["status"]["containerStatuses"]
        return bool(status["restartCount"] >= 1 and status["lastState"]["terminated"]["exitCode"] == 3)

    lab.eventually("a restart", crashed)
    lab.eventually(
        "back-off", lambda: "CrashLoopBackOff" in lab.kubectl("get", "pod", "crash", "-n", namespace)
    )
    assert lab.kubectl("logs", "crash", "-n", namespace, "--previous").strip() == "bye"


def test_config_secrets_and_tokens_reach_a_pod(lab: Lab, namespace: str) -> None:
    lab.kubectl("create", "configmap", "settings", "-n", namespace, "--from-literal=color=blue")
    lab.kubectl("create", "secret", "generic", "keys", "-n", namespace, "--from-literal=word=sesame")
    script = (
        'echo "$COLOR $WORD $NODE"; cat /settings/color; cat /keys/word; '
        "test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token"
    )
    spec = {
        "restartPolicy": "Never",
        "volumes": [
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "keys"}},
        ],
        "containers": [{
            "name": "c", "image": "busybox:1.36", "command": ["sh", "-c", script],
            "env": [
                {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
                {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "word"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ],
            "volumeMounts": [{"name": "settings", "mountPath": "/settings"}, {"name": "keys", "mountPath": "/keys"}],
        }],
    }  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reader"}, "spec": spec}
    lab.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(pod))

    lab.eventually(
        "it ends", lambda: lab.get("pod", "reader", "-n", namespace)["status"]["phase"] == "Succeeded"
    )
    node = lab.get("pod", "reader", "-n", namespace)["spec"]["nodeName"]
    assert lab.kubectl("logs", "reader", "-n", namespace) == f"blue sesame {node}\nbluesesametoken\n"


def test_deleting_a_deployment_takes_its_pods_along(lab: Lab, namespace: str) -> None:
    web(lab, namespace)

    lab.kubectl("delete", "deployment", "web", "-n", namespace)

    lab.eventually("no pods", lambda: lab.pods(namespace, "app=web") == [])
    assert lab.get("replicasets", "-n", namespace)["items"] == []


def test_deleting_a_namespace_takes_everything_along(lab: Lab) -> None:
    lab.kubectl("create", "namespace", "doomed")
    lab.eventually("its service account", lambda: lab.kubectl("get", "sa", "default", "-n", "doomed"))
    web(lab, "doomed")

    lab.kubectl("delete", "namespace", "doomed", "--timeout=60s", seconds=90)

    said = lab.kubectl("get", "pods", "-n", "doomed", check=False)
    assert "No resources found" in said


def test_watching_shows_each_change(lab: Lab, namespace: str) -> None:
    command = [
        str(KUBECTL),
        f"--kubeconfig={lab.kubeconfig}",
        "get",
        "configmaps",
        "-n",
        namespace,
        "-w",
        "-o",
        "name",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().strip() == "configmap/kube-root-ca.crt"
        lab.kubectl("create", "configmap", "fresh", "-n", namespace)
        assert watching.stdout.readline().strip() == "configmap/fresh"
        watching.terminate()
