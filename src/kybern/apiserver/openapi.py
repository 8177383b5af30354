"""OpenAPI as it is served: an index, a document a group and version (v3), and everything in one (v2).

Documents follow from the kinds and the schemas. Each is made when it is first asked for and kept as bytes with its
hash; the index has the hashes in its URLs, so clients may keep what they have read for ever.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from kybern.apiserver import openapi_gnostic, openapi_v2, openapi_v3
from kybern.apiserver.aggregation import lessons
from kybern.apiserver.aggregation.lessons import Lesson
from kybern.apiserver.crd import documents as custom_documents
from kybern.apiserver.crd.kinds import public
from kybern.apiserver.openapi_operations import META, Path, group_id, paths, prefix_of, simple, tag_of
from kybern.apiserver.paths import Asked, Given, not_found
from kybern.machinery import codec
from kybern.machinery.kind import Kind
from kybern.machinery.schema import Schema

JSON = "application/json"
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
V2_PROTOBUF_OLD = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V3_PROTOBUF = "application/com.github.proto-openapi.spec.v3"
FOREVER = {"Cache-Control": "public, immutable", "Expires": "Thu, 31 Dec 2099 23:59:59 GMT"}
NO_CACHE = {"Cache-Control": "no-cache, private"}


@dataclass(frozen=True, slots=True)
class Document:
    """Bytes and what identifies them."""

    body: bytes
    media: str = JSON

    @property
    def hash(self) -> str:
        return hashlib.sha512(self.body).hexdigest()[:128].upper()


class Documents:
    """All documents of one set of kinds."""

    def __init__(self, kinds: Iterable[Kind], definitions: Mapping[str, Any]) -> None:
        self._built_in = tuple(kinds)
        self._own = definitions
        self.kinds = self._built_in
        self.definitions = definitions
        self._made: dict[str, Document] = {}
        self._others: dict[str, Lesson] = {}
        # Of custom kinds: which form of their schema is shown.
        self._revisions: dict[tuple[str, str], str] = {}

    def follow(self, custom: Iterable[Kind]) -> None:
        """Custom kinds have changed: what does not speak of them stays made."""
        known = {prefix_of(kind.group, kind.version)[1:] for kind in self._built_in}
        added: dict[str, Any] = {}
        shown = []
        for kind in custom:
            name = public(kind.group, kind.version, kind.kind)
            added[name] = Schema.load().definitions[kind.schema]
            added[f"{name}List"] = custom_documents.listed(kind, name)
            shown.append(replace(kind, schema=name))
            self._revisions[kind.api_version, kind.plural] = kind.schema
        self.kinds = (*self._built_in, *shown)
        self.definitions = {**self._own, **added}
        self._made = {name: made for name, made in self._made.items() if name in known}
        for name in ("sources", "index", "_hashes", "_v2"):
            self.__dict__.pop(name, None)

    def join(self, others: Mapping[str, Lesson]) -> None:
        """What aggregated servers say has changed."""
        self._others = dict(others)
        for media in (JSON, V2_PROTOBUF):
            self._made.pop(media, None)
        for name in ("index", "_v2"):
            self.__dict__.pop(name, None)

    @cached_property
    def sources(self) -> Mapping[str, Mapping[str, Path]]:
        """What each v3 document describes, by its name in the index."""
        found: dict[str, Mapping[str, Path]] = {
            ".well-known/openid-configuration": simple(
                "/.well-known/openid-configuration/",
                "getServiceAccountIssuerOpenIDConfiguration",
                "WellKnown",
                "",
            ),
            "api": simple("/api/", "getCoreAPIVersions", "core", f"{META}.APIVersions"),
            "apis": simple("/apis/", "getAPIVersions", "apis", f"{META}.APIGroupList"),
            "openid/v1/jwks": simple("/openid/v1/jwks/", "getServiceAccountIssuerOpenIDKeyset", "openid", ""),
            "version": simple(
                "/version/", "getCodeVersion", "version", "io.k8s.apimachinery.pkg.version.Info"
            ),
        }
        for kind in self.kinds:
            if kind.group:
                name = f"apis/{kind.group}"
                group = group_id(kind.group)
                found[name] = simple(
                    f"/{name}/", f"get{group}APIGroup", tag_of(kind.group), f"{META}.APIGroup"
                )
            prefix = prefix_of(kind.group, kind.version)
            resources = simple(
                f"{prefix}/",
                f"get{group_id(kind.group, kind.version)}APIResources",
                tag_of(kind.group, kind.version),
                f"{META}.APIResourceList",
            )
            own = found.get(prefix[1:], resources)
            found[prefix[1:]] = {**own, **paths(kind, self.definitions)}
        return dict(sorted(found.items()))

    def v3(self, name: str) -> Document | None:
        """The document of ``api/v1``, ``apis/apps/v1`` and so on."""
        other = self._others.get(name)
        if other is not None:
            return Document(other.v3) if other.v3 else None
        made = self._made.get(name)
        if made is None and (source := self.sources.get(name)) is not None:
            names = (f"{META}.{kind}" for kind in ("WatchEvent", "Status")) if len(source) > 1 else ()
            document = openapi_v3.document(source, self.definitions, names)
            made = self._made[name] = Document(codec.encode_json(document))
        return made

    @cached_property
    def _hashes(self) -> dict[str, str]:
        """Of each v3 document. They stand for what is served, so the documents need not be made for them."""
        facts: dict[str, list[str]] = {}
        for kind in self.kinds:
            revision = self._revisions.get((kind.api_version, kind.plural), "")
            fact = f"{kind.api_version}/{kind.kind}/{kind.subresources}/{kind.verbs}/{revision}"
            for name in (prefix_of(kind.group, kind.version)[1:], f"apis/{kind.group}"):
                facts.setdefault(name, []).append(fact)
        return {
            name: hashlib.sha512("\n".join([name, *sorted(facts.get(name, ()))]).encode()).hexdigest().upper()
            for name in self.sources
        }

    @cached_property
    def index(self) -> Document:
        """Where each v3 document is."""
        paths = {name: {"serverRelativeURL": _place(name, own)} for name, own in self._hashes.items()}
        for name in self._others:
            paths.pop(name, None)
        paths |= lessons.index(self._others)
        return Document(codec.encode_json({"paths": paths}), "text/plain; charset=utf-8")

    @cached_property
    def _v2(self) -> dict[str, Any]:
        every = {path: item for source in self.sources.values() for path, item in source.items()}
        return lessons.joined(openapi_v2.document(every, self.definitions, ()), self._others.values())

    def v2(self, *, protobuf: bool = False) -> Document:
        """Everything, as JSON or as gnostic's protobuf."""
        media = V2_PROTOBUF if protobuf else JSON
        made = self._made.get(media)
        if made is None:
            body = openapi_gnostic.encode(self._v2) if protobuf else codec.encode_json(self._v2)
            made = self._made[media] = Document(body, media)
        return made

    def page(self, asked: Asked) -> Given:
        """What to answer for a path below /openapi/."""
        path, known = asked.path, asked.headers.get("If-None-Match", "")
        if path == "/openapi/v2":
            return self._page_v2(asked.accept, known)
        if path in {"/openapi/v3", "/openapi/v3/"}:
            return _reply(self.index, known, NO_CACHE)
        if not path.startswith("/openapi/v3/"):
            return not_found()
        return self._page_v3(path.removeprefix("/openapi/v3/"), asked, known)

    def _page_v3(self, name: str, asked: Asked, known: str) -> Given:
        """One document. Who asks for a former one is sent to the present one."""
        found = self.v3(name)
        if found is None:
            return Given(b"", "", 404)
        if asked.accept and not any(_takes(part) for part in asked.accept.split(",")):
            return Given(b"", "", 406)
        wanted = asked.query.get("hash")
        present = self._hashes.get(name, wanted) if name not in self._others else wanted
        if wanted and present and wanted != present:
            place = _place(name, present)
            moved = f'<a href="{place}">Moved Permanently</a>.\n\n'
            return Given(moved.encode(), "text/html; charset=utf-8", 301, {"Location": place})
        return _reply(found, known, FOREVER if wanted else NO_CACHE)

    def _page_v2(self, accept: str, known: str) -> Given:
        for wanted in accept.split(",") if accept else [JSON]:
            media = wanted.partition(";")[0].strip()
            if media in {V2_PROTOBUF, V2_PROTOBUF_OLD}:
                return _reply(self.v2(protobuf=True), known, NO_CACHE)
            if media in {JSON, "application/*", "*/*"}:
                return _reply(self.v2(), known, NO_CACHE)
        return Given(b"", "", 406)


def _place(name: str, own: str) -> str:
    return f"/openapi/v3/{name}?hash={own}"


def _takes(part: str) -> bool:
    """Whether a clause of an Accept header is for a v3 document; those that prefer protobuf take JSON, too."""
    media = part.partition(";")[0].strip()
    return media in {JSON, "application/*", "*/*", "*"} or media.startswith(V3_PROTOBUF)


def _reply(document: Document, known: str, caching: Mapping[str, str]) -> Given:
    tag = f'"{document.hash}"'
    headers = {"Etag": tag, "Vary": "Accept", **caching}
    if known == tag:
        return Given(b"", document.media, 304, headers)
    return Given(document.body, document.media, headers=headers)
