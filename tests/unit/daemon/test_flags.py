"""Command lines, as upstream's daemons read them."""

import pytest

from kybern.daemon.flags import BadFlag, Flags, boolean, commas, duration, pairs, shown_duration


def flags() -> Flags:
    return (
        Flags("daemon", "Does things.")
        .flag("--config", str, "", "A file.")
        .flag("--leader-elect", bool, True, "Lead.")
        .flag("--port", int, 10257, "A port.")
        .flag("--controllers", commas, ("*",), "Which.")
        .flag("--labels", pairs, {}, "Labels.")
        .flag("--period", duration, 5.0, "How often.")
    )


def test_value_after_equals_sign_or_as_the_next_word() -> None:
    assert flags().read(["--config=a", "--port", "1"])["config"] == "a"
    assert flags().read(["--config=a", "--port", "1"])["--port"] == 1


def test_bool_takes_the_next_word_never_and_a_value_after_equals() -> None:
    assert flags().read(["--leader-elect=false"])["leader-elect"] is False
    assert flags().read(["--leader-elect"])["leader-elect"] is True
    with pytest.raises(BadFlag, match='unknown argument "false"'):
        flags().read(["--leader-elect", "false"])


def test_underscores_count_as_dashes() -> None:
    assert flags().read(["--leader_elect=false"])["leader-elect"] is False


def test_first_list_given_replaces_the_default_and_the_next_one_adds() -> None:
    assert flags().read([])["controllers"] == ("*",)
    assert flags().read(["--controllers=a,b", "--controllers=-c"])["controllers"] == ("a", "b", "-c")


def test_maps_grow_when_they_are_repeated() -> None:
    assert flags().read(["--labels=a=1,b=2", "--labels", "c=3"])["labels"] == {"a": "1", "b": "2", "c": "3"}


def test_knows_what_was_given() -> None:
    values = flags().read(["--port=1"])

    assert values.given("--port")
    assert not values.given("config")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--nope=1"], "unknown flag: --nope"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["--port"], "flag needs an argument: --port"),
        (["--port=http"], 'invalid argument "http" for "--port" flag'),
        (["--leader-elect=maybe"], 'invalid argument "maybe" for "--leader-elect" flag'),
        (["--period=10"], "is no duration"),
        (["--labels=a"], "is not of the form key=value"),
        (["what"], 'unknown argument "what"'),
    ],
)
def test_what_is_wrong_is_named(argv: list[str], says: str) -> None:
    with pytest.raises(BadFlag) as told:
        flags().read(argv)

    assert says in str(told.value)


def test_unknown_flag_ends_with_code_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        flags().parse(["--nope"])

    assert ended.value.code == 2
    assert capsys.readouterr().err == "daemon: unknown flag: --nope\n"


def test_version_and_verbosity(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        flags().parse(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("Kubernetes v1.36")
    assert flags().read(["-v4"])["v"] == flags().read(["-v", "4"])["v"] == flags().read(["--v=4"])["v"] == 4


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("0", 0), ("-5s", -5), ("2h45m30s", 9930)],
)
def test_durations_in_go_notation(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1s!", "1s 2s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"), (15.0, "15s"), (90.0, "1m30s"), (3600.0, "1h0m0s"), (0.5, "500ms"), (1.5, "1.5s"), (-60.0, "-1m0s"),
        (0.00025, "250us"), (31536000.0, "8760h0m0s"),
    ],
)  # fmt: skip
def test_durations_are_shown_as_they_may_be_given(seconds: float, text: str) -> None:
    assert shown_duration(seconds) == text
    assert duration(text) == pytest.approx(seconds)


def test_flags_are_shown_as_upstreams_daemons_print_them() -> None:
    def port(text: str) -> tuple[int, int]:
        return int(text), int(text)

    table = Flags("test", "A test.")
    table.flag("--names", commas, ("a", "b")).flag("--labels", pairs, {"a": "b"}).flag("--quick", bool, True)
    table.flag("--wait", duration, 90.0).flag("--rate", float, 0.1).flag("--port", port, (1, 1)).flag(
        "--none"
    )

    default = table.shown(table.read([]))
    given = table.shown(table.read(["--port=7", "--quick=false", "--names=", "--none=x"]))

    assert default == {
        "names": "[a,b]", "labels": "a=b", "quick": "true", "wait": "1m30s", "rate": "0.1", "port": "", "none": "", "v": "0",
        "logging-format": "text",
    }  # fmt: skip
    assert given == {**default, "port": "7", "quick": "false", "names": "[]", "none": "x"}


def test_a_flag_that_cannot_be_honoured_takes_its_default_and_says_why_it_takes_nothing_else() -> None:
    table = flags().fixed("--cloud", str, "", "there are no clouds").fixed("--share", boolean, False, "alone")

    assert table.read(["--cloud=", "--share=false"])["cloud"] == ""
    with pytest.raises(BadFlag, match='invalid argument "gce" for "--cloud" flag: there are no clouds'):
        table.read(["--cloud=gce"])
    with pytest.raises(BadFlag, match='"--share" flag: alone'):
        table.read(["--share"])
