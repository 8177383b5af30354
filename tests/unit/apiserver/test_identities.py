"""As whom the server calls webhooks."""

from pathlib import Path

import pytest
import yaml

from kybern.apiserver.services.identities import (
    NOBODY,
    Identities,
    Identity,
    admission_settings,
    of_admission,
)
from kybern.daemon.run import Fatal

EXACT, SHORT, STARRED, EVERY, CURRENT = (Identity(token=name) for name in ("e", "s", "st", "all", "now"))


@pytest.mark.parametrize(
    ("users", "target", "found"),
    [
        ({}, "h.n.svc:443", NOBODY),
        ({"h.n.svc:443": EXACT, "h.n.svc": SHORT, "*": EVERY}, "h.n.svc:443", EXACT),
        ({"h.n.svc": SHORT, "*": EVERY}, "h.n.svc:443", SHORT),
        ({"h.n.svc": SHORT}, "h.n.svc:8443", NOBODY),
        ({"*.n.svc:8443": STARRED, "*": EVERY}, "h.n.svc:8443", STARRED),
        ({"*.svc": STARRED, "*": EVERY}, "h.n.svc:443", STARRED),
        ({"*": EVERY, "now": CURRENT}, "other:443", EVERY),
        ({"now": CURRENT}, "other:443", CURRENT),
    ],
)
def test_users_are_looked_up_in_upstreams_order(
    users: dict[str, Identity], target: str, found: Identity
) -> None:
    assert Identities(users, "now").of(target) == found


def test_an_identity_goes_into_a_header(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("fresh\n")
    assert Identity(token="t").headers() == {"Authorization": "Bearer t"}
    assert Identity(token_file=str(file)).headers() == {"Authorization": "Bearer fresh"}
    assert Identity(username="u", password="p").headers() == {"Authorization": "Basic dTpw"}
    assert NOBODY.headers() == {}


def test_the_file_of_the_flag_names_a_kubeconfig(tmp_path: Path) -> None:
    users = [{"name": "*", "user": {"token": "t"}}]
    (tmp_path / "kube").write_text(yaml.safe_dump({"kind": "Config", "users": users}))
    plugin = {
        "name": "ValidatingAdmissionWebhook",
        "configuration": {"kind": "WebhookAdmissionConfiguration", "kubeConfigFile": "kube"},
    }
    path = tmp_path / "admission"
    path.write_text(yaml.safe_dump({"kind": "AdmissionConfiguration", "plugins": [plugin]}))

    assert of_admission(str(path)).of("h:443") == Identity(token="t")
    assert of_admission("").of("h:443") == NOBODY


def test_a_file_that_is_none_ends_the_server_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="absent: No such file"):
        of_admission(str(tmp_path / "absent"))
    other = tmp_path / "other"
    other.write_text("kind: Else")
    with pytest.raises(Fatal, match="is not an AdmissionConfiguration"):
        of_admission(str(other))


def test_the_file_tells_plugins_their_settings_inside_or_beside(tmp_path: Path) -> None:
    (tmp_path / "limits").write_text(yaml.safe_dump({"limits": [1]}))
    plugins = [
        {"name": "A", "path": "limits"},
        {"name": "B", "configuration": {"x": 1}},
        {"name": "C", "configuration": {"y": 1}},
        {"name": "D"},
    ]
    path = tmp_path / "admission"
    path.write_text(yaml.safe_dump({"kind": "AdmissionConfiguration", "plugins": plugins}))

    assert admission_settings(str(path), {"A", "B", "D"}) == {"A": {"limits": [1]}, "B": {"x": 1}, "D": {}}
    assert admission_settings("", {"A"}) == {}
