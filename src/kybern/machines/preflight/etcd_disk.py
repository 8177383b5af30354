"""Whether the disk of a member is fast enough for etcd. Pure."""

from kybern.machines.preflight.record import Looked, Outcome, failure, passed, warning

# etcd's own recommendation is a 99th percentile of fdatasync below 10 ms; our members' heartbeats are 250 ms apart.
SLOW, TOO_SLOW = 10.0, 250.0  # milliseconds
# As etcd's documentation tries a disk: 2300 bytes, and fdatasync after each write. The file has no name, and ends with its
# program.
ASKED = """python3 -c '
import os, tempfile, time
took = []
place = "/var/lib/etcd" if os.path.isdir("/var/lib/etcd") else "/var/lib"
with tempfile.TemporaryFile(dir=place, buffering=0) as file:
    end = time.monotonic() + 5
    while len(took) < 300 and time.monotonic() < end:
        file.write(os.urandom(2300))
        began = time.perf_counter()
        os.fdatasync(file.fileno())
        took.append(time.perf_counter() - began)
print("%.2f" % (1000 * sorted(took)[int(len(took) * 0.99) - (len(took) >= 100)]))
'"""


def etcd_disk(looked: Looked) -> Outcome:
    if not looked.machine.is_etcd:
        return passed("no member of etcd")
    took = looked.facts.number("fdatasync")
    if took is None:
        return warning("how fast its disk is could not be measured", "try: fio, as etcd's documentation says")
    told = f"99 of 100 writes are on disk within {took:.1f} ms"
    if took < SLOW:
        return passed(told)
    remedy = "give /var/lib/etcd an SSD of its own; etcd wants less than 10 ms"
    return failure(told, remedy) if took > TOO_SLOW else warning(told, remedy)
