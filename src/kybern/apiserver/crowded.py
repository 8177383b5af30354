"""The refusal of a request for which there is no room: upstream's, which is no Status but a line of text."""

from kybern.machinery.errors import Details, TooManyRequests

BODY = b"Too many requests, please try again later.\n"
HEADERS = (
    ("Content-Type", "text/plain; charset=utf-8"),
    ("X-Content-Type-Options", "nosniff"),
    ("Retry-After", "1"),
)


class Crowded(TooManyRequests):
    """``why`` is for counts, and not told to the client; ``headers`` are."""

    def __init__(self, why: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(BODY.decode().strip(), Details(retry_after_seconds=1))
        self.why = why
        self.headers = headers
