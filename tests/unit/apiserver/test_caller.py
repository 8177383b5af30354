"""How failures to call a webhook are told."""

import pytest

from kybern.apiserver.services.caller import _refused


@pytest.mark.parametrize(
    ("code", "body", "says"),
    [
        (404, b"", "the server could not find the requested resource"),
        (
            500,
            b'say "no"',
            'an error on the server ("say \\"no\\"") has prevented the request from succeeding',
        ),
        (503, b"", 'an error on the server ("unknown") has prevented the request from succeeding'),
        (418, b"", "the server responded with the status code 418 but did not return more information"),
        (401, b"", "the server has asked for the client to provide credentials"),
        (403, b'{"kind":"Status","message":"go away"}', "go away"),
    ],
)
def test_refusals_of_a_webhooks_server_are_told_as_upstreams_client_does(
    code: int, body: bytes, says: str
) -> None:
    assert _refused(code, body) == says
