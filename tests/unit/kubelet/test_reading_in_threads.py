"""What threads of the kubelet read is resolved before there are any: else msgspec crashes the process."""

import subprocess
import sys

# Switches threads as often as a slow machine does in the middle of things. It ends with SIGSEGV, or well.
RACE = """
import sys, threading
sys.setswitchinterval(1e-6)
{setup}
start = threading.Barrier(4)
def work():
    start.wait()
    {read}
threads = [threading.Thread(target=work) for _ in range(4)]
for one in threads: one.start()
for one in threads: one.join()
print("well")
"""
MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: etcd}
spec: {containers: [{name: etcd, image: "etcd:3", resources: {limits: {cpu: 1}}}]}
"""
READ = f"pod_of({MANIFEST!r}, 'f', 'n1')"


def test_several_threads_may_be_the_first_to_read_a_manifest() -> None:
    script = RACE.format(setup="from kybern.kubelet.static import pod_of", read=READ)

    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=120
    )

    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
