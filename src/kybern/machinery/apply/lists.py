"""Lists whose items are told apart by what they hold."""

from collections.abc import Iterator, Mapping
from typing import Any

from kybern.machinery.apply import sets
from kybern.machinery.apply.sets import LEAF, Set
from kybern.machinery.apply.types import ITSELF, Diff, Type

_PLAIN = frozenset({str, int, type(None)})
_REMEMBERED = 1000
"""Names of items, of each list; the same few come again and again."""


class Unkeyed(ValueError):
    """An item of a list that nothing tells apart from others: no set can name it."""


class Items(Type):
    """A list whose items are told apart by a key or, without keys, by their value.

    Items that are there twice are one member, without anything below it.
    """

    def __init__(
        self, item: Type, keys: tuple[str, ...] = (), defaults: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__("array")
        self.item = item
        self.keys = tuple(sorted(keys))
        self.defaults = defaults or {}
        self._known: dict[Any, str] = {}

    def element(self, item: Any) -> str:
        """The path element of an item."""
        if self.keys and item.__class__ is dict:
            found = tuple(item.get(key, self.defaults.get(key)) for key in self.keys)
            plain = _PLAIN.issuperset(map(type, found))
            known = self._known.get(found) if plain else None
            if known is not None:
                return known
            named = {key: value for key, value in zip(self.keys, found, strict=True) if value is not None}
            if named:
                known = sets.key_element(named)
                if plain and len(self._known) < _REMEMBERED:
                    self._known[found] = known
                return known
        missing = self._unkeyed(item)
        if missing:
            raise Unkeyed(missing)
        return sets.value_element(item)

    def indexed(self, value: Any) -> dict[str, list[Any]]:
        """The items by their element, in order."""
        found: dict[str, list[Any]] = {}
        for item in value or ():
            found.setdefault(self.element(item), []).append(item)
        return found

    def added(self, value: Any) -> Set:
        if not value:
            return LEAF
        found: dict[str, Set] = {".": LEAF}
        for element, items in self.indexed(value).items():
            found[element] = self.item.added(items[0]) if len(items) == 1 else LEAF
        return found

    def owned(self, value: Any) -> Set | None:
        found: dict[str, Set] = {}
        for element, items in self.indexed(value).items():
            below = self.item.owned(items[0]) if len(items) == 1 else None
            found[element] = {**ITSELF, **below} if below else LEAF
        return found or None

    def diff(self, old: Any, new: Any) -> Diff:
        if not old and not new:
            return (None, None) if old == new else (LEAF, None)
        changed: dict[str, Set] = {}
        gone: dict[str, Set] = {}
        before, after = self.indexed(old), self.indexed(new)
        for element in {**before, **after}:
            more, less = self._item_diff(before.get(element, []), after.get(element, []))
            if more is not None:
                changed[element] = more
            if less is not None:
                gone[element] = less
        return changed or None, gone or None

    def _item_diff(self, before: list[Any], after: list[Any]) -> Diff:
        if before == after:
            return None, None
        if len(before) == 1 and len(after) == 1:
            return self.item.diff(before[0], after[0])
        if len(before) > 1 and len(after) > 1:
            return LEAF, None
        return self._side(after), self._side(before)

    def _side(self, items: list[Any]) -> Set | None:
        if not items:
            return None
        return self.item.added(items[0]) if len(items) == 1 else LEAF

    def merged(self, old: Any, new: Any) -> Any:
        if not old:
            return new
        if not new:
            return old
        return list(self._woven(old, new))

    def _woven(self, old: list[Any], new: list[Any]) -> Iterator[Any]:
        """Old items in their places, new ones in the order of who applies; items of both follow the latter."""
        left = [self.element(item) for item in old]
        right = [self.element(item) for item in new]
        before, after = self.indexed(old), dict(zip(right, new, strict=True))
        shared = iter([element for element in right if element in before])
        awaited = next(shared, None)
        done: set[str] = set()
        at = place = 0
        while at < len(left) or place < len(right):
            if at < len(left):
                element = left[at]
                if element not in after:
                    yield old[at]
                    at += 1
                    continue
                if awaited not in (None, element):
                    # It comes later, or was taken already.
                    at += 1
                    continue
                if element in done:
                    at += 1
            if place == len(right):
                continue
            element = right[place]
            place += 1
            done.add(element)
            yield self._joined(before.get(element, []), after[element])
            if element == awaited:
                awaited = next(shared, None)

    def _joined(self, before: list[Any], item: Any) -> Any:
        return self.item.merged(before[0], item) if len(before) == 1 else item

    def removed(self, value: Any, fields: Set) -> Any:
        if not value or value.__class__ is not list:
            return None
        found = []
        for item in value:
            below = fields.get(self.element(item))
            if below is None:
                found.append(item)
            elif not sets.member(below):
                found.append(self.item.removed(item, below))
        return found or None

    def below(self, element: str) -> Type | None:
        return self.item

    def wrong(self, value: Any, path: str) -> Iterator[str]:
        if value is None:
            return
        if value.__class__ is not list:
            yield from super().wrong(value, path)
            return
        seen: set[str] = set()
        for at, item in enumerate(value):
            missing = self._unkeyed(item)
            if missing:
                yield f"{path}: element {at}: {missing}"
                continue
            element = self.element(item)
            if element in seen:
                yield f"{path}: duplicate entries for key {sets.shown(element)}"
            seen.add(element)
            yield from self.item.wrong(item, path + sets.shown(element))

    def _unkeyed(self, item: Any) -> str:
        if not self.keys:
            what = {type(None): "explicit null", dict: "map type"}.get(type(item), "")
            article = "an" if item is None else "a"
            return f"associative list without keys has an element that's {article} {what}" if what else ""
        if item.__class__ is not dict:
            what = "a null element" if item is None else "non-map elements"
            return f"associative list with keys may not have {what}"
        if any(key in item or key in self.defaults for key in self.keys):
            return ""
        keys = " ".join(f'"{key}"' for key in self.keys)
        return (
            f"associative list with keys has an element that omits all key fields [{keys}] "
            "(and doesn't have default values for any key fields)"
        )
