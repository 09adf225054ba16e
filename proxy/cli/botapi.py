"""One call of Telegram's Bot API (https://core.telegram.org/bots/api).

SECURITY: the token stands in the path of every call, so no URL and no error of a library is ever shown.
"""

import http.client
import json
import os
import re
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proxy.errors import HookgateError

_SECONDS = 30.0
_MOST_BYTES = 1024 * 1024


class BotApi:
    """``base`` as in ``https://api.telegram.org``, or the address of one's own Bot API server."""

    def __init__(self, base: str, token: str) -> None:
        parts = urlsplit(base)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise HookgateError("--api must be http(s)://HOST[:PORT][/PATH]")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._path = parts.path.rstrip("/")
        self._token = token

    def call(self, method: str, given: dict[str, Any]) -> Any:
        """The ``result`` of the answer.

        Raises:
            HookgateError: nobody answers, or the API refuses; the message says why and never holds the token.
        """
        connection = (
            http.client.HTTPSConnection(self._host, self._port, timeout=_SECONDS, context=ssl.create_default_context())
            if self._secure
            else http.client.HTTPConnection(self._host, self._port, timeout=_SECONDS)
        )
        try:
            connection.request(
                "POST", f"{self._path}/bot{self._token}/{method}", json.dumps(given), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            status, data = answer.status, answer.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise HookgateError(f"the Bot API at {self._host} does not answer: {self._clean(why)}") from None
        finally:
            connection.close()
        return self._result(method, status, data)

    def _result(self, method: str, status: int, data: bytes) -> Any:
        try:
            said = json.loads(data)
            if said["ok"] is True:
                return said["result"]
            why = said.get("description", "")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise HookgateError(f"what answers at {self._host} is no Bot API (status {status})") from None
        hint = ": is the token right?" if status in {401, 404} else ""
        raise HookgateError(f"the Bot API refuses {method} ({status}): {self._clean(str(why))}{hint}")

    def _clean(self, text: str) -> str:
        return plain(text.replace(self._token, "(token)"))


def plain(text: str) -> str:
    """SECURITY: words of somebody else, on their way to a terminal."""
    return re.sub(r"[^ -~]", "?", text)[:300]


def bot_token(file: Path | None, name: str) -> str:
    """The bot's token from a file, or from the environment variable ``name``.

    Raises:
        HookgateError: there is none, or it is none; the message never holds it.
    """
    if file is not None:
        try:
            text, where = file.read_text(), str(file)
        except (OSError, UnicodeError) as error:
            why = (error.strerror or "unknown reason").lower() if isinstance(error, OSError) else "it is no text"
            raise HookgateError(f"the bot token cannot be read from {file}: {why}") from None
    else:
        text, where = os.environ.get(name, ""), f"the environment variable {name}"
        if not text:
            raise HookgateError(f"no bot token: give --token-file FILE, or set {name}; on the command line others could read it")
    token = text.strip()
    if not re.fullmatch(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,256}", token):
        raise HookgateError(f"what {where} holds is no bot token: it has the form 123456:ABC-DEF, as BotFather gives it")
    return token
