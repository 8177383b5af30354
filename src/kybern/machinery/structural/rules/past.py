"""What was in the place of a value before, as far as that can be told, and whether it was the same.

Fields and keys have one past each. Items of a list have one if the list tells them apart by keys; the rest of a list has
the list's own: what is in a list that has not changed has not changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Optional


@dataclass(frozen=True, slots=True)
class Past:
    """``known`` says that the place itself had a value before; ``above`` is the nearest place that had one."""

    new: Any
    old: Any
    known: bool = True
    above: Optional["Past"] = None
    _VERSION: ClassVar[tuple[str, str]] = ("apiVersion", "kind")

    def same(self) -> bool:
        if self.known:
            return bool(self.new == self.old)
        return self.above is not None and self.above.same()

    def key(self, name: str) -> "Past":
        if not self.known:
            return self
        if self.above is None and name in self._VERSION:
            return NOWHERE  # both are brought to one version before
        inside = isinstance(self.old, Mapping) and isinstance(self.new, Mapping) and name in self.old
        if not inside:
            return Past(None, None, known=False, above=self)
        return Past(self.new[name], self.old[name], above=self)

    def item(self, index: int, keys: tuple[str, ...]) -> "Past":
        if not self.known:
            return self
        item = self.new[index]
        old = self.keyed(item, self.old, keys)
        return Past(None, None, known=False, above=self) if old is None else Past(item, old, above=self)

    @staticmethod
    def keyed(item: Any, old: Any, keys: tuple[str, ...]) -> Any:
        """The old item with the same keys, if there is one."""
        if not keys or not isinstance(old, list) or not isinstance(item, Mapping):
            return None
        if any(not isinstance(item.get(key), str | int | float) for key in keys):
            return None
        wanted = [item[key] for key in keys]
        found = (each for each in old if isinstance(each, Mapping))
        return next((each for each in found if [each.get(key) for key in keys] == wanted), None)


NOWHERE = Past(None, None, known=False)
