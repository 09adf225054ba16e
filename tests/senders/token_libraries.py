"""Libraries for Python of senders that sign with JWT and HTTP Message Signatures, asked to sign and to judge."""

import asyncio
import json
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

from tests.senders.asked import Asked, fields, library, private_key, raw, refused


def sign_botframework(asked: Asked) -> Asked:
    """The service signs with what its library for bots reads: PyJWT."""
    token = library("jwt").encode(asked["claims"], private_key(asked["private"]), "RS256", headers={"kid": asked["kid"]})
    return {"fields": {"Authorization": f"Bearer {token}"}}


def verify_botframework(asked: Asked) -> bool:
    """The connector's whole check of an activity, by keys that it fetches itself."""
    auth = library("botframework.connector.auth")
    library("botframework.connector.auth.channel_validation").ChannelValidation.open_id_metadata_endpoint = asked["metadata"]
    sent = json.loads(raw(asked))
    call = auth.JwtTokenValidation.validate_auth_header(
        fields(asked)["authorization"],
        auth.SimpleCredentialProvider(asked["secret"], ""),
        "",
        sent["channelId"],
        sent["serviceUrl"],
        auth.AuthenticationConfiguration(),
    )
    try:
        return asyncio.run(call) is not None
    except Exception as error:
        # It refuses in every way: PermissionError, bare Exception, IndexError for an unknown key, KeyError for a lost claim.
        # That it takes the good ones shows that it is asked rightly.
        if isinstance(error, OSError | ImportError) and not isinstance(error, PermissionError):
            raise
        return False


@cache
def google_signer(private: str, kid: str) -> Any:
    """Google's object that signs, made once."""
    return library("google.auth.crypt").RSASigner.from_string(private, kid)


def sign_google(asked: Asked) -> Asked:
    signer = google_signer(asked["private"], asked["kid"])
    token: bytes = library("google.auth.jwt").encode(signer, asked["claims"])
    return {"fields": {"Authorization": f"Bearer {token.decode()}"}}


def verify_google(asked: Asked) -> bool:
    """As Google's sample for Chat apps does it: the token, its audience, and who must have sent it."""
    keys = SimpleNamespace(status=200, data=json.dumps(asked["keys"]).encode())
    token = fields(asked)["authorization"].removeprefix("Bearer ")
    judge = library("google.oauth2.id_token").verify_token
    try:
        claims = judge(token, lambda url, method: keys, audience=asked["secret"])
    except Exception as error:
        if isinstance(error, OSError | ImportError):
            raise
        return False
    return bool(claims.get("iss") == asked["issuer"] and (asked["email"] is None or claims.get("email") == asked["email"]))


def message_signatures(asked: Asked) -> tuple[Any, Any, Any]:
    """The library, its algorithm, and a keyring of this one key."""
    module = library("http_message_signatures")
    key = private_key(asked["private"]) if asked.get("private") else None
    public = asked["secret"].encode()
    keys = module.MappingKeyResolver(public_keys={"s": public}, private_keys={"s": key or public})
    return module, getattr(module.algorithms, asked["algorithm"]), keys


def sign_message(asked: Asked) -> Asked:
    module, algorithm, keys = message_signatures(asked)
    headers = library("requests").structures.CaseInsensitiveDict(asked["fields"])
    message = SimpleNamespace(method="POST", url=asked["url"], headers=headers)
    signer = module.HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=keys)
    signer.sign(message, key_id="s", covered_component_ids=asked["components"], body=raw(asked))
    return {"fields": dict(headers)}


def verify_message(asked: Asked) -> bool:
    module, algorithm, keys = message_signatures(asked)
    headers = library("requests").structures.CaseInsensitiveDict(asked["fields"])
    message = SimpleNamespace(method="POST", url=asked["url"], headers=headers)
    judge = module.HTTPMessageVerifier(signature_algorithm=algorithm, key_resolver=keys)
    wanted = (*asked["components"], "content-digest")
    return refused(lambda: judge.verify(message, require_components=wanted, body=raw(asked)), "InvalidSignature")


SIGN: Final[dict[str, Callable[[Asked], Asked]]] = {
    "botframework": sign_botframework,
    "google-chat": sign_google,
    "http-message-signatures": sign_message,
}

VERIFY: Final[dict[str, Callable[[Asked], bool]]] = {
    "botframework": verify_botframework,
    "google-chat": verify_google,
    "http-message-signatures": verify_message,
}
