"""What the name of an image may be, and what it means. Pure; the grammar is that of github.com/distribution/reference."""

import re

HUB = "index.docker.io"

_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_PART}(?:\.{_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"\w[\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_NAME = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_PATH}(?:/{_PATH})*)(?P<tag>:{_TAG})?(?P<digest>@{_DIGEST})?", re.ASCII
)
_LONGEST = 255


class InvalidName(ValueError):
    """No image can be called so; the message is upstream's."""


def with_tag(image: str) -> str:
    """The image with its tag: latest where it names none."""
    last = image.rsplit("/", 1)[-1]
    return image if "@" in last or ":" in last else f"{image}:latest"


def checked(image: str) -> str:
    """The image with its tag; raises InvalidName."""
    problem = _problem(image)
    if problem:
        raise InvalidName(f'couldn\'t parse image name "{image}": {problem}')
    return with_tag(image)


def _problem(image: str) -> str:
    if re.fullmatch(r"[a-f0-9]{64}", image):
        return f"invalid repository name ({image}), cannot specify 64-byte hexadecimal strings"
    first, slash, rest = image.partition("/")
    domain = slash and (re.search("[.:]", first) or first == "localhost" or first.lower() != first)
    remote = rest if domain else image if slash else f"library/{image}"
    name = re.split("[:@]", remote, maxsplit=1)[0]
    if name.lower() != name:
        return f"invalid reference format: repository name ({name}) must be lowercase"
    found = _NAME.fullmatch(image)
    if found is None:
        return "invalid reference format"
    if len(found["name"]) > _LONGEST:
        return f"repository name must not be more than {_LONGEST} characters"
    return ""


def repository(image: str) -> str:
    """The image without its tag and digest."""
    plain = image.partition("@")[0]
    head, slash, last = plain.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def normal(repository: str) -> str:
    """A repository with its registry: docker.io/library/busybox of busybox."""
    first, slash, _rest = repository.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return repository
    return f"docker.io/{repository if slash else f'library/{repository}'}"


def full(image: str) -> str:
    """The image with its registry, as the runtime names it: docker.io/library/busybox:1 of busybox:1."""
    plain = repository(image)
    return f"{normal(plain)}{image[len(plain) :]}"


def registry_of(image: str) -> str:
    """The host of an image, and its path: what credentials are matched with."""
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return f"{first}/{rest}"
    return f"{HUB}/{image if slash else f'library/{image}'}"


def matches(pattern: str, wanted: str) -> bool:
    """Whether credentials for a pattern are for an image, given as ``registry_of`` does.

    ``*`` stands for within one part of the host; ports must be the same; the path must begin alike.
    """
    plain = pattern.removeprefix("https://").removeprefix("http://").rstrip("/")
    plain = plain.removesuffix("/v1").removesuffix("/v2")
    if plain == "docker.io":
        plain = HUB
    host, _, path = plain.partition("/")
    its_host, _, its_path = wanted.partition("/")
    name, _, port = host.partition(":")
    its_name, _, its_port = its_host.partition(":")
    parts, its_parts = name.split("."), its_name.split(".")
    if port != its_port or len(parts) != len(its_parts) or not its_path.startswith(path):
        return False
    return all(re.fullmatch(_glob(part), its) for part, its in zip(parts, its_parts, strict=True))


def _glob(part: str) -> str:
    return "".join(".*" if letter == "*" else "." if letter == "?" else re.escape(letter) for letter in part)
