"""Which form of an answer a client accepts: media type, and the object itself, its metadata, or a table.

The words of refusals are upstream's, which come from two places: a media type that is not known at all is refused
before the request is looked at, an unknown form of a known one after it.
"""

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


PLAIN = Form()
_seen: dict[tuple[str, bool], Form] = {}


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


def _fits(clause: _Clause, media: str, *, shapes: bool) -> bool:
    shape = clause.params.get("as", "")
    if not shape:
        return True
    if not shapes or shape not in _FORMS or (shape == "Table" and media == PROTOBUF):
        return False
    return clause.params.get("g") == "meta.k8s.io" and clause.params.get("v") in _META_VERSIONS


def negotiate(accept: str, *, streams: bool = False, shapes: bool = True) -> Form:
    """The form to answer in. ``streams``: the path may also be watched; ``shapes``: tables and metadata may be asked for.

    JSON is preferred over protobuf of the same weight: it lies there encoded.
    """
    if not accept or accept in ("*/*", JSON):
        return PLAIN
    key = (accept, shapes)
    found = _seen.get(key)
    if found is None:
        found = _negotiated(accept, streams=streams, shapes=shapes)
        if len(_seen) < 1000:
            _seen[key] = found
    return found


def without_protobuf(accept: str) -> str:
    """What is left for kinds that have no protobuf form. Raises NotAcceptable when nothing is."""
    clauses = [part for part in accept.split(",") if part.partition(";")[0].strip() != PROTOBUF]
    if not clauses:
        raise unknown_form((JSON, YAML))
    return ",".join(clauses)


def _negotiated(accept: str, *, streams: bool, shapes: bool) -> Form:
    clauses = _clauses(accept)
    if not any(_matches(clause.media, media) for clause in clauses for media in KNOWN):
        raise unknown_media(KNOWN + STREAMS if streams else KNOWN)
    fitting = [
        (clause, media)
        for clause in clauses
        for media in KNOWN
        if _matches(clause.media, media) and _fits(clause, media, shapes=shapes)
    ]
    if not fitting:
        raise unknown_form(KNOWN)
    best = fitting[0]
    if best[1] == PROTOBUF:
        best = next((pair for pair in fitting if pair[1] == JSON and pair[0].weight == best[0].weight), best)
    clause, media = best
    pretty = clause.params.get("pretty", "") in ("1", "true")
    return Form(media, clause.params.get("as", ""), clause.params.get("v", "v1"), pretty)
