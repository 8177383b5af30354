"""What is cut out of a machine image: the packages that some stand on, and their files."""

import pytest

from kybern.machines import cut
from kybern.machines.errors import MachineError

STATUS = """\
Package: python3
Status: install ok installed
Architecture: amd64
Version: 3.13.5-1
Multi-Arch: allowed
Pre-Depends: python3-minimal (= 3.13.5-1)
Depends: media-types | mime-support, libssl3 (>= 3.0), debconf (>= 0.5) | debconf-2.0
Description: a language
 of many
 Depends: on nothing

Package: python3-minimal
Status: install ok installed
Architecture: amd64
Version: 3.13.5-1
Depends: dpkg (>= 1.13.20), python3:any

Package: libssl3t64
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 3.5.4-1
Provides: libssl3 (= 3.5.4-1)

Package: mime-support
Status: install ok installed
Architecture: all
Version: 1

Package: media-types
Status: deinstall ok config-files
Architecture: all
Version: 2

Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.22
Depends: tar

Package: debconf
Status: install ok installed
Architecture: all
Version: 1.5

Package: less
Status: install ok installed
Architecture: amd64
Version: 668
"""


def test_what_packages_stand_on_is_found_by_name_by_choice_and_by_what_provides_it() -> None:
    found = cut.closure(cut.packages(STATUS), ["python3"])

    assert [one.name for one in found] == ["libssl3t64", "mime-support", "python3", "python3-minimal"]


def test_what_several_architectures_share_is_listed_by_its_own() -> None:
    known = cut.packages(STATUS)

    assert known["libssl3t64"].listed == "libssl3t64:amd64.list"
    assert known["python3"].listed == "python3.list"


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(MachineError, match=r"no package tar, which .* made again"):
        cut.closure(cut.packages(STATUS), ["python3", "tar"])


def test_documents_stay_out_and_what_programs_read_goes_in() -> None:
    lists = [
        "/.\n/usr\n/usr/share\n/usr/share/doc\n/usr/share/doc/python3/copyright\n",
        "/usr\n/usr/bin/python3\n/usr/share/docs-are-not-doc\n/usr/share/zoneinfo/UTC\n",
    ]

    assert cut.paths(lists) == (
        "/usr", "/usr/bin/python3", "/usr/share", "/usr/share/docs-are-not-doc", "/usr/share/zoneinfo/UTC",
    )  # fmt: skip
