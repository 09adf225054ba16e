"""What every part of the policy has in common: frozen, strict settings, and what each rule takes."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from proxy.verdict import Mode


class Settings(BaseModel):
    """Frozen, strict about types, and deaf to unknown keys only by refusing them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=False, hide_input_in_errors=True)


class AnswerSettings(Settings):
    """How a rule's refusal is answered, where the usual status does not fit."""

    status: Annotated[int | None, Field(ge=400, le=599, description="never 410")] = None
    retry_after: Annotated[int | None, Field(ge=1, le=3600, description="seconds")] = None
    acknowledge: Annotated[bool, Field(description="200 with an empty body: the sender stops, the update is quarantined")] = False


class RuleSettings(Settings):
    """What every rule takes."""

    mode: Annotated[Mode, Field(strict=False, description="enforce | report | off; the milder of this and the route's wins")] = (
        Mode.ENFORCE
    )
    answer: AnswerSettings = AnswerSettings()
