"""Judgements of what a kubelet has in force, as it says itself (/configz): files, drop-ins and defaults together. Pure."""

from collections.abc import Callable
from typing import Any

from kybern.machines.cis.record import Judge, Outcome, Place, failed, passed, unknown


def setting(path: str, test: Callable[[Any], bool], wanted: str) -> Judge:
    """``path`` has dots between its fields; ``test`` is given None for one that is not set."""

    def judge(place: Place) -> Outcome:
        if place.kubelet is None:
            return unknown("the kubelet does not tell its configuration")
        value: Any = place.kubelet
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        said = f"{path} is {_told(value)}"
        return (
            passed(said)
            if test(value)
            else failed(said, f"{wanted} in /etc/kubernetes/kubelet.conf.d, or deploy")
        )

    return judge


def equals(path: str, wanted: Any, *, absent: bool = False) -> Judge:
    """``absent``: one that is not set will do, too."""
    return setting(
        path, lambda value: value == wanted or (absent and value is None), f"set {path} to {_told(wanted)}"
    )


def differs(path: str, *unwanted: Any) -> Judge:
    return setting(path, lambda value: value not in unwanted, f"set {path}")


def given(path: str) -> Judge:
    return setting(path, bool, f"set {path}")


def positive(path: str) -> Judge:
    return setting(path, lambda value: isinstance(value, int) and value > 0, f"set {path} to a limit")


def within(path: str, allowed: frozenset[str]) -> Judge:
    return setting(
        path, lambda value: bool(value) and set(value) <= allowed, f"set {path} to strong ones alone"
    )


def _told(value: Any) -> str:
    if value is None:
        return "not set"
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
