"""What the whole machine uses, by recorded files of root cgroups."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kybern.kubelet.stats.use import Memory
from kybern.kubelet.stats.whole import busy_of, memory_of, read

TOTAL = 25_325_268_992
# What /proc/meminfo of a container said, whose init has a cgroup of its own.
KNOWN = Memory(1.0, 577_536, 552_960, 1_700_000_000, 7, 3, TOTAL - 552_960)
V1 = {
    "memory/memory.usage_in_bytes": "9198641152\n",
    "memory/memory.use_hierarchy": "1\n",
    "memory/memory.stat": "rss 4096\ninactive_file 0\ntotal_rss 2420330496\ntotal_pgfault 88745863\n"
    "total_pgmajfault 912\ntotal_inactive_file 3810574336\n",
    "cpuacct/cpuacct.usage": "123456789012\n",
}
V2 = {
    "memory.current": "5000000\n",
    "memory.stat": "anon 1000000\ninactive_file 2000000\npgfault 10\npgmajfault 2\n",
    "cpu.stat": "usage_usec 42\nuser_usec 40\nsystem_usec 2\n",
}
WHOLE = Memory(1.0, 9_198_641_152, 5_388_066_816, 2_420_330_496, 88_745_863, 912, TOTAL - 5_388_066_816)


@pytest.mark.parametrize(
    ("files", "memory", "busy"),
    [
        pytest.param(V1, WHOLE, 123_456_789_012, id="version-1-and-hybrid"),
        pytest.param({**V1, "memory/memory.use_hierarchy": "0\n"}, KNOWN, 123_456_789_012, id="flat"),
        pytest.param(
            V2, Memory(1.0, 5_000_000, 3_000_000, 1_000_000, 10, 2, TOTAL - 3_000_000), 42_000, id="version-2"
        ),
        pytest.param({"memory.stat": "anon 1\n", "cpu.stat": V2["cpu.stat"]}, KNOWN, 42_000, id="real-root"),
        pytest.param({}, KNOWN, 99, id="no-cgroups"),
    ],
)
def test_root_cgroup_goes_before_proc(files: Mapping[str, str], memory: Memory, busy: int) -> None:
    """The root cgroup is believed where it counts all below it, else /proc."""
    assert memory_of(files, KNOWN, TOTAL) == memory
    assert busy_of(files, 99) == busy


def test_working_set_is_never_negative() -> None:
    """The counters are read one after the other, and may disagree."""
    files = {**V2, "memory.current": "1\n"}
    assert memory_of(files, replace(KNOWN, available=None), TOTAL).working_set == 0


def test_reads_what_is_there(tmp_path: Path) -> None:
    """Files that are not there are left out."""
    (tmp_path / "cpuacct").mkdir()
    (tmp_path / "cpuacct/cpuacct.usage").write_text("5\n")
    assert read(tmp_path) == {"cpuacct/cpuacct.usage": "5\n"}
