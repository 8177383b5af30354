"""Fill Secrets of type kubernetes.io/service-account-token, and delete them with their service account.

Reads Secret, ServiceAccount. Writes Secret (ca.crt, namespace and token in its data; the account's name and uid in its
annotations; deletion), ServiceAccount.secrets (a token that is gone is not listed any more). A key is the name of an
account, or of an account and a Secret that went. What a deletion rests on is asked of the API server, not of the cache.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import Secret, ServiceAccount
from kybern.loop.controller import Action, Controller, Delete, Key, Patch, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

TYPE = "kubernetes.io/service-account-token"
NAME = "kubernetes.io/service-account.name"
UID = "kubernetes.io/service-account.uid"


@dataclass(frozen=True, slots=True)
class State:
    """``account`` None: there is none. ``gone`` is the name of a Secret that the account should not list any more."""

    account: ServiceAccount | None
    secrets: tuple[Secret, ...]
    gone: str
    root_ca: str
    signing_key: str


def observing(settings: Settings) -> Callable[[View, Key], State | None]:
    def observe(view: View, key: Key) -> State | None:
        name, _, gone = key.name.partition("/")
        account = view.get(ServiceAccount, key.namespace, name)
        secrets = tuple(view.index(Secret, "account", f"{key.namespace}/{name}"))
        if gone and (account is None or view.live(Secret, key.namespace, gone) is not None):
            return None
        if any(not fits(secret, account) for secret in secrets):
            account = view.live(ServiceAccount, key.namespace, name)
        return State(account, secrets, gone, settings.root_ca, settings.token_key)

    return observe


def fits(secret: Secret, account: ServiceAccount | None) -> bool:
    """Whether a Secret is for this very account, and not for one of its name that was there before."""
    return account is not None and secret.metadata.annotations.get(UID, "") in {"", account.metadata.uid}


def diff(state: State) -> Iterable[Action]:
    account = state.account
    for secret in state.secrets:
        if secret.metadata.deletion_timestamp is not None:
            continue
        if account is None or not fits(secret, account):
            yield Delete(secret)
        else:
            new = filled(secret, account, state)
            if new != secret:
                yield Patch(secret, new)
    if state.gone and account is not None:
        left = tuple(one for one in account.secrets if one.name != state.gone)
        if left != account.secrets:
            yield Patch(account, replace(account, secrets=left))


def filled(secret: Secret, account: ServiceAccount, state: State) -> Secret:
    """The Secret with everything in it. A token that is there stays."""
    data = dict(secret.data)
    if state.root_ca:
        data["ca.crt"] = b64encode(state.root_ca.encode()).decode()
    if not data.get("namespace"):
        data["namespace"] = b64encode(secret.metadata.namespace.encode()).decode()
    if not data.get("token"):
        data["token"] = b64encode(_token(secret, account, state.signing_key).encode()).decode()
    if data == secret.data:
        return secret
    metadata = secret.metadata
    annotations = {**metadata.annotations, NAME: account.metadata.name, UID: account.metadata.uid}
    return replace(secret, data=data, metadata=replace(metadata, annotations=annotations))


def _token(secret: Secret, account: ServiceAccount, pem: str) -> str:
    # Only imported when somebody makes such a Secret: it costs ten megabytes.
    from kybern.auth.keys import SigningKey  # noqa: PLC0415
    from kybern.auth.legacy_tokens import made  # noqa: PLC0415

    of, key = account.metadata, SigningKey.load(pem.encode())
    return made(of.namespace, of.name, of.uid, secret.metadata.name, key)


def by_account(secret: Secret) -> Iterable[str]:
    """Index: token Secrets by their account."""
    name = secret.metadata.annotations.get(NAME, "")
    if secret.type == TYPE and name:
        yield f"{secret.metadata.namespace}/{name}"


def account_of(secret: Secret, view: View) -> Iterable[Key]:
    for where in by_account(secret):
        namespace, _, name = where.partition("/")
        went = view.get(Secret, namespace, secret.metadata.name) is None
        yield Key(namespace, f"{name}/{secret.metadata.name}" if went else name)


def controller(settings: Settings) -> Controller[State]:
    return Controller(
        "serviceaccount-token-controller",
        ServiceAccount,
        observing(settings),
        diff,
        watches=((Secret, account_of),),
        indexes=((Secret, "account", by_account),),
        component="tokens-controller",
    )
