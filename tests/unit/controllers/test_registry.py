"""The list of control loops."""

import pkgutil

from kybern import controllers
from kybern.controllers import CONTROLLERS
from kybern.loop.settings import Settings


def test_every_file_is_registered() -> None:
    files = {f"{controllers.__name__}.{found.name}" for found in pkgutil.iter_modules(controllers.__path__)}

    assert {make.__module__ for make in CONTROLLERS} == files


def test_events_come_from_whom_upstream_names() -> None:
    """The account is another name than the source of events for some loops, and the same for most."""
    made = {one.name: one for one in (make(Settings()) for make in CONTROLLERS)}
    binder, jobs = made["persistentvolume-binder-controller"], made["job-controller"]
    assert (binder.account, binder.events_from) == ("persistent-volume-binder", "persistentvolume-controller")
    assert (jobs.account, jobs.events_from) == ("job-controller", "job-controller")
    attach = made["persistentvolume-attach-detach-controller"]
    assert attach.events_from == attach.account == "attachdetach-controller"
