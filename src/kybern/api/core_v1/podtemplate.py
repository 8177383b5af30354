"""PodTemplate: a pod that is not there yet, kept on its own."""

from collections.abc import Iterator
from typing import Any

from kybern.api.rules.pods import warnings
from kybern.api.rules.pods.spec import template
from kybern.api.rules.podspec import default_template
from kybern.api.rules.tables import NAME, containers, dig, name, pairs
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed


def _cells(raw: Raw, _now: float) -> list[Any]:
    template = raw.get("template")
    return [name(raw), *containers(template), pairs(dig(template, "metadata", "labels"))]


def _validate(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    yield from template("template", new.get("template") or {})


def _warnings(new: Raw, old: Raw | None) -> Iterator[str]:
    return warnings.template("template", new.get("template"), (old or {}).get("template"))


KIND = Kind(
    group="",
    version="v1",
    kind="PodTemplate",
    plural="podtemplates",
    namespaced=True,
    schema="io.k8s.api.core.v1.PodTemplate",
    singular="podtemplate",
    storage="podtemplates",
    table=Table((NAME, Column("Containers"), Column("Images"), Column("Pod Labels")), _cells),
    rules=Rules(default=default_template, validate=_validate, warnings=_warnings),
    storage_version_hash="LIXB2x4IFpk=",
    generation=wish_changed,
)
