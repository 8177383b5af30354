"""Which machines may still wear older certificates than those that are kept for them: a note each, on the operator's side.

A certificate that is made is not yet worn: a run may be killed in between, a machine may be away, or it was a plan, which
makes certificates and ships none. What is kept then looks fresh while what the machine has goes on towards its end. The
note is written before the certificate, and goes only after a run of ``kybern certificates renew`` that shipped it.
"""

from collections.abc import Iterable
from pathlib import Path

from kybern.machines.secret_files import write_secret

_FOLDER = "unshipped"


class Unshipped:
    """The notes of one cluster, in its folder of certificates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER

    def note(self, machine: str) -> None:
        """Something is about to be made for this machine."""
        if machine not in self.machines():
            write_secret(self._folder / machine, b"")

    def machines(self) -> frozenset[str]:
        # Names of machines begin with a letter: what begins with a dot is a note that is being written.
        return frozenset(path.name for path in self._folder.glob("[a-z]*"))

    def drop(self, machines: Iterable[str]) -> None:
        """These have what is kept for them."""
        for machine in machines:
            (self._folder / machine).unlink(missing_ok=True)
