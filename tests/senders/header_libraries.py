"""Senders' own libraries for Python that sign a header, asked to sign and to judge."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from tests.senders.asked import Asked, fields, library, part, raw, refused, text


def sign_slack(asked: Asked) -> Asked:
    signature = library("slack_sdk.signature").SignatureVerifier(asked["secret"])
    made = signature.generate_signature(timestamp=str(asked["at"]), body=raw(asked))
    return {"fields": {"X-Slack-Request-Timestamp": str(asked["at"]), "X-Slack-Signature": made}}


def sign_stripe(asked: Asked) -> Asked:
    made = library("stripe").WebhookSignature.generate_signature_header(text(asked), asked["secret"], asked["at"])
    return {"fields": {"Stripe-Signature": made}}


def sign_standard(asked: Asked, module: str = "standardwebhooks", names: str = "webhook") -> Asked:
    moment = datetime.fromtimestamp(asked["at"], UTC)
    made = library(module).Webhook(asked["secret"]).sign("msg_1", moment, text(asked))
    return {"fields": {f"{names}-id": "msg_1", f"{names}-timestamp": str(asked["at"]), f"{names}-signature": made}}


def sign_svix(asked: Asked) -> Asked:
    return sign_standard(asked, "svix", "svix")


def sign_twilio(asked: Asked) -> Asked:
    validator = library("twilio.request_validator").RequestValidator(asked["secret"])
    if asked.get("form"):
        return {"fields": {"X-Twilio-Signature": validator.compute_signature(asked["url"], form_of(text(asked)))}}
    query = f"bodySHA256={validator.compute_hash(text(asked))}"
    return {"fields": {"X-Twilio-Signature": validator.compute_signature(f"{asked['url']}?{query}", {})}, "query": query}


def form_of(body: str) -> Any:
    """The fields with all their values, as web frameworks give them."""
    return library("werkzeug.datastructures").MultiDict(parse_qsl(body, keep_blank_values=True))


def sign_discord(asked: Asked) -> Asked:
    made = library("nacl.signing").SigningKey(bytes.fromhex(asked["private"])).sign(str(asked["at"]).encode() + raw(asked))
    return {"fields": {"X-Signature-Timestamp": str(asked["at"]), "X-Signature-Ed25519": made.signature.hex()}}


def viber(asked: Asked) -> Any:
    """The library's object for a bot with this token."""
    configuration = library("viberbot.api.bot_configuration").BotConfiguration(asked["secret"], "bot", "http://127.0.0.1/")
    return library("viberbot").Api(configuration)


def sign_viber(asked: Asked) -> Asked:
    return {"fields": {"X-Viber-Content-Signature": viber(asked)._calculate_message_signature(raw(asked))}}


def sign_hubspot(asked: Asked) -> Asked:
    made: Callable[..., str] = library("hubspot.utils.signature").Signature.get_signature
    stamp = str(asked["at"] * 1000)
    version = asked["version"]
    value = made(asked["secret"], text(asked), version, asked["url"], "POST", stamp)
    if version == "v3":
        return {"fields": {"X-HubSpot-Signature-v3": value, "X-HubSpot-Request-Timestamp": stamp}}
    return {"fields": {"X-HubSpot-Signature": value, "X-HubSpot-Signature-Version": version}}


def sign_paddle(asked: Asked) -> Asked:
    signed = f"{asked['at']}:{text(asked)}".encode()
    made = library("paddle_billing.Notifications.PaddleSignature").PaddleSignature.calculate_hmac(asked["secret"], signed)
    return {"fields": {"Paddle-Signature": f"ts={asked['at']};h1={made.hexdigest()}"}}


def sign_adyen(asked: Asked) -> Asked:
    document: Any = json.loads(raw(asked))
    for entry in document["notificationItems"]:
        item = entry["NotificationRequestItem"]
        made = library("Adyen.util").generate_notification_sig(item, asked["secret"])
        item["additionalData"] = {"hmacSignature": made.decode()}
    return {"fields": {}, "body": base64.b64encode(json.dumps(document, ensure_ascii=False).encode()).decode()}


def sign_adyen_platform(asked: Asked) -> Asked:
    return {"fields": {"HmacSignature": library("Adyen.util").generate_payload_sig(raw(asked), asked["secret"]).decode()}}


def verify_slack(asked: Asked) -> bool:
    return bool(library("slack_sdk.signature").SignatureVerifier(asked["secret"]).is_valid_request(raw(asked), asked["fields"]))


def verify_stripe(asked: Asked) -> bool:
    given = fields(asked)["stripe-signature"]
    return refused(lambda: library("stripe").WebhookSignature.verify_header(raw(asked), given, asked["secret"], 300), "Signature")


def verify_standard(asked: Asked) -> bool:
    hook = library("standardwebhooks").Webhook(asked["secret"])
    return refused(lambda: hook.verify(raw(asked), asked["fields"], json_parse=False), "WebhookVerification")


def verify_svix(asked: Asked) -> bool:
    hook = library("svix").Webhook(asked["secret"])
    return refused(lambda: hook.verify(raw(asked), asked["fields"]), "WebhookVerification")


def verify_line(asked: Asked) -> bool:
    validator = library("linebot.v3.webhook").SignatureValidator(asked["secret"])
    return bool(validator.validate(text(asked), fields(asked)["x-line-signature"]))


def verify_twilio(asked: Asked) -> bool:
    validator = library("twilio.request_validator").RequestValidator(asked["secret"])
    given = form_of(text(asked)) if asked.get("form") else text(asked)
    return bool(validator.validate(asked["url"], given, fields(asked)["x-twilio-signature"]))


def verify_sendgrid(asked: Asked) -> bool:
    hook = library("sendgrid.helpers.eventwebhook").EventWebhook(asked["secret"])
    names = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"
    signature, timestamp = (fields(asked)[name] for name in names)
    return bool(hook.verify_signature(text(asked), signature, timestamp))


def verify_discord(asked: Asked) -> bool:
    given = fields(asked)
    signature, timestamp = given["x-signature-ed25519"], given["x-signature-timestamp"]
    return bool(library("discord_interactions").verify_key(raw(asked), signature, timestamp, asked["secret"]))


def verify_viber(asked: Asked) -> bool:
    return bool(viber(asked).verify_signature(raw(asked), fields(asked)["x-viber-content-signature"]))


def verify_hubspot(asked: Asked) -> bool:
    check = library("hubspot.utils.signature").Signature.is_valid
    given = fields(asked)
    stamp = given["x-hubspot-request-timestamp"]
    return bool(check(given["x-hubspot-signature-v3"], asked["secret"], text(asked), asked["url"], "POST", "v3", stamp))


def verify_paddle(asked: Asked) -> bool:
    secret = library("paddle_billing.Notifications.Secret").Secret(asked["secret"])
    judge = library("paddle_billing.Notifications.PaddleSignature").PaddleSignature()
    return bool(judge.verify(fields(asked)["paddle-signature"], text(asked), secret))


def verify_square(asked: Asked) -> bool:
    check: Callable[..., bool] = library("square.utils.webhooks_helper").verify_signature
    given = fields(asked)["x-square-hmacsha256-signature"]
    return check(request_body=text(asked), signature_header=given, signature_key=asked["secret"], notification_url=asked["url"])


def verify_adyen(asked: Asked) -> bool:
    items = json.loads(raw(asked))["notificationItems"]
    check: Callable[..., bool] = library("Adyen.util").is_valid_hmac_notification
    return all(check(entry["NotificationRequestItem"], asked["secret"]) for entry in items)


def verify_adyen_platform(asked: Asked) -> bool:
    return bool(library("Adyen.util").is_valid_hmac_payload(fields(asked)["hmacsignature"], asked["secret"], raw(asked)))


def verify_gidgethub(asked: Asked) -> bool:
    judge, given = library("gidgethub.sansio").validate_event, fields(asked)["x-hub-signature-256"]
    return refused(lambda: judge(raw(asked), signature=given, secret=asked["secret"]), "ValidationFailure")


def verify_pywa(asked: Asked) -> bool:
    return bool(
        library("pywa.utils").webhook_updates_validator(asked["secret"], raw(asked), fields(asked)["x-hub-signature-256"])
    )


def verify_lark_card(asked: Asked) -> bool:
    judge = part("lark_oapi", "card.action_handler").CardActionHandler()
    judge._verification_token = asked["secret"]
    return refused(lambda: judge._verify_sign(_lark_request(asked)), "AccessDenied")


def verify_lark_event(asked: Asked) -> bool:
    judge = part("lark_oapi", "event.dispatcher_handler").EventDispatcherHandler()
    return refused(lambda: judge._verify_sign(_lark_request(asked), asked["secret"]), "AccessDenied")


def _lark_request(asked: Asked) -> Any:
    request = part("lark_oapi", "core.model").RawRequest()
    request.headers, request.body = asked["fields"], raw(asked)
    return request


def verify_body_hash(asked: Asked) -> bool:
    """No library's: shows that this worker and the test mean the same bytes."""
    return bool(hashlib.sha256(raw(asked)).hexdigest() == asked["digest"])


SIGN: Final[dict[str, Callable[[Asked], Asked]]] = {
    "adyen": sign_adyen,
    "adyen-platform": sign_adyen_platform,
    "discord-interactions": sign_discord,
    "hubspot": sign_hubspot,
    "paddle": sign_paddle,
    "slack": sign_slack,
    "standard-webhooks": sign_standard,
    "stripe": sign_stripe,
    "svix": sign_svix,
    "twilio": sign_twilio,
    "viber": sign_viber,
}

VERIFY: Final[dict[str, Callable[[Asked], bool]]] = {
    "adyen": verify_adyen,
    "adyen-platform": verify_adyen_platform,
    "bytes": verify_body_hash,
    "discord-interactions": verify_discord,
    "gidgethub": verify_gidgethub,
    "hubspot": verify_hubspot,
    "lark-card": verify_lark_card,
    "lark-event": verify_lark_event,
    "line": verify_line,
    "paddle": verify_paddle,
    "pywa": verify_pywa,
    "sendgrid": verify_sendgrid,
    "slack": verify_slack,
    "square": verify_square,
    "standard-webhooks": verify_standard,
    "stripe": verify_stripe,
    "svix": verify_svix,
    "twilio": verify_twilio,
    "viber": verify_viber,
}
