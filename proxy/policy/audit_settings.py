"""Where the audit is written, and what keeps others from writing it anew."""

from typing import Annotated

from pydantic import Field

from proxy.policy.references import SecretSource
from proxy.policy.settings import Settings


class Audit(Settings):
    """A chain of lines that tells what was refused and changed, and shows where one was altered."""

    file: Annotated[str, Field(description="appended to, by all workers; moved away, it goes on in a new one")]
    key: Annotated[SecretSource | None, Field(description="who has no key cannot make the chain anew")] = None
