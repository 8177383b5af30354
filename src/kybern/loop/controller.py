"""The shape of a control loop: observe, diff, act.

``observe`` gathers from the cache what one key needs; ``diff`` is pure and yields actions; the loop (``run.py``) acts.
The loop owns, once, for every controller: watches, owner mapping, the queue (never one key with two workers), back-off,
leader election, metrics, and waiting until its own writes are in its cache.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from kybern.api.autoscaling_v1 import Scale
from kybern.machinery.errors import ApiError
from kybern.machinery.struct import Object


class Key(NamedTuple):
    """Names the object that a controller works on."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong when a key was worked on the last time."""

    action: "Action"
    error: ApiError


@runtime_checkable
class Errand[T](Protocol):
    """A request to something else than the API server, such as a cloud, as data: what it is about, and how it is done.

    It has a time limit of its own, and raises ApiError and nothing else.
    """

    async def run(self) -> T: ...


class View(Protocol):
    """What ``observe`` may read: caches of watched kinds and the time. Everything in it is frozen.

    ``failure`` is what ended the last round on this key, None when all of it succeeded.
    """

    @property
    def now(self) -> datetime: ...

    @property
    def failure(self) -> Failure | None: ...

    def get[T: Object](self, kind: type[T], namespace: str, name: str) -> T | None: ...

    def list[T: Object](self, kind: type[T], namespace: str = "") -> Iterator[T]: ...

    def owned[T: Object](self, kind: type[T], owner: Object) -> Iterator[T]:
        """Objects of a kind whose controlling owner reference names ``owner`` by uid."""
        ...

    def index[T: Object](self, kind: type[T], name: str, value: str) -> Iterator[T]:
        """Objects found by an index that the controller declared, e.g. pods by node."""
        ...

    def arrived(self, of: Object) -> datetime:
        """When the cache got this version of an object, by our own clock: clocks of machines cannot be compared."""
        ...

    def kinds(self) -> Iterable[type[Object]]:
        """Every kind that discovery lists and that can be listed, watched and deleted (see Controller.everything)."""
        ...

    def live[T: Object](self, kind: type[T], namespace: str, name: str) -> T | None:
        """What the API server has now, whatever the cache says: for decisions that a lagging watch would get wrong.

        The loop asks, and then observes anew; so nothing may be done before it.
        """
        ...

    def review[T: Object](self, question: T) -> T:
        """The API server's answer to a review, such as a SubjectAccessReview."""
        ...

    def scale(self, api_version: str, kind: str, namespace: str, name: str) -> Scale | str | None:
        """The size of an object of any kind; None when there is no such object, or why its kind has no size."""
        ...

    def answer(self, path: str) -> Any:
        """The JSON that the API server answers to a GET, for APIs that have no types here; or the ApiError."""
        ...

    def live_list[T: Object](self, kind: type[T], namespace: str) -> tuple[T, ...]:
        """The same, for all objects of a kind in a namespace."""
        ...

    def told[T](self, errand: Errand[T]) -> T:
        """What an errand brings back. It must be hashable, and change nothing: it may be run more than once."""
        ...


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object. An object that is already there is no error. generateName is allowed."""

    object: Object


@dataclass(frozen=True, slots=True)
class Patch:
    """Change what differs between ``old`` and ``new``; a Conflict when the object is not at old's version any more."""

    old: Object
    new: Object


@dataclass(frozen=True, slots=True)
class PatchStatus:
    """The same, on the status subresource."""

    old: Object
    new: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an object (only the one with this uid). An object that is gone is no error."""

    object: Object
    propagation: str = "Background"
    grace_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Emit:
    """An event about an object. ``type`` is Normal or Warning."""

    about: Object
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Again:
    """Look at this key again after so many seconds, whatever happens in between."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """A request that the others cannot express: method, path, JSON body. The answer is not looked at beyond its success.

    ``patch`` says of what sort the body of a PATCH is: merge, strategic, json or apply.
    """

    method: str
    path: str
    body: Any = None
    patch: str = ""


@dataclass(frozen=True, slots=True)
class Rescale:
    """Give an object of any kind another size: the Scale as it was read, and the number of replicas that it shall have."""

    api_version: str
    kind: str
    scale: Scale
    replicas: int


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Have an object stored anew as it is, in whatever form the server stores it today.

    Somebody else's write does that as well, and what is gone needs it no more: neither is an error. ``object`` may be
    metadata only (Partial); ``manager`` is who applies nothing to it.
    """

    object: Object
    manager: str


@dataclass(frozen=True, slots=True)
class Send:
    """Have something changed elsewhere than in the API. What it brings back, the errand keeps."""

    errand: Errand[Any]


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of the controller's, by its name in ``metrics``: counted when what was to be done before it is done."""

    metric: str
    labels: tuple[str, ...] = ()
    value: float = 1.0


type Action = Create | Patch | PatchStatus | Delete | Emit | Again | Call | Rescale | Rewrite | Send | Measure


@dataclass(frozen=True, slots=True)
class WhenChanged:
    """What maps objects to keys (``watches``), asked only for changes of a part of them: heartbeats wake nobody then.

    Objects that come or go are always asked for.
    """

    part: Callable[[Any], Any]
    wakes: Callable[[Any, View], Iterable[Key]]

    def __call__(self, item: Any, view: View) -> Iterable[Key]:
        return self.wakes(item, view)

    def is_about(self, item: Any, old: Any) -> bool:
        """Whether a change from ``old`` to ``item`` counts."""
        return bool(self.part(item) != self.part(old))


@dataclass(frozen=True, slots=True)
class Controller[S]:
    """One control loop.

    ``name`` is upstream's (``--controllers`` switches by it). ``component`` is the service account in kube-system with
    whose rights it acts, and the source of its events; empty means the name. ``kind`` is what keys name. ``owns`` are
    kinds whose controller reference points at it: their changes wake the owner. ``watches`` maps other kinds to a
    function from an object to the keys it wakes, see also ``WhenChanged``. ``indexes`` maps a kind to named functions
    from an object to index values; the same name means the same function everywhere. ``diff`` may raise ApiError never:
    it is pure. ``every`` seconds, if set, wakes all keys. ``everything``, if set, has the loop watch the metadata of
    every kind there is, and maps an object of any kind to the keys it wakes (``kind`` may then be ``Partial``: keys are
    what that function makes). ``told``, if set, gives what a round adds to the metrics when it is over: from its state,
    its actions, whether nothing failed, and its seconds.
    """

    name: str
    kind: type[Object]
    observe: Callable[[View, Key], S | None]
    diff: Callable[[S], Iterable[Action]]
    owns: tuple[type[Object], ...] = ()
    watches: tuple[tuple[type[Object], Callable[[Any, View], Iterable[Key]]], ...] = ()
    indexes: tuple[tuple[type[Object], str, Callable[[Any], Iterable[str]]], ...] = ()
    workers: int = 5
    every: float = 0.0
    component: str = ""
    source: str = ""
    everything: Callable[[Any, View], Iterable[Key]] | None = None
    told: Callable[[S, Sequence[Action], bool, float], Iterable[Measure]] | None = None

    @property
    def account(self) -> str:
        """The service account that it acts as."""
        return self.component or self.name

    @property
    def events_from(self) -> str:
        """The source component of its events."""
        return self.source or self.account
