"""What one does with kubectl to look into pods and nodes: exec, attach, cp, port-forward, debug, top, logs; on terminals."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import KUBECTL, Lab

SPACE = "hands-on"
NODE = "worker-2"
SERVE = (
    "mkdir /www; head -c 3000000 /dev/urandom > /www/big; echo served >/www/index.html; httpd -p 8080 -h /www"
)
TALK = "i=0; while [ $i -lt 20 ]; do echo NAME $i; i=$((i+1)); sleep 0.2; done"


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox:1.36", "command": ["sh", "-c", script], **more}


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    rest = {"nodeName": NODE, "terminationGracePeriodSeconds": 0, "containers": containers, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": rest}


PODS = (
    pod("served", container("web", f"{SERVE}; exec sleep 3600"), container("beside", "exec sleep 4321")),
    pod("attached", container("c", "exec sh", stdin=True, tty=True)),
    pod("reads", container("c", "exec cat", stdin=True, stdinOnce=True), restartPolicy="Never"),
    pod(
        "talks",
        container("one", TALK.replace("NAME", "one")),
        container("two", TALK.replace("NAME", "two")),
        initContainers=[container("first", "echo first says")],
        restartPolicy="Never",
    ),
)


@pytest.fixture(scope="module", autouse=True)
def pods(lab: Lab) -> Iterator[None]:
    lab.kubectl("create", "namespace", SPACE)
    try:
        lab.eventually("the service account", lambda: lab.kubectl("get", "sa", "default", "-n", SPACE))
        lab.kubectl(
            "apply",
            "-n",
            SPACE,
            "-f",
            "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": PODS}),
        )
        lab.kubectl(
            "wait",
            "pod/served",
            "pod/attached",
            "-n",
            SPACE,
            "--for=condition=Ready",
            "--timeout=30s",
            seconds=40,
        )
        yield
    finally:
        lab.kubectl("delete", "namespace", SPACE, "--timeout=60s", check=False, seconds=90)


def command(lab: Lab, *words: str) -> list[str]:
    return [str(KUBECTL), f"--kubeconfig={lab.kubeconfig}", "-n", SPACE, *words]


class Terminal:
    """kubectl on a terminal of its own: what it shows, and what is typed."""

    def __init__(self, process: "subprocess.Popen[bytes]", side: int) -> None:
        self.process = process
        self._side = side
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._side, text.encode())

    def until(self, pattern: str, seconds: float = 20) -> "re.Match[str]":
        """Read on until it shows something; that is taken away."""
        ends = time.monotonic() + seconds
        while (found := re.search(pattern, self.shown)) is None:
            left = ends - time.monotonic()
            assert left > 0, f"did not show {pattern!r}: {self.shown!r}"
            if select.select([self._side], [], [], left)[0]:
                try:
                    self.shown += os.read(self._side, 65536).decode(errors="replace")
                except OSError as problem:
                    raise AssertionError(f"ended before {pattern!r}: {self.shown!r}") from problem
        self.shown = self.shown[found.end() :]
        return found

    def ended(self, seconds: float = 10) -> int:
        """Its exit code; what it still says is read, so that it can."""
        ends = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < ends:
            if select.select([self._side], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self._side, 65536).decode(errors="replace")
        return self.process.wait(0.1)


@contextmanager
def terminal(lab: Lab, *words: str, rows: int = 33, columns: int = 77) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "rows", str(rows), "cols", str(columns)], stdin=theirs, check=True, timeout=5)
    process = subprocess.Popen(
        command(lab, *words), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait(5)
        os.close(ours)


def test_a_shell_on_a_terminal(lab: Lab) -> None:
    with terminal(lab, "exec", "-it", "served", "-c", "web", "--", "sh") as shell:
        shell.until("/ #")
        shell.type("stty size; echo $((6 * 7))\n")
        shell.until("33 77\r?\n")
        shell.until("42\r?\n")
        # Keys that are no text: an interrupt ends what runs, and not the shell.
        shell.type("sh -c 'echo it sleeps; exec sleep 1000'\n")
        shell.until("\nit sleeps\r?\n")
        shell.type("\x03")
        shell.until("/ #")
        shell.type("exit 7\n")
        assert shell.ended() == 7
        assert "exit code 7" in shell.shown


def test_a_command_has_its_input_its_outputs_and_its_code(lab: Lab) -> None:
    script = "cat; echo wrong >&2; exit 3"
    done = subprocess.run(
        command(lab, "exec", "-i", "served", "-c", "web", "--", "sh", "-c", script),
        input="a\nb\n", capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert done.stdout == "a\nb\n"
    assert done.stderr.startswith("wrong\n")
    assert done.returncode == 3


def test_one_attaches_to_what_runs_and_leaves_it_running(lab: Lab) -> None:
    for word in ("once", "again"):
        with terminal(lab, "attach", "-it", "attached") as shell:
            shell.until("pressing enter")
            shell.type(f"echo {word} $((40 + 2))\n")
            shell.until(f"{word} 42")
    (status,) = lab.get("pod", "attached", "-n", SPACE)["status"]["containerStatuses"]
    assert status["restartCount"] == 0
    assert "running" in status["state"]


def test_input_that_ends_ends_who_reads_it_once(lab: Lab) -> None:
    lab.eventually(
        "it runs", lambda: lab.get("pod", "reads", "-n", SPACE)["status"]["phase"] == "Running", seconds=30
    )
    done = subprocess.run(
        command(lab, "attach", "-i", "reads"), input="all of it\n", capture_output=True, text=True, timeout=30, check=False
    )  # fmt: skip

    assert "all of it\n" in done.stdout
    lab.eventually(
        "it is over",
        lambda: lab.get("pod", "reads", "-n", SPACE)["status"]["phase"] == "Succeeded",
        seconds=20,
    )
    assert lab.kubectl("logs", "reads", "-n", SPACE) == "all of it\n"


def test_files_are_copied_in_and_out(lab: Lab, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below/big").write_bytes(os.urandom(5_000_000))
    (tree / "small").write_text("small\n")

    lab.kubectl("cp", str(tree), f"{SPACE}/served:/tmp/there", "-c", "web")
    lab.kubectl("cp", f"{SPACE}/served:/tmp/there", str(tmp_path / "back"), "-c", "web")

    for name in ("below/big", "small"):
        assert (tmp_path / "back" / name).read_bytes() == (tree / name).read_bytes()


def test_a_port_is_forwarded_for_many_at_once(lab: Lab) -> None:
    with subprocess.Popen(
        command(lab, "port-forward", "pod/served", ":8080"), stdout=subprocess.PIPE, text=True
    ) as forwarding:
        try:
            assert forwarding.stdout is not None
            told = re.search(r"127\.0\.0\.1:(\d+) -> 8080", forwarding.stdout.readline())
            assert told is not None
            url = f"http://127.0.0.1:{told[1]}"
            sizes = subprocess.run(
                ["sh", "-c", f"for i in 1 2 3 4 5 6; do curl -fsS -m 20 {url}/big | wc -c & done; wait"],
                capture_output=True, text=True, timeout=40, check=True,
            ).stdout.split()  # fmt: skip
            with urllib.request.urlopen(url, timeout=10) as answer:
                small = answer.read()
        finally:
            forwarding.send_signal(signal.SIGINT)
    assert sizes == ["3000000"] * 6
    assert small == b"served\n"


def test_a_running_pod_is_looked_into_by_another_container(lab: Lab) -> None:
    words = (
        "debug",
        "-it",
        "served",
        "--image=busybox:1.36",
        "--target=beside",
        "-c",
        "looks",
        "--profile=general",
    )
    with terminal(lab, *words, "--", "sh") as shell:
        shell.until("/ #", 40)
        shell.type("ps\n")
        shell.until("sleep 4321")
        shell.type("exit\n")
        shell.ended()
    found = lab.get("pod", "served", "-n", SPACE)
    assert [one["name"] for one in found["spec"]["ephemeralContainers"]] == ["looks"]
    assert [one["restartCount"] for one in found["status"]["containerStatuses"]] == [0, 0]

    def over() -> bool:
        (status,) = lab.get("pod", "served", "-n", SPACE)["status"]["ephemeralContainerStatuses"]
        return "terminated" in status["state"]

    lab.eventually("it is told that it ended", over, seconds=20)


def test_a_copy_of_a_pod_is_looked_into(lab: Lab) -> None:
    words = (
        "debug",
        "served",
        "--copy-to=copied",
        "--container=web",
        "--image=busybox:1.36",
        "--share-processes",
    )
    lab.kubectl(*words, "-n", SPACE, "--", "sleep", "1234")
    lab.kubectl("wait", "pod/copied", "-n", SPACE, "--for=condition=Ready", "--timeout=30s", seconds=40)

    told = lab.kubectl("exec", "copied", "-c", "web", "-n", SPACE, "--", "ps")

    assert "sleep 1234" in told
    assert "sleep 4321" in told, "processes are shared"


def test_a_node_is_looked_into(lab: Lab) -> None:
    lab.kubectl(
        "debug",
        f"node/{NODE}",
        "-n",
        SPACE,
        "--image=busybox:1.36",
        "--profile=sysadmin",
        "--",
        "sleep",
        "600",
    )
    (name,) = (
        one["metadata"]["name"]
        for one in lab.get("pods", "-n", SPACE)["items"]
        if one["metadata"]["name"].startswith(f"node-debugger-{NODE}")
    )
    lab.kubectl("wait", f"pod/{name}", "-n", SPACE, "--for=condition=Ready", "--timeout=30s", seconds=40)

    of_node = lab.kubectl("exec", name, "-n", SPACE, "--", "chroot", "/host", "cat", "/etc/hostname")
    processes = lab.kubectl("exec", name, "-n", SPACE, "--", "ps")

    assert of_node == lab.ssh(NODE, "cat /etc/hostname")
    assert "containerd" in processes


def test_all_containers_are_followed_to_their_end(lab: Lab) -> None:
    told = lab.kubectl(
        "logs", "-f", "talks", "-n", SPACE, "--all-containers", "--prefix", seconds=40
    ).splitlines()

    assert "[pod/talks/first] first says" in told
    for name in ("one", "two"):
        assert [line for line in told if f"/{name}]" in line] == [
            f"[pod/talks/{name}] {name} {number}" for number in range(20)
        ]


def test_what_is_used_is_told(lab: Lab) -> None:
    def told() -> bool:
        lines = lab.kubectl("top", "pod", "served", "--containers", "-n", SPACE, "--no-headers").splitlines()
        return {line.split()[1] for line in lines} >= {"web", "beside"}

    lab.eventually("of the containers of a pod", told, seconds=90)
    assert NODE in lab.kubectl("top", "node", NODE, "--no-headers")
