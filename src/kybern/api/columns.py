"""What the columns of tables mean, in upstream's words: texts that clients may show, read when the first table is made."""

import gzip
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

from kybern.machinery.kind import Kind

_ALL = "*"


@lru_cache(maxsize=1)
def _texts() -> Mapping[str, Mapping[str, str]]:
    packed = resources.files("kybern.api").joinpath("data/columns.json.gz").read_bytes()
    found: Mapping[str, Mapping[str, str]] = json.loads(gzip.decompress(packed))
    return found


@lru_cache(maxsize=256)
def descriptions(group: str, plural: str) -> Mapping[str, str]:
    """The texts of a built-in kind's columns by their names."""
    texts = _texts()
    return {**texts[_ALL], **texts.get(f"{group}/{plural}" if group else plural, {})}


def described(kind: Kind) -> Mapping[str, str]:
    """The same; custom kinds say themselves what their columns mean."""
    return {} if kind.custom else descriptions(kind.group, kind.plural)
