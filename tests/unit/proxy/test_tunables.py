"""How the kernel is to keep flows."""

import logging
from pathlib import Path

import pytest

from kybern.proxy import tunables
from kybern.proxy.tunables import FlowTable, keep_flows

PLACE = "net/netfilter"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel's directory of settings, with those that there are at first."""
    monkeypatch.setattr(tunables, "_PLACE", tmp_path)
    place = tmp_path / PLACE
    place.mkdir(parents=True)
    for name in ("max", "tcp_timeout_established", "tcp_timeout_close_wait", "tcp_be_liberal", "udp_timeout"):
        (place / f"nf_conntrack_{name}").write_text("60\n")
    return place


def has(place: Path, name: str) -> str:
    return (place / f"nf_conntrack_{name}").read_text().strip()


def test_flows_are_kept_as_upstream_s_proxy_has_them_kept(kernel: Path) -> None:
    keep_flows(FlowTable(), cores=2)

    assert [has(kernel, name) for name in ("tcp_timeout_established", "tcp_timeout_close_wait")] == [
        "86400",
        "3600",
    ]
    assert has(kernel, "max") == "131072", "the least, however few processors there are"
    assert [has(kernel, name) for name in ("tcp_be_liberal", "udp_timeout")] == ["60", "60"], "not asked for"


@pytest.mark.parametrize(
    ("table", "cores", "room"),
    [
        (FlowTable(), 8, "262144"),
        (FlowTable(max_per_core=0), 8, "60"),
        (FlowTable(max_per_core=1, minimum=10), 20, "60"),  # there is more room already
    ],
)
def test_room_is_made_by_the_number_of_processors(
    kernel: Path, table: FlowTable, cores: int, room: str
) -> None:
    keep_flows(table, cores)

    assert has(kernel, "max") == room


def test_what_cannot_be_set_is_told_and_the_rest_is_set(
    kernel: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (kernel / "nf_conntrack_tcp_timeout_established").unlink()

    with caplog.at_level(logging.WARNING):
        keep_flows(FlowTable(tcp_be_liberal=True, udp=30), cores=1)

    assert "cannot set net.netfilter.nf_conntrack_tcp_timeout_established to 86400" in caplog.text
    assert [has(kernel, name) for name in ("tcp_be_liberal", "udp_timeout")] == ["1", "30"]
