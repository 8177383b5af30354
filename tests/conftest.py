"""Tests in two processes at once, which share them file by file: ``scripts/test-together``."""

import os
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--claims", type=Path, help="Directory in which runs at the same time share the files.")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Pass over what another run has begun: a file is its whose mark is there first."""
    claims: Path | None = item.config.getoption("--claims")
    if claims is None:
        return None
    me, mark = str(os.getpid()), claims / item.nodeid.partition("::")[0].replace("/", "-")
    try:
        with mark.open("x") as made:
            made.write(me)
    except FileExistsError:
        if mark.read_text() != me:
            # What the test before left standing for this one is of no use to the next one.
            item.session._setupstate.teardown_exact(nextitem)
            return True
    return None
