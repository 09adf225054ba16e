"""The policy in force as YAML: presets spelled out, defaults written down, secrets as ids and sources, paths of routes left out.

What is printed can be read again once the paths of the routes stand in it.
"""

import os
import re
from pathlib import Path

from proxy.policy.document import write
from proxy.policy.model import Policy

HIDDEN_PATH = "<secret path>"
_HIDDEN_VALUE = "<secret value>"


def printed(policy: Policy, folder: Path) -> str:
    """The policy as YAML. Files beside the policy, in ``folder``, are written relative to it."""
    tree = policy.model_dump(mode="json", by_alias=True, exclude_none=True)
    tree["store"]["url"] = re.sub(r"//([^:/?#]*):[^/?#]*@", rf"//\1:{_HIDDEN_VALUE}@", tree["store"]["url"])
    for route in tree["routes"]:
        # SECURITY: a path that cannot be guessed is half of the lock; a public URL ends in that path.
        route["path"] = HIDDEN_PATH
        if "public_url" in route:
            route["public_url"] = re.sub(r"(?<=[^/:])/.*", f"/{HIDDEN_PATH}", route["public_url"])
        several = [value for secret in route["secrets"] for value in secret["values"].values()]
        for secret in (*route["secrets"], *several, route["handshake"].get("token", {})):
            if "value" in secret:
                secret["value"] = _HIDDEN_VALUE
    return write(_tidy(tree, f"{os.path.abspath(folder)}/"))


def _tidy(value: object, folder: str) -> object:
    """Without empty parts and usual answers; paths beside the policy relative."""
    if isinstance(value, dict):
        inner = {key: _tidy(part, folder) for key, part in value.items() if part != {"acknowledge": False}}
        return {key: part for key, part in inner.items() if part not in ({}, [])}
    if isinstance(value, list):
        return [_tidy(part, folder) for part in value]
    if isinstance(value, str):
        return re.sub(rf"^(unix:|sqlite:|){re.escape(folder)}", r"\1", value)
    return value
