"""Where secrets come from: the environment or a file, never the policy itself but in demos and tests.

A secret may be one text or several named values (an application's id and its key), each with a source of its own.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field

from proxy.policy.settings import Settings
from proxy.policy.values import Instant


class SecretSource(Settings):
    """Where a secret that is not a route's comes from (a token of the admin address, say)."""

    from_env: Annotated[str | None, Field(description="name of the environment variable that holds it")] = None
    from_file: Annotated[str | None, Field(description="file that holds it; one newline at the end is not part of it")] = None


class SecretValue(SecretSource):
    """Where one value of a route's secret comes from."""

    value: Annotated[
        str | None, Field(repr=False, description="the secret itself: demo and tests, with allow_inline_secrets: true")
    ] = None
    allow_weak: Annotated[bool, Field(description="accept fewer than 16 bytes, where the provider dictates it")] = False


class SecretReference(SecretValue):
    """One secret that is tried for a route, named by its id; the value lives in the environment or a file."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="its name in metrics, logs and commands")]
    values: dict[str, SecretValue] = Field(
        default_factory=dict, description="for a secret of several values: where each comes from"
    )
    not_before: Annotated[Instant | None, Field(description="not accepted before this moment")] = None
    not_after: Annotated[Instant | None, Field(description="not accepted from this moment on")] = None


def _listed(written: object) -> object:
    """A mapping of named values is a list of one secret; values beside the id belong under ``values``."""
    if isinstance(written, dict):
        return (_gathered({"id": "main", **written}),)
    return tuple(map(_gathered, written)) if isinstance(written, list | tuple) else written


def _gathered(entry: object) -> object:
    if not isinstance(entry, dict):
        return entry
    loose = {key: part for key, part in entry.items() if isinstance(part, dict) and key not in SecretReference.model_fields}
    rest = {key: part for key, part in entry.items() if key not in loose}
    given = rest.get("values", {})
    return {**rest, "values": {**given, **loose}} if loose and isinstance(given, dict) else entry


SecretsValue = Annotated[tuple[SecretReference, ...], BeforeValidator(_listed)]
"""A list of secrets, or for one secret of several values the mapping of these."""
