"""A runtime that is silent: for how long it may be, and what is said of the node meanwhile."""

from kybern.kubelet.standing import DOWN_AFTER, Standing

WELL = {"RuntimeReady": (True, "", ""), "NetworkReady": (True, "", "")}


class At:
    def __init__(self) -> None:
        self.now = 0.0
        self.standing = Standing(lambda: self.now)


def test_nothing_is_known_before_it_answered_once() -> None:
    at = At()
    at.standing.unheard(0.0)
    at.now = 100.0

    assert at.standing.problem == "container runtime status check may not have completed yet"


def test_one_that_is_started_anew_within_half_a_minute_makes_no_node_not_ready() -> None:
    at = At()
    at.standing.heard(WELL)
    at.now = 100.0
    at.standing.unheard(at.standing.now())
    at.now += DOWN_AFTER - 0.1
    at.standing.unheard(at.standing.now())
    assert (at.standing.problem, at.standing.silent) == ("", True)

    at.standing.heard(WELL)
    at.now += 1.0
    at.standing.unheard(at.standing.now())
    assert at.standing.problem == "", "its time begins anew"


def test_one_that_hangs_is_down_from_when_it_was_asked_first() -> None:
    at = At()
    at.standing.heard(WELL)
    at.now = DOWN_AFTER
    at.standing.unheard(0.0)
    assert at.standing.problem == "container runtime is down"

    at.standing.heard(WELL)
    assert (at.standing.problem, at.standing.silent) == ("", False)


def test_what_it_said_last_stands_while_it_is_silent() -> None:
    at = At()
    at.standing.heard({"RuntimeReady": (False, "Why", "because"), "NetworkReady": (False, "No", "cni")})
    at.standing.unheard(at.standing.now())

    assert at.standing.problem == "container runtime not ready: RuntimeReady=false reason:Why message:because"
    assert (
        at.standing.network == "container runtime network not ready: NetworkReady=false reason:No message:cni"
    )


def test_one_that_says_nothing_of_itself_is_not_ready() -> None:
    at = At()
    at.standing.heard({})

    assert at.standing.problem == (
        "container runtime not ready: RuntimeReady=false reason: message:no answer"
    )
    assert at.standing.network == ""
