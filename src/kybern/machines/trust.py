"""What a cluster trusts and who signs, while one is exchanged for another: an authority, or the key of tokens.

Three files beside each other, of which a rotation makes two and removes them again (``ca`` stands for each name):

    ca                      at rest: it signs, and it alone is trusted
    ca, ca.next             added: ca signs, both are trusted
    ca, ca.next, ca.before  turning: ca.next signs, both are trusted; ca is on its way to be ca.next
    ca, ca.before           turned: ca signs, both are trusted; ca.before has no key any more

The first file of a stage that is written, or removed, is what begins it: whoever finds the files knows the stage. What is
trusted is told in the same order in both middle stages, so that nobody has to read it again between them.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kybern.auth.x509 import Pair
from kybern.machines.secret_files import read_pair, write_pair, write_secret


class Stage(StrEnum):
    REST = "at rest"
    ADDED = "added"
    TURNED = "turned"


@dataclass(frozen=True, slots=True)
class Trust:
    """The files of one name. ``suffix`` is that of the public half: .crt of an authority, .pub of a key."""

    folder: Path
    name: str
    suffix: str = ".crt"

    def _path(self, which: str, suffix: str = "") -> Path:
        return self.folder / f"{self.name}{which}{suffix or self.suffix}"

    @property
    def stage(self) -> Stage:
        if self._path(".before").exists():
            return Stage.TURNED
        return Stage.ADDED if self._path(".next").exists() else Stage.REST

    def signer(self) -> Pair | None:
        """Who signs now; None when there is nobody yet."""
        if self.stage is Stage.TURNED and (following := self._read(".next")):
            return following
        return self._read("")

    def trusted(self) -> bytes:
        """All that is trusted, as PEM."""
        signer = self.signer()
        if signer is None:
            raise FileNotFoundError(self._path(""))
        match self.stage:
            case Stage.ADDED:
                return signer.cert_pem + self._path(".next").read_bytes()
            case Stage.TURNED:
                return self._path(".before").read_bytes() + signer.cert_pem
            case _:
                return signer.cert_pem

    def add(self, pair: Pair) -> None:
        """Trust another one, too."""
        write_pair(self.folder, f"{self.name}.next", pair, self.suffix)

    def turn(self) -> None:
        """Have the other one sign from now on. Whatever of it was done already is not done again."""
        if self.stage is Stage.ADDED:
            write_secret(self._path(".before"), self._path("").read_bytes())
        if following := self._read(".next"):
            write_pair(self.folder, self.name, following, self.suffix)
            self._path(".next").unlink()
            self._path(".next", ".key").unlink()

    def drop(self) -> None:
        """Trust the old one no longer."""
        self.turn()
        self._path(".before").unlink()

    def turned_at(self) -> float:
        """When the old one signed last, in seconds since 1970; only of one that was turned."""
        return self._path(".before").stat().st_mtime

    def _read(self, which: str) -> Pair | None:
        return read_pair(self.folder, f"{self.name}{which}", self.suffix)
