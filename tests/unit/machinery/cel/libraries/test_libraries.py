"""Every library is a file and a line, and its overloads have names of their own."""

import importlib
import pkgutil
from itertools import chain

from kybern.machinery.cel import libraries


def test_files_and_lines_agree() -> None:
    files = {module.name for module in pkgutil.iter_modules(libraries.__path__)}
    listed = [*libraries.LIBRARIES, *libraries.PATCHING]
    found = [importlib.import_module(f"{libraries.__name__}.{name}").LIBRARY for name in files]
    assert sorted(each.name for each in found) == sorted(each.name for each in listed)


def test_overloads_have_names_of_their_own() -> None:
    every = chain.from_iterable(
        function.overloads
        for library in (*libraries.LIBRARIES, *libraries.PATCHING)
        for function in library.functions
    )
    names = [overload.name for overload in every]
    assert len(names) == len(set(names)) > 100
