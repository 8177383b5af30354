"""Whether KVM works is asked as the account that will use it."""

import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kybern.machines import qemu


@pytest.fixture
def for_all() -> Iterator[Path]:
    """A directory that every account may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_kvm_is_tried_as_the_account_that_runs_virtual_machines(
    for_all: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = pwd.getpwuid(os.geteuid()).pw_name
    other = next((each.pw_name for each in pwd.getpwall() if each.pw_uid != os.geteuid()), "")
    program = for_all / "qemu-system-x86_64"
    monkeypatch.setenv("PATH", str(for_all), prepend=os.pathsep)
    monkeypatch.setattr(qemu, "VERDICT", for_all / "verdict")
    monkeypatch.setattr(qemu, "KVM", for_all)
    found = {}
    for allowed, account in ((ours, "nobody-has-this-name"), (other, other), (ours, other)):
        program.write_text(f'#!/bin/sh\n[ "$(id -un)" = {allowed} ] && echo alive\n')
        program.chmod(0o755)
        (for_all / "verdict").unlink(missing_ok=True)
        monkeypatch.setattr(qemu, "ACCOUNT", account)
        found[allowed == ours, account == other] = qemu.accelerator(for_all / "kernel")

    expected = "kvm" if os.geteuid() == 0 else "qemu"
    assert found[True, False] == "kvm", "without an account of its own, it is ours"
    assert found[False, True] == expected
    assert found[True, True] == ("qemu" if os.geteuid() == 0 else "kvm")
