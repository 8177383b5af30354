"""Templates to text: near-real files in ``templates/<role>/``, rendered here and shipped by the bundle operation.

An undefined name is an error, never an empty string. Templates see whole frozen records, and loop over what the role
passes; they decide nothing. Secrets are not for templates.
"""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent.parent / "templates"


@cache
def environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701  # units and configuration files, not HTML
    )


def render(template: str, **values: Any) -> bytes:
    """The text of ``templates/<template>.j2``."""
    return environment().get_template(f"{template}.j2").render(values).encode()


def flags(template: str, **values: Any) -> tuple[str, ...]:
    """The flags of a daemon: the lines of ``templates/<template>.flags.j2``."""
    return tuple(render(f"{template}.flags", **values).decode().splitlines())
