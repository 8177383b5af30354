"""The server's pages about itself: /statusz, /flagz and /metrics/slis. Who may read them is RBAC's to say."""

import time
from collections.abc import Mapping

from prometheus_client.exposition import choose_encoder

from kybern.apiserver.config import FLAGS
from kybern.apiserver.paths import Asked, Given, Page
from kybern.daemon import slis, zpages
from kybern.daemon.flags import Values

_PATHS = (
    "/flagz", "/healthz", "/livez", "/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/readyz",
    "/statusz", "/version",
)  # fmt: skip


def pages(values: Values) -> Mapping[str, Page]:
    """The pages by their paths."""
    about = zpages.Pages(FLAGS.name, FLAGS.shown(values), _PATHS)
    return {
        "/statusz": lambda asked: _given(about.statusz(asked.accept, time.time())),
        "/flagz": lambda asked: _given(about.flagz(asked.accept)),
        "/metrics/slis": _slis,
    }


def _given(page: zpages.Page) -> Given:
    return Given(page.body, page.content_type, page.code)


def _slis(asked: Asked) -> Given:
    encode, content_type = choose_encoder(asked.accept)
    return Given(encode(slis.REGISTRY), content_type)
