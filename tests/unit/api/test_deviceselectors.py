"""Expressions that select devices."""

import pytest

from kybern.api.rules.deviceselectors import selector


@pytest.mark.parametrize(
    "expression",
    [
        "device.driver == 'd.example.com'",
        "device.attributes['d.example.com'].fast",
        "device.capacity['d.example.com'].memory.compareTo(quantity('1Gi')) >= 0",
        "true",
    ],
)
def test_what_decides_about_a_device_is_fine(expression: str) -> None:
    assert not list(selector("at", expression))


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("device.driver", "must evaluate to bool or the unknown type, not string"),
        ("other", "undeclared reference to 'other' (in container '')"),
        ("device.nosuch == 1", "undefined field 'nosuch'"),
        ("", "ERROR: <input>:1:0: Syntax error: mismatched input '<EOF>'"),
        ("true x", "ERROR: <input>:1:6: Syntax error: extraneous input 'x' expecting <EOF>"),
        (f"'{'x' * 10_240}' == ''", "Too long: may not be more than 10240 bytes"),
    ],
)
def test_what_does_not_is_refused(expression: str, says: str) -> None:
    (cause,) = selector("at", expression)

    assert says in cause.message
