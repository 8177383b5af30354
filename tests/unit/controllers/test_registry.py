"""The list of control loops."""

import pkgutil

from kybern import controllers
from kybern.controllers import CONTROLLERS


def test_every_file_is_registered() -> None:
    files = {f"{controllers.__name__}.{found.name}" for found in pkgutil.iter_modules(controllers.__path__)}

    assert {make.__module__ for make in CONTROLLERS} == files
