"""One table of nftables as it shall be, and the input for ``nft -f`` that makes the kernel's as it. Pure.

Only what differs from what was sent is kept beside it: the old value of each thing that was touched since. Input is ordered
so that nothing is named before it is there: sets and chains, elements that go, rules, elements that come. What goes wholly
is sent by itself afterwards (``leftovers``): kernels before 6.2 still see the names in elements that the same transaction
deletes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

FAMILY, NAME = "inet", "kybern-policies"
_TABLE = f"{FAMILY} {NAME}"
_AT_ONCE = 500  # elements in one line


@dataclass(slots=True)
class Table:
    """Sets and maps by name with their declarations, chains with their rules, elements with what stands behind their key.

    ``changes``, ``everything`` and ``leftovers`` take what they give for sent: should it not arrive, send ``everything``.
    """

    sets: dict[str, str] = field(default_factory=dict)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hooks: dict[str, str] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    _old_sets: dict[str, bool] = field(default_factory=dict)
    _old_chains: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    _old_elements: dict[tuple[str, str], str | None] = field(default_factory=dict)
    _gone: dict[str, str] = field(default_factory=dict)

    def put_set(self, name: str, declaration: str) -> None:
        if name not in self.sets:
            self._old_sets.setdefault(name, False)
            self.sets[name] = declaration
            self.elements[name] = {}

    def drop_set(self, name: str) -> None:
        """Not for maps."""
        for key in tuple(self.elements[name]):
            self.drop(name, key)
        self._old_sets.setdefault(name, True)
        del self.sets[name], self.elements[name]

    def put_chain(self, name: str, rules: tuple[str, ...], hook: str = "") -> None:
        """``hook`` is where the kernel calls it; it stays as it was first told."""
        if hook:
            self.hooks[name] = hook
        if self.chains.get(name) != rules:
            self._old_chains.setdefault(name, self.chains.get(name))
            self.chains[name] = rules

    def drop_chain(self, name: str) -> None:
        self._old_chains.setdefault(name, self.chains.pop(name))

    def put(self, name: str, key: str, value: str = "") -> None:
        held = self.elements[name]
        if held.get(key) != value:
            self._old_elements.setdefault((name, key), held.get(key))
            held[key] = value

    def drop(self, name: str, key: str) -> None:
        self._old_elements.setdefault((name, key), self.elements[name].pop(key))

    def changes(self) -> str:
        """From what was sent to what is asked for now; "" for nothing."""
        old = self._old_elements
        go = [
            at for at, was in old.items() if was is not None and at[0] in self.sets and was != self._now(at)
        ]
        come = [at for at, was in old.items() if self._now(at) not in (None, was)]
        rules = {
            name: self.chains[name]
            for name, was in self._old_chains.items()
            if self.chains.get(name, was) != was
        }
        fresh = [name for name in rules if self._old_chains[name] is None]
        found = [_set(name, self.sets[name]) for name in self._added_sets()]
        found += [self._chain(name) for name in fresh]
        found += _elements("delete", ((name, key) for name, key in go))
        found += [f"flush chain {_TABLE} {name}" for name in rules if name not in fresh]
        found += _rules(rules)
        found += _elements("add", ((name, key + self.elements[name][key]) for name, key in come))
        self._note_gone()
        self._sent()
        return _text(found)

    def leftovers(self) -> str:
        """What is named by nothing any more."""
        gone, self._gone = self._gone, {}
        return _text(f"delete {kind} {_TABLE} {name}" for name, kind in gone.items())

    def everything(self) -> str:
        """All of it in place of whatever the kernel has under this name."""
        found = [removal().strip(), f"add table {_TABLE}"]
        found += [_set(name, declared) for name, declared in self.sets.items()]
        found += [self._chain(name) for name in self.chains]
        found += _rules(self.chains)
        found += _elements(
            "add",
            ((name, key + value) for name, held in self.elements.items() for key, value in held.items()),
        )
        self._gone = {}
        self._sent()
        return _text(found)

    def _chain(self, name: str) -> str:
        hook = self.hooks.get(name)
        return f"add chain {_TABLE} {name}" + (f" {{ {hook} }}" if hook else "")

    def _now(self, at: tuple[str, str]) -> str | None:
        name, key = at
        return self.elements.get(name, {}).get(key)

    def _added_sets(self) -> Iterator[str]:
        return (name for name, was in self._old_sets.items() if not was and name in self.sets)

    def _note_gone(self) -> None:
        for name, was in self._old_chains.items():
            if was is not None and name not in self.chains:
                self._gone[name] = "chain"
        for name, was_there in self._old_sets.items():
            if was_there and name not in self.sets:
                self._gone[name] = "set"

    def _sent(self) -> None:
        self._old_sets, self._old_chains, self._old_elements = {}, {}, {}


def removal() -> str:
    """Works whether or not there is such a table."""
    return f"add table {_TABLE}\ndelete table {_TABLE}\n"


def _set(name: str, declared: str) -> str:
    kind, _, rest = declared.partition(" ")
    return f"add {kind} {_TABLE} {name} {rest}"


def _rules(chains: dict[str, tuple[str, ...]]) -> Iterator[str]:
    return (f"add rule {_TABLE} {name} {rule}" for name, rules in chains.items() for rule in rules)


def _elements(verb: str, found: Iterable[tuple[str, str]]) -> Iterator[str]:
    """One statement for many elements of a set: ``nft`` reads it in half the time."""
    by_set: dict[str, list[str]] = {}
    for name, text in found:
        by_set.setdefault(name, []).append(text)
    for name, texts in by_set.items():
        for at in range(0, len(texts), _AT_ONCE):
            yield f"{verb} element {_TABLE} {name} {{ {', '.join(texts[at : at + _AT_ONCE])} }}"


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
