"""Where replay claims are kept, and what opens that place."""

from typing import Annotated

from pydantic import Field

from proxy.policy.references import SecretSource
from proxy.policy.settings import Settings


class StoreSettings(Settings):
    """Where replay claims are kept. All but ``url`` is for Redis and Valkey."""

    url: Annotated[
        str,
        Field(
            repr=False,
            pattern=r"^(memory:$|sqlite:.+|(redis|valkey)s?(\+sentinel|\+cluster)?://.+)",
            description="memory: | sqlite:PATH | redis://HOST:PORT/DB | redis+sentinel://HOST:PORT,.../SERVICE | "
            "redis+cluster://HOST:PORT,...; rediss with TLS",
        ),
    ] = "sqlite:state/hookgate.db"
    username: Annotated[str | None, Field(min_length=1, description="as whom; absent: the default user")] = None
    password: Annotated[SecretSource | None, Field(description="where the password comes from")] = None
    ca_file: Annotated[str | None, Field(description="PEM file: authorities that vouch for the server's certificate")] = None
    prefix: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9._:-]{1,64}$",
            description="what every key begins with; gates that do not share their claims have different ones",
        ),
    ] = "hookgate"
    sentinel_username: Annotated[str | None, Field(min_length=1, description="as whom the Sentinels are asked")] = None
    sentinel_password: Annotated[SecretSource | None, Field(description="where the Sentinels' password comes from")] = None
