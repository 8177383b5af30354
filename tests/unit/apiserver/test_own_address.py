"""Where the API server says that it is: of the family that its own Service has."""

import pytest

from kybern.apiserver.config import FLAGS, read
from kybern.daemon.run import Fatal

NEEDED = (
    "--etcd-servers=http://127.0.0.1:1",
    "--service-account-issuer=https://x",
    "--service-account-signing-key-file=/k",
)
BOTH = "fd00:96::/112,10.96.0.0/16"


@pytest.mark.parametrize(
    ("networks", "flags", "address"),
    [
        (BOTH, ["--advertise-address=fd00::1"], "fd00::1"),
        (BOTH, ["--bind-address=fd00::2"], "fd00::2"),
        ("10.96.0.0/16,fd00:96::/112", ["--advertise-address=192.0.2.1"], "192.0.2.1"),
    ],
)
def test_the_address_is_of_the_family_that_comes_first(networks: str, flags: list[str], address: str) -> None:
    found = read(FLAGS.read([*NEEDED, f"--service-cluster-ip-range={networks}", *flags]))

    assert found.advertise == address


def test_a_server_that_listens_everywhere_takes_one_of_that_family() -> None:
    found = read(FLAGS.read([*NEEDED, f"--service-cluster-ip-range={BOTH}"]))

    assert ":" in found.advertise


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--advertise-address=192.0.2.1"], "service IP family IPv6 must match public address family IPv4"),
        (["--advertise-address=here"], "--advertise-address: 'here' does not appear to be"),
    ],
)
def test_another_family_or_no_address_is_told(flags: list[str], said: str) -> None:
    with pytest.raises(Fatal, match=said):
        read(FLAGS.read([*NEEDED, f"--service-cluster-ip-range={BOTH}", *flags]))
