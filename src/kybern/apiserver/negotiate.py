"""Which form of an answer a client accepts: media type, and the object itself, its metadata, or a table.

The words of refusals are upstream's, which come from two places: a media type that is not known at all is refused
before the request is looked at, an unknown form of a known one after it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kybern.machinery.errors import Details, NotAcceptable

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
KNOWN = (JSON, YAML, PROTOBUF)
STREAMS = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
_FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_META_VERSIONS = ("v1", "v1beta1")


@dataclass(frozen=True, slots=True)
class Form:
    """``shape`` is empty for the object itself; ``version`` that of meta.k8s.io for the others."""

    media: str = JSON
    shape: str = ""
    version: str = "v1"
    pretty: bool = False

    @property
    def stream(self) -> str:
        """The content type of a watch."""
        return f"{self.media};stream=watch" if self.media == PROTOBUF else self.media


PLAIN = Form()
_YES = ("1", "t", "T", "TRUE", "true", "True")
_PEOPLE = ("curl", "Wget", "Mozilla/5.0")
_seen: dict[tuple[str, str], Form] = {}


@dataclass(frozen=True, slots=True)
class _Clause:
    media: str
    weight: float
    params: dict[str, str]


def _clauses(accept: str) -> list[_Clause]:
    found = []
    for part in accept.split(","):
        media, *rest = (piece.strip() for piece in part.split(";"))
        params = dict(piece.split("=", 1) for piece in rest if "=" in piece)
        try:
            weight = float(params.pop("q", "1"))
        except ValueError:
            weight = 1.0
        found.append(_Clause(media, weight, params))
    return sorted(found, key=lambda clause: (-clause.weight, _breadth(clause.media)))


def _breadth(media: str) -> int:
    return 2 if media == "*/*" else 1 if media.endswith("/*") else 0


def _matches(clause: str, media: str) -> bool:
    return clause in (media, "*/*") or (clause.endswith("/*") and media.startswith(clause[:-1]))


def unknown_media(offered: tuple[str, ...]) -> NotAcceptable:
    shown = ", ".join(offered)
    return NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {shown}", Details())


def unknown_form(offered: tuple[str, ...]) -> NotAcceptable:
    return NotAcceptable(f"only the following media types are accepted: {', '.join(offered)}")


def _fits(clause: _Clause, media: str, *, shapes: bool, plain: tuple[str, ...] = KNOWN) -> bool:
    stream = clause.params.get("stream", "")
    if stream and (stream != "watch" or media == YAML):
        return False
    if not any(clause.params.get(key) is not None for key in ("as", "g", "v")):
        return media in plain
    shape = clause.params.get("as", "")
    if not shapes or shape not in _FORMS or (shape == "Table" and media == PROTOBUF):
        return False
    return clause.params.get("g") == "meta.k8s.io" and clause.params.get("v") in _META_VERSIONS


def negotiate(accept: str, *, streams: bool = False, shapes: bool = True) -> Form:
    """The form to answer in. ``streams``: the path may also be watched; ``shapes``: tables and metadata may be asked for.

    Of several media types of the same weight that is taken which the client names first.
    """
    if not accept or accept in ("*/*", JSON):
        return PLAIN
    return _kept(
        accept, "shapes" if shapes else "", lambda: _negotiated(accept, streams=streams, shapes=shapes)
    )


def for_custom(accept: str) -> Form:
    """The same for objects of custom kinds: they have no protobuf form, but their metadata has."""
    if not accept or accept in ("*/*", JSON):
        return PLAIN
    return _kept(accept, "custom", lambda: _fitting(_clauses(accept), shapes=True, plain=(JSON, YAML)))


def _kept(accept: str, which: str, decide: Callable[[], Form]) -> Form:
    """Clients say the same again and again."""
    found = _seen.get((accept, which))
    if found is None:
        found = decide()
        if len(_seen) < 1000:
            _seen[accept, which] = found
    return found


def _negotiated(accept: str, *, streams: bool, shapes: bool) -> Form:
    clauses = _clauses(accept)
    if not any(_matches(clause.media, media) for clause in clauses for media in KNOWN):
        raise unknown_media(KNOWN + STREAMS if streams else KNOWN)
    return _fitting(clauses, shapes=shapes)


def _fitting(clauses: list[_Clause], *, shapes: bool, plain: tuple[str, ...] = KNOWN) -> Form:
    for clause in clauses:
        for media in KNOWN:
            if _matches(clause.media, media) and _fits(clause, media, shapes=shapes, plain=plain):
                params = clause.params
                pretty = params.get("pretty", "") in ("1", "true")
                return Form(media, params.get("as", ""), params.get("v", "v1"), pretty)
    raise unknown_form(KNOWN)


def indented(query: Mapping[str, str], agent: str) -> bool:
    """Whether JSON is for people to read: they say so, or use what people use (upstream's list)."""
    said = query.get("pretty", "")
    return said in _YES if said else agent.startswith(_PEOPLE)


def aggregated(accept: str) -> str:
    """The media type in which all of discovery is wanted as one document; empty when that is not asked for."""
    for clause in _clauses(accept):
        wanted = tuple(clause.params.get(key) for key in ("g", "v", "as"))
        if wanted == ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList"):
            for media in KNOWN:
                if _matches(clause.media, media):
                    return media
    return ""
