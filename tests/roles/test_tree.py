"""What a role may list, what it may not, and what follows from a machine's state. Pure."""

from typing import Any

import pytest

from roles.templates import environment, render
from roles.tree import Directory, File, Found, Link, Service, missing, surplus, unique

A = File("/etc/a", b"x", mode="640", user="etcd")
HERE = Found("f", "640", "etcd", "etcd", digest=A.digest)


@pytest.mark.parametrize("mode", [0o640, "rw-r-----", "9", "8888"])
def test_a_mode_that_is_not_octal_text_is_refused(mode: Any) -> None:
    with pytest.raises(TypeError, match="write it as a string"):
        File("/etc/a", b"", mode=mode)


def test_a_leading_zero_of_a_mode_means_nothing() -> None:
    assert File("/etc/a", b"", mode="0640") == File("/etc/a", b"", mode="640")
    assert File("/etc/a", b"", mode="0004").mode == "004"


@pytest.mark.parametrize(
    "path", ["etc/a", "/etc/a b", "/etc/$(id)", "/etc/../a", "/etc/a/", "/etc/a\n", "/", "/etc/'a'"]
)
def test_a_path_that_a_shell_would_read_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a plain absolute path"):
        File(path, b"")


def test_a_secret_that_everybody_may_read_is_refused() -> None:
    with pytest.raises(ValueError, match="lets everybody at it"):
        File("/etc/a", b"", mode="644", secret=True)


def test_an_owner_is_a_name() -> None:
    with pytest.raises(ValueError, match="not a user's or group's name"):
        File("/etc/a", b"", user="0; rm -rf /")


def test_a_link_points_to_a_plain_path() -> None:
    with pytest.raises(ValueError, match="not a plain path"):
        Link("/etc/a", "b; c")


def test_a_unit_has_its_full_name() -> None:
    with pytest.raises(ValueError, match="full name of a unit"):
        Service("etcd", ())


def test_the_same_path_twice_is_a_mistake_unless_it_is_the_same() -> None:
    assert unique([A, A]) == (A,)
    with pytest.raises(ValueError, match="listed twice, differently"):
        unique([A, File("/etc/a", b"y")])


def test_what_is_there_is_not_written() -> None:
    assert missing([A], {"/etc/a": HERE}) == ()


@pytest.mark.parametrize(
    "found",
    [
        None,
        Found("f", "644", "etcd", "etcd", digest=A.digest),
        Found("f", "640", "root", "etcd", digest=A.digest),
        Found("f", "640", "etcd", "root", digest=A.digest),
        Found("f", "640", "etcd", "etcd", digest="0" * 64),
        Found("l", "640", "etcd", "etcd", digest=A.digest),
    ],
)
def test_what_differs_is_written(found: Found | None) -> None:
    assert missing([A], {"/etc/a": found} if found else {}) == (A,)


def test_parents_are_written_before_what_is_in_them() -> None:
    inside, folder = File("/srv/x/a", b""), Directory("/srv/x")

    assert missing([inside, folder], {}) == (folder, inside)


def test_pruning_keeps_listed_entries_and_their_parents() -> None:
    wanted = [File("/srv/x/deep/a", b"")]
    there = dict.fromkeys(("/srv/x/deep", "/srv/x/deep/a", "/srv/x/old", "/srv/xx/other"), HERE)

    assert surplus(wanted, (), ("/srv/x",), there) == ("/srv/x/old",)


def test_a_service_s_digest_is_that_of_its_inputs_in_any_order() -> None:
    b = File("/etc/b", b"y")

    assert Service("a.service", (A, b)).digest == Service("a.service", (b, A)).digest
    assert Service("a.service", (A,)).digest != Service("a.service", (b,)).digest
    assert (
        Service("a.service", (A,)).digest
        != Service("a.service", (File("/etc/a", b"x", mode="600", user="etcd"),)).digest
    )


def test_an_undefined_name_in_a_template_is_an_error() -> None:
    with pytest.raises(Exception, match="is undefined"):
        render("system/hosts")


def test_every_template_parses() -> None:
    names = environment().list_templates()

    assert names
    for name in names:
        environment().get_template(name)
