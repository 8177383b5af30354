"""Judgements of what daemons run with. Pure."""

from collections.abc import Callable

from kybern.machines.cis.record import Judge, Level, Outcome, Place, failed, passed, unknown

type Test = Callable[[str | None], bool]


def flag(daemon: str, name: str, test: Test, wanted: str) -> Judge:
    """``test`` is given the flag's value, None when it is not set."""

    def judge(place: Place) -> Outcome:
        flags = place.flags(daemon)
        if flags is None:
            return unknown(f"{daemon} does not run")
        value = flags.get(name)
        said = f"--{name} is not set" if value is None else f"--{name}={value}"
        return passed(said) if test(value) else failed(said, f"{wanted}, and deploy")

    return judge


def present(daemon: str, *names: str) -> Judge:
    return every(*(flag(daemon, name, bool, f"set --{name}") for name in names))


def absent(daemon: str, name: str, *, shown: bool = True) -> Judge:
    """Without ``shown``, the value of one that is set is not told: each machine has its own."""
    judge = flag(daemon, name, lambda value: value is None, f"take --{name} away")

    def told(place: Place) -> Outcome:
        outcome = judge(place)
        return outcome if outcome.level is not Level.FAILED else failed(f"--{name} is set", outcome.why)

    return judge if shown else told


def equals(daemon: str, name: str, *values: str, default: str | None = None) -> Judge:
    """``default`` is what the daemon does without the flag."""
    return flag(
        daemon,
        name,
        lambda value: (default if value is None else value) in values,
        f"set --{name}={values[0]}",
    )


def at_least(daemon: str, name: str, least: int) -> Judge:
    def enough(value: str | None) -> bool:
        return value is not None and value.isdigit() and int(value) >= least

    return flag(daemon, name, enough, f"set --{name}={least}")


def lists(daemon: str, name: str, item: str) -> Judge:
    return flag(daemon, name, lambda value: item in (value or "").split(","), f"add {item} to --{name}")


def omits(daemon: str, name: str, item: str) -> Judge:
    return flag(
        daemon, name, lambda value: item not in (value or "").split(","), f"take {item} out of --{name}"
    )


def within(daemon: str, name: str, allowed: frozenset[str]) -> Judge:
    """A list that is given, and has nothing but what is allowed."""

    def test(value: str | None) -> bool:
        return bool(value) and set((value or "").split(",")) <= allowed

    return flag(daemon, name, test, f"set --{name} to strong ones alone")


def every(*judges: Judge) -> Judge:
    """All of them have to pass; the first that does not is told."""

    def judge(place: Place) -> Outcome:
        outcomes = [one(place) for one in judges]
        worst = next((one for one in outcomes if one.level is not Level.PASSED), None)
        return worst or passed(", ".join(one.said for one in outcomes))

    return judge


def explained(judge: Judge, why: str, unless: Judge | None = None) -> Judge:
    """What fails is explained, unless another judgement fails: then that one is told."""

    def found(place: Place) -> Outcome:
        outcome = judge(place)
        if outcome.level is not Level.FAILED:
            return outcome
        if unless is not None and (condition := unless(place)).level is not Level.PASSED:
            return condition
        return Outcome(Level.EXPLAINED, outcome.said, why)

    return found


def always(why: str) -> Judge:
    """A control about what there is none of."""
    return lambda _place: Outcome(Level.EXPLAINED, "does not apply", why)
