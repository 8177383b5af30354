"""Judgements of who may read and write files. Pure."""

from collections.abc import Callable, Iterable

from kybern.machines.cis.record import Judge, Kept, Outcome, Place, failed, passed, unknown

SHOWN = 2


def mode(name: str, most: int, *, needed: bool = True) -> Judge:
    """None of the files has a bit that ``most`` lacks. Without ``needed`` there may be none of them."""
    return _each(
        name,
        lambda one: not one.mode & ~most,
        lambda one: f"{one.path} is {one.mode:o}",
        f"chmod {most:o}",
        needed,
    )


def owner(name: str, *owners: str, needed: bool = True) -> Judge:
    return _each(
        name,
        lambda one: one.owner in owners,
        lambda one: f"{one.path} is {one.owner}'s",
        f"chown {owners[0]}",
        needed,
    )


def none(name: str, remedy: str) -> Judge:
    """There is no such file."""

    def judge(place: Place) -> Outcome:
        found = place.files(name)
        return (
            failed(f"there is {_some(one.path for one in found)}", remedy)
            if found
            else passed("there is none")
        )

    return judge


def _each(
    name: str, test: Callable[[Kept], bool], tell: Callable[[Kept], str], remedy: str, needed: bool
) -> Judge:
    def judge(place: Place) -> Outcome:
        files = place.files(name)
        if not files:
            return unknown("there is no such file") if needed else passed("there is none")
        wrong = [one for one in files if not test(one)]
        if wrong:
            return failed(_some(map(tell, wrong)), f"deploy, or {remedy}")
        modes = ", ".join(sorted({f"{one.mode:o} {one.owner}" for one in files}))
        return passed(modes if len(files) == 1 else f"{len(files)} files: {modes}")

    return judge


def _some(texts: Iterable[str]) -> str:
    found = list(texts)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more
