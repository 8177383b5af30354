"""The ``extenders`` of a KubeSchedulerConfiguration."""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from kybern.api.rules.amounts import extended
from kybern.daemon.flags import duration
from kybern.machinery.causes import invalid
from kybern.machinery.errors import Cause
from kybern.machinery.meta import label_name
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.extender import TIMEOUT, Settings


def read(listed: Sequence[Arguments]) -> tuple[Settings, ...]:
    """What is wrong is told to the Arguments that it stands in."""
    found = tuple(_extender(one) for one in listed)
    binders = sum(1 for one in found if one.bind_verb)
    if binders > 1:
        told = f"found {binders} extenders implementing bind"
        listed[0].wrong(invalid("extenders", told, "only one extender can implement bind"))
    seen: set[str] = set()
    for given, one in zip(listed, found, strict=True):
        for name in sorted(one.resources & seen):
            given.wrong(
                invalid(f"{given.path}.managedResources", name, "duplicate extender managed resource name")
            )
        seen |= one.resources
    return found


def _extender(given: Arguments) -> Settings:
    weight, prioritize = given.integer("weight"), given.text("prioritizeVerb")
    if prioritize and weight <= 0:
        given.wrong(invalid(given.at("weight"), weight, "must have a positive weight applied to it"))
    managed = [
        (one, one.text("name"), one.flag("ignoredByScheduler")) for one in given.children("managedResources")
    ]
    for one, name, _ in managed:
        one.wrong(*_unmanageable(name, one.at("name")))
    tls, name = _tls(given)
    return Settings(
        url=given.text("urlPrefix"),
        filter_verb=given.text("filterVerb"),
        prioritize_verb=prioritize,
        preempt_verb=given.text("preemptVerb"),
        bind_verb=given.text("bindVerb"),
        weight=weight,
        timeout=_seconds(given),
        tls=tls,
        server_name=name,
        knows_nodes=given.flag("nodeCacheCapable"),
        ignorable=given.flag("ignorable"),
        resources=frozenset(name for _, name, _ in managed),
        ignored=frozenset(name for _, name, ignored in managed if ignored),
    )


def _unmanageable(name: str, path: str) -> Iterable[Cause]:
    wrong = tuple(label_name(name, path))
    yield from wrong
    if not wrong and not extended(name):
        yield invalid(path, name, "is an invalid extended resource name")


def _seconds(given: Arguments) -> float:
    told = given.text("httpTimeout")
    try:
        return duration(told) or TIMEOUT if told else TIMEOUT
    except ValueError as problem:
        given.wrong(invalid(given.at("httpTimeout"), told, str(problem)))
        return TIMEOUT


def _tls(given: Arguments) -> tuple[ssl.SSLContext | None, str]:
    """The context, and the name that the server's certificate must bear.

    With HTTPS and no authority named, any certificate will do; upstream's rule (makeTransport).
    """
    own = given.child("tlsConfig")
    insecure, https, name = own.flag("insecure"), given.flag("enableHTTPS"), own.text("serverName")
    files = {key: own.text(key) for key in ("certFile", "keyFile", "caFile")}
    data = {key: _decoded(own, key) for key in ("certData", "keyData", "caData")}
    if not https and "tlsConfig" not in given and not given.text("urlPrefix").startswith("https:"):
        return None, ""
    authority = bool(files["caFile"] or data["caData"])
    if insecure and authority:
        told = "specifying a root certificates file with the insecure flag is not allowed"
        own.wrong(Cause(own.path, "FieldValueInvalid", told))
    context = ssl.create_default_context()
    try:
        if authority:
            context = ssl.create_default_context(
                cafile=files["caFile"] or None, cadata=data["caData"] or None
            )
            # An authority of one's own need not be as complete as a public one's.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        elif https or insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _identify(context, files, data)
    except (OSError, ssl.SSLError) as problem:
        own.wrong(Cause(own.path, "FieldValueInvalid", f"cannot be used: {problem}"))
    return context, name


def _identify(context: ssl.SSLContext, files: dict[str, str], data: dict[str, str]) -> None:
    """Load the certificate to show; ssl takes it from files only."""
    if data["certData"] and data["keyData"]:
        with tempfile.TemporaryDirectory() as directory:
            pair = Path(directory) / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_text(f"{data['certData']}\n{data['keyData']}")
            context.load_cert_chain(pair)
    elif files["certFile"]:
        context.load_cert_chain(files["certFile"], files["keyFile"] or None)


def _decoded(own: Arguments, name: str) -> str:
    try:
        return base64.b64decode(own.text(name), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        own.wrong(invalid(own.at(name), "***", "must be PEM in base64"))
        return ""
