"""Between the store and etcd: values are sealed on the way in, and opened on the way out.

What a key in etcd belongs to is told by its beginning, which is the same for all objects of a resource. A value that
nothing opens is given as an empty one, which no kind can read: the object is answered with an error and passed over in
lists, as any damaged one is. A value that another key than the first has sealed is *stale*: it is written again even when
nothing of the object changes.

The configuration may be exchanged at any time; from then on new values are sealed by its first key.
"""

import contextlib
import logging
from collections.abc import Iterable, Mapping

from kybern.storage.encryption.ciphers import CannotDecrypt
from kybern.storage.encryption.configuration import MARK, Configuration, Rule
from kybern.storage.encryption.kms import Kms

log = logging.getLogger(__name__)

# What upstream keeps beside the API's objects, as it calls them here.
BESIDE = {
    "masterleases": ("", "apiServerIPInfo"),
    "ranges/serviceips": ("", "serviceipallocations"),
    "ranges/servicenodeports": ("", "servicenodeportallocations"),
}


class Values:
    """``resources``: (group, resource) by where it is stored, such as services/specs. ``root`` is where all keys begin.

    A place that is not known is GROUP/RESOURCE of a custom kind.
    """

    def __init__(
        self, configuration: Configuration, resources: Mapping[str, tuple[str, str]], root: str
    ) -> None:
        self._resources = {**BESIDE, **resources}
        self._root = f"{root}/".encode()
        self.configuration = configuration
        self._rules: dict[bytes, Rule | None] = {}

    def use(self, configuration: Configuration) -> None:
        """From now on seal and open by this one."""
        self.configuration = configuration
        self._rules = {}

    @property
    def asks(self) -> bool:
        """Whether values may have to be learned before they are read."""
        return bool(self.configuration.services)

    async def learn(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Have the keys of these values (key in etcd, value) told by their services. Raises ServiceFailed."""
        for key, value in pairs:
            if not value.startswith(MARK):
                continue
            for step in self._rule(key):
                if isinstance(step.way, Kms) and value.startswith(step.prefix):
                    with contextlib.suppress(ValueError):  # who reads it says so
                        await step.way.learn(value[len(step.prefix) :])

    def read(self, key: bytes, value: bytes) -> tuple[bytes, bool]:
        """The plain value, and whether it is stale."""
        rule = self._rule(key)
        if not rule:
            # Nothing is said of it: as if identity were.
            if not value.startswith(MARK):
                return value, False
            log.warning("cannot decrypt %s: its resource is not in the configuration", key.decode())
            return b"", False
        try:
            return _opened(rule, value, key)
        except CannotDecrypt as problem:
            log.warning("cannot decrypt %s: %s", key.decode(), problem)
            return b"", False

    def written(self, key: bytes, value: bytes) -> bytes:
        """What is put into etcd."""
        rule = self._rule(key)
        if not rule or rule[0].way is None:
            return value
        return rule[0].prefix + rule[0].way.seal(value, key)

    def _rule(self, key: bytes) -> Rule:
        """Of a key, remembered by its first part, or by its first two."""
        start = len(self._root)
        end = key.find(b"/", start)
        place = key[:end]
        found = self._rules.get(place, ())
        if found:
            return found
        if place in self._rules and found is not None:
            return found
        return self._found(key, place, end)

    def _found(self, key: bytes, place: bytes, end: int) -> Rule:
        if not key.startswith(self._root) or end < 0:
            return ()
        first = place[len(self._root) :].decode()
        if first in self._resources:
            rule = self._rules[place] = self.configuration.rule(*self._resources[first])
            return rule
        # None: it takes two parts to say what it is.
        self._rules[place] = None
        after = key.find(b"/", end + 1)
        longer = key if after < 0 else key[:after]
        known = self._rules.get(longer)
        if known is not None:
            return known
        second = longer[end + 1 :].decode()
        group, resource = self._resources.get(f"{first}/{second}", (first, second))
        rule = self._rules[longer] = self.configuration.rule(group, resource)
        return rule


def _opened(rule: Rule, value: bytes, key: bytes) -> tuple[bytes, bool]:
    """The plain value, and whether another than the first opened it. Raises CannotDecrypt."""
    problems = []
    marked = value.startswith(MARK)
    for number, step in enumerate(rule):
        if step.way is None:
            if not marked:
                return value, number > 0
        elif value.startswith(step.prefix):
            try:
                if isinstance(step.way, Kms):
                    plain, stale = step.way.opened(value[len(step.prefix) :], key)
                    return plain, stale or number > 0
                return step.way.open(value[len(step.prefix) :], key), number > 0
            except ValueError as problem:
                # Another key of the same name may be the one.
                problems.append(f"{step.prefix.decode()}: {problem}")
    raise CannotDecrypt("; ".join(problems) or _unmatched(value, marked=marked))


def _unmatched(value: bytes, *, marked: bool) -> str:
    if not marked:
        return "it is not encrypted, and identity is none of its providers"
    named = value.split(b":", 5)[2:5] if value.count(b":") >= 5 else []
    return f"no key of the configuration is {b':'.join(named).decode(errors='replace') or 'its own'}"
