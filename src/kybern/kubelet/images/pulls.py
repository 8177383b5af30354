"""What the kubelet pulled, and with whose credentials: on disk as upstream keeps it, below ROOT/image_manager.

What holds: a pull is noted before it begins (``pulling``) and as a record when it is done (``pulled``); one that was cut off
by the kubelet's end becomes a record without credentials, so that the image is not taken for one that was always there.
What cannot be read is as good as not there: whoever wants the image must show what he may.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from kybern.daemon.files import replace_file
from kybern.kubelet.convert import Image
from kybern.kubelet.images import rights
from kybern.kubelet.images.names import full
from kybern.kubelet.images.registries import Login
from kybern.kubelet.images.rights import Credentials, Policy, Record

log = logging.getLogger(__name__)


class Pulls:
    """Calls block for a file or two."""

    def __init__(self, root: Path, policy: Policy) -> None:
        self._pulling = root / "image_manager/pulling"
        self._pulled = root / "image_manager/pulled"
        self._policy = policy
        self._going: Counter[str] = Counter()
        self._records: dict[str, Record] = {}
        self._intents: set[str] = set()

    def load(self, images: Iterable[Image]) -> None:
        """Take in what an earlier kubelet left; ``images`` are those on the machine. Raises OSError."""
        for directory in (self._pulling, self._pulled):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for raw in _read(self._pulled):
            try:
                record = rights.record_of(raw)
            except (KeyError, TypeError, AttributeError):
                continue
            self._records[record.image] = record
        self._intents = {str(raw.get("image")) for raw in _read(self._pulling)}
        for image in images:
            known = {*image.tags, *image.digests}
            for name in [one for one in self._intents if {one, full(one)} & known]:
                try:
                    self._note(name, image.id, None)
                except OSError as problem:
                    # The mark of the pull stays, and says the same.
                    log.warning("cannot note the pull of %s: %s", name, problem)
                    continue
                self._forget(name)

    def begin(self, name: str) -> None:
        """A pull begins. Raises OSError."""
        raw = {"kind": "ImagePullIntent", "apiVersion": "kubelet.config.k8s.io/v1beta1", "image": name}
        _write(self._pulling, name, raw)
        self._going[name] += 1

    def failed(self, name: str) -> None:
        self._done(name)

    def succeeded(self, name: str, image: str, login: Login | None) -> None:
        """An image is there, by such credentials."""
        try:
            self._note(name, image, rights.used(login))
        except OSError as problem:
            # The mark of the pull stays: the image goes on counting as pulled.
            log.warning("cannot note the pull of %s: %s", name, problem)
            return
        self._done(name)

    def needs_proof(self, name: str, image: str) -> bool:
        """Whether a pod must show that it may use an image that is there."""
        record = self._records.get(image)
        pulled = record is not None or self._going[name] > 0 or name in self._intents
        if not rights.needs_proof(self._policy, name, pulled=pulled):
            return False
        known = self._known(name, image)
        return known is None or not known.everybody

    def proven(self, name: str, image: str, logins: Iterable[Login]) -> bool:
        """Whether one of these logins shows it; what it shows is noted."""
        found = rights.proven(self._known(name, image), logins)
        if found is None:
            return False
        try:
            self._note(name, image, found)
        except OSError as problem:
            log.warning("cannot note who may use %s: %s", name, problem)
        return True

    def prune(self, images: Iterable[str]) -> None:
        """Forget images that are not on the machine any more."""
        for gone in self._records.keys() - set(images):
            del self._records[gone]
            (self._pulled / _file(gone)).unlink(missing_ok=True)

    def _known(self, name: str, image: str) -> Credentials | None:
        record = self._records.get(image)
        return record.by_name.get(rights.key(name)) if record is not None else None

    def _note(self, name: str, image: str, new: Credentials | None) -> None:
        old = self._records.get(image)
        record = rights.noted(old, image, name, new, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        if record != old:
            _write(self._pulled, image, rights.shown(record))
            self._records[image] = record

    def _done(self, name: str) -> None:
        self._going[name] -= 1
        if self._going[name] <= 0:
            del self._going[name]
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._intents.discard(name)
        (self._pulling / _file(name)).unlink(missing_ok=True)


def _file(name: str) -> str:
    return f"sha256-{hashlib.sha256(name.encode()).hexdigest()}"


def _write(directory: Path, name: str, content: object) -> None:
    replace_file(directory / _file(name), json.dumps(content).encode())


def _read(directory: Path) -> Iterable[dict[str, object]]:
    for path in sorted(directory.glob("sha256-*")):
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError) as problem:
            log.warning("cannot read %s, which is as good as not there: %s", path, problem)
            continue
        if isinstance(found, dict):
            yield found
