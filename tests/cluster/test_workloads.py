"""Workloads beyond deployments, on real nodes: names, sets with volumes, daemons, jobs, schedules, drains."""

from tests.cluster.conftest import Lab

NAMED = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: http, port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: db
        image: busybox:1.36
        command: [sh, -c, "test -e /data/first || hostname > /data/first; exec httpd -f -p 8080 -h /data"]
        volumeMounts: [{name: data, mountPath: /data}]
        readinessProbe: {httpGet: {path: /first, port: 8080}, periodSeconds: 1}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: NAMESPACE, resources: {requests: {storage: 1Mi}}}
"""
VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata: {name: NAME}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: NAMESPACE
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: /var/lib/NAME, type: DirectoryOrCreate}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [worker-1]}]}]}
---
"""
POD = """
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: busybox:1.36, command: [sh, -c, "COMMAND"]}]
"""


def apply(lab: Lab, namespace: str, text: str) -> None:
    lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)


def test_a_stateful_set_keeps_names_order_and_volumes(lab: Lab, namespace: str) -> None:
    names = [f"{namespace}-{at}"[-50:].strip("-") for at in range(2)]
    volumes = "".join(VOLUME.replace("NAMESPACE", namespace).replace("NAME", name) for name in names)
    try:
        apply(lab, namespace, volumes + NAMED.replace("NAMESPACE", namespace))
        lab.kubectl("rollout", "status", "statefulset/db", "-n", namespace, "--timeout=60s", seconds=90)
        claims = lab.get("pvc", "-n", namespace)["items"]
        assert {(one["metadata"]["name"], one["status"]["phase"]) for one in claims} == {
            ("data-db-0", "Bound"),
            ("data-db-1", "Bound"),
        }
        where = {pod["spec"]["nodeName"] for pod in lab.pods(namespace, "app=db")}
        assert where == {"worker-1"}, "the only node that the volumes allow"

        ask = "for i in 0 1; do wget -qO- -T 3 http://db-$i.db:8080/first; done"
        lab.kubectl(
            "run", "asker", "-n", namespace, "--image=busybox:1.36", "--restart=Never", "--", "sleep", "600"
        )
        lab.kubectl("wait", "pod/asker", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
        answered = lab.eventually(
            "both answer by their names",
            lambda: lab.kubectl("exec", "asker", "-n", namespace, "--", "sh", "-c", ask),
        )
        assert answered.split() == ["db-0", "db-1"]

        before = lab.get("pod", "db-1", "-n", namespace)["metadata"]["uid"]
        lab.kubectl("delete", "pod", "db-1", "-n", namespace, "--now")
        lab.eventually(
            "the pod is back",
            lambda: (
                lab.get("pod", "db-1", "-n", namespace)["metadata"]["uid"] != before
                and "db-1" in {pod["metadata"]["name"] for pod in lab.running(namespace, "app=db")}
            ),
        )
        kept = lab.kubectl("exec", "db-1", "-n", namespace, "--", "cat", "/data/first")
        assert kept.strip() == "db-1"
    finally:
        lab.kubectl("delete", "statefulset", "db", "-n", namespace, "--cascade=foreground", check=False)
        lab.kubectl("delete", "pvc", "--all", "-n", namespace, check=False)
        lab.kubectl("delete", "pv", *names, check=False)
        lab.ssh("worker-1", "rm -rf " + " ".join(f"/var/lib/{name}" for name in names), check=False)


def test_a_daemon_set_runs_on_every_worker_and_follows_its_template(lab: Lab, namespace: str) -> None:
    pod = POD.replace("NAME", "agent").replace("COMMAND", "exec sleep 600")
    text = (
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent}\nspec:\n"
        f"  selector: {{matchLabels: {{app: agent}}}}\n  template:{pod}"
    )
    apply(lab, namespace, text)
    lab.kubectl("rollout", "status", "daemonset/agent", "-n", namespace, "--timeout=60s", seconds=90)
    first = lab.running(namespace, "app=agent")
    assert {one["spec"]["nodeName"] for one in first} == {"worker-1", "worker-2"}

    lab.kubectl("set", "env", "daemonset/agent", "-n", namespace, "LEVEL=2")
    lab.kubectl("rollout", "status", "daemonset/agent", "-n", namespace, "--timeout=60s", seconds=90)
    second = lab.running(namespace, "app=agent")
    assert len(second) == 2
    assert not {one["metadata"]["uid"] for one in first} & {one["metadata"]["uid"] for one in second}


def test_a_job_runs_to_its_end_however_often_a_pod_fails(lab: Lab, namespace: str) -> None:
    command = "test $JOB_COMPLETION_INDEX != 1 -o -e /shared/tried || { touch /shared/tried; exit 1; }"
    text = f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: work}}
spec:
  completionMode: Indexed
  completions: 3
  parallelism: 3
  template:
    spec:
      restartPolicy: OnFailure
      containers:
      - name: c
        image: busybox:1.36
        command: [sh, -c, "{command}"]
        volumeMounts: [{{name: shared, mountPath: /shared}}]
      volumes: [{{name: shared, emptyDir: {{}}}}]
"""
    apply(lab, namespace, text)
    lab.kubectl("wait", "job/work", "-n", namespace, "--for=condition=Complete", "--timeout=60s", seconds=90)

    status = lab.get("job", "work", "-n", namespace)["status"]
    assert (status["succeeded"], status["completedIndexes"]) == (3, "0-2")


def test_a_cron_job_starts_a_job_each_minute(lab: Lab, namespace: str) -> None:
    lab.kubectl(
        "create",
        "cronjob",
        "tick",
        "-n",
        namespace,
        "--image=busybox:1.36",
        "--schedule=* * * * *",
        "--",
        "date",
    )

    done = lab.eventually(
        "a job of it is complete",
        lambda: [one for one in lab.get("jobs", "-n", namespace)["items"] if one["status"].get("succeeded")],
        seconds=100,
    )

    assert done[0]["metadata"]["ownerReferences"][0]["name"] == "tick"
    assert lab.get("cronjob", "tick", "-n", namespace)["status"]["lastScheduleTime"]


def test_a_drain_waits_for_what_a_disruption_budget_allows(lab: Lab, namespace: str) -> None:
    pod = POD.replace("NAME", "kept").replace("COMMAND", "exec sleep 600")
    apply(
        lab,
        namespace,
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kept}\nspec:\n"
        f"  replicas: 2\n  selector: {{matchLabels: {{app: kept}}}}\n  template:{pod}",
    )
    lab.kubectl("create", "pdb", "kept", "-n", namespace, "--selector=app=kept", "--min-available=2")
    lab.kubectl("rollout", "status", "deployment/kept", "-n", namespace, "--timeout=60s", seconds=90)
    node = lab.running(namespace, "app=kept")[0]["spec"]["nodeName"]
    drain = (
        "drain",
        node,
        "--ignore-daemonsets",
        "--force",
        "--delete-emptydir-data",
        "--pod-selector=app=kept",
    )
    lab.eventually(
        "the budget counts both",
        lambda: lab.get("pdb", "kept", "-n", namespace)["status"].get("currentHealthy") == 2,
    )
    try:
        refused = lab.kubectl(*drain, "--timeout=6s", check=False)
        assert "Cannot evict pod as it would violate the pod's disruption budget" in refused
        assert len(lab.running(namespace, "app=kept")) == 2

        lab.kubectl(
            "patch", "pdb", "kept", "-n", namespace, "--type=merge", '--patch={"spec":{"minAvailable":1}}'
        )
        lab.kubectl(*drain, "--timeout=60s", seconds=90)
        lab.eventually(
            "both run elsewhere",
            lambda: (
                len(found := lab.running(namespace, "app=kept")) == 2
                and node not in {one["spec"]["nodeName"] for one in found}
            ),
        )
    finally:
        lab.kubectl("uncordon", node)
