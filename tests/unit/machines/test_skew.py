"""Upstream's version skew policy, as a table: which versions may be brought to which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.machines.skew import OLDER, Running, Version, etcd_refusals, refusals

TARGET = "v1.36.2-kybern"


@pytest.mark.parametrize(
    ("daemon", "version", "says"),
    [
        ("kube-apiserver", "v1.36.2-kybern", ""),
        ("kube-apiserver", "v1.36.0", ""),
        ("kube-apiserver", "v1.35.9", ""),
        ("kube-apiserver", "v1.34.9", "more than one minor version behind v1.36.2-kybern: upgrade to v1.35 first"),
        ("kube-apiserver", "v1.36.3", "newer than v1.36.2-kybern: say --allow-downgrade if that is meant"),
        ("kube-apiserver", "v1.37.0", "a minor version is never taken back; deploy v1.37 or newer, or restore a backup"),
        ("kube-apiserver", "v2.36.2", "another major version"),
        ("kube-controller-manager", "v1.35.0", ""),
        ("kube-controller-manager", "v1.34.0", "upgrade to v1.35 first"),
        ("kube-scheduler", "v1.34.0", "upgrade to v1.35 first"),
        ("cloud-controller-manager", "v1.34.0", "upgrade to v1.35 first"),
        ("kubelet", "v1.33.0", ""),
        ("kubelet", "v1.32.9", "more than 3 minor versions behind v1.36.2-kybern: upgrade to v1.35 first"),
        ("kubelet", "v1.37.0", "a minor version is never taken back"),
        ("kube-proxy", "v1.33.1", ""),
        ("kube-proxy", "v1.32.1", "upgrade to v1.35 first"),
        ("kubelet", "unknown", 'says that it is "unknown", which is no version'),
    ],
)  # fmt: skip
def test_what_may_be_brought_to_a_release(daemon: str, version: str, says: str) -> None:
    found = refusals(TARGET, [Running("m1", daemon, version)])

    assert bool(found) is bool(says)
    assert all(says in each and f"{daemon} of m1" in each for each in found)


def test_all_reasons_are_told_at_once() -> None:
    running = [Running("m1", "kube-apiserver", "v1.34.0"), Running("w1", "kubelet", "v1.30.0")]

    assert len(refusals(TARGET, running)) == 2


def test_a_downgrade_that_is_meant_is_one_of_patch_versions_only() -> None:
    patch, minor = Running("m1", "kubelet", "v1.36.9"), Running("m1", "kubelet", "v1.37.0")

    assert refusals(TARGET, [patch], allow_downgrade=True) == ()
    assert refusals(TARGET, [minor], allow_downgrade=True) != ()


def test_a_release_says_which_version_it_is() -> None:
    assert refusals("later", []) == ('the release to install says that it is "later", which is no version',)


@given(st.sampled_from(sorted(OLDER)), st.integers(30, 40), st.integers(0, 20))
def test_what_is_allowed_is_never_newer_and_never_too_old(daemon: str, minor: int, patch: int) -> None:
    if not refusals(TARGET, [Running("m", daemon, f"v1.{minor}.{patch}")]):
        assert 36 - OLDER[daemon] <= minor <= 36
        assert (minor, patch) <= (36, 2)


def test_versions_are_read_from_what_daemons_and_debian_say() -> None:
    assert Version.read("v1.36.2-kybern") == Version(1, 36, 2)
    assert Version.read("3.5.16-4+b1") == Version(3, 5, 16)
    assert Version.read("(none)") is None


def etcd(*versions: str) -> list[Running]:
    return [Running(f"m{number}", "etcd", version) for number, version in enumerate(versions, 1)]


@pytest.mark.parametrize(
    ("now", "offered", "says"),
    [
        (etcd("3.5.16"), [], ""),
        (etcd("3.5.16"), etcd("3.5.16-4"), ""),
        (etcd("3.5.16", "3.5.20"), etcd("3.5.20", "3.5.20"), ""),
        (etcd("3.5.16"), etcd("3.6.1"), ""),
        (etcd("3.4.30"), etcd("3.6.1"), "would skip minor versions, from 3.4.30 to 3.6.1: install 3.5 on all members first"),
        (etcd("3.5.16"), etcd("3.5.9"), "would go back from 3.5.16 to 3.5.9"),
        (etcd("3.5.16"), etcd("4.0.0"), "would skip minor versions"),
        (etcd(""), etcd("3.5.16"), "does not say which version it is"),
        (etcd("3.5.16"), etcd("(none)"), 'offers etcd "(none)", which is no version'),
        (etcd("3.5.16", "3.6.1"), etcd("3.5.16", "3.7.0"), "no neighbours"),
    ],
)  # fmt: skip
def test_members_of_etcd_go_up_one_minor_version_at_a_time(
    now: list[Running], offered: list[Running], says: str
) -> None:
    found = etcd_refusals(now, offered)

    assert bool(found) is bool(says)
    assert not says or any(says in each for each in found)
