"""Each preset is sound data; a user's route lies over it."""

import pytest

from proxy.networks import parse_network
from proxy.policy.document import Plain
from proxy.policy.model import Route
from proxy.policy.presets import PRESETS, preset, spelled_out
from proxy.policy.signatures import HmacSignature, TokenSignature
from proxy.policy.values import Selector

SENT = ("telegram", "telegram-hash", "github", "webhook-timestamped", "crm")


def route(name: str, **given: Plain) -> Route:
    """A route of a preset, typed."""
    return Route.model_validate(spelled_out(name, {"name": "a", "path": "/a", "provider": name, **given}))


def test_names() -> None:
    """The presets are those that are promised."""
    assert set(PRESETS) >= {*SENT, "generic"}


@pytest.mark.parametrize("name", PRESETS)
def test_each_is_sound(name: str) -> None:
    """Each preset loads, tells in one line what it is for, and gives a route that only lacks its secrets."""
    found = preset(name)
    assert found.about
    assert "\n" not in found.about
    assert found.page is None or found.page.startswith("https://")
    assert bool(found.networks) == bool(found.networks_date)
    assert [parse_network(network) for network in found.networks] or not found.networks
    assert route(name).rules.signature is not None or name == "generic"


def test_generic_gives_nothing() -> None:
    """The generic sender has no defaults."""
    assert spelled_out("generic", {"name": "a"}) == {"name": "a"}


def test_unknown() -> None:
    """A name that is no preset is told at once, even one that climbs out of the folder."""
    for name in ("telegarm", "../presets/telegram", ""):
        with pytest.raises(KeyError):
            preset(name)


def test_telegram() -> None:
    """Telegram: the token header, 1 MiB of plain JSON, each update_id once for 25 hours, and never a 410 or a redirect back."""
    found = route("telegram")
    assert isinstance(found.rules.signature, TokenSignature)
    assert found.rules.signature.header == "X-Telegram-Bot-Api-Secret-Token"
    assert found.rules.size is not None
    assert found.rules.size.max == 1024**2
    assert found.rules.replay is not None
    assert (str(found.rules.replay.key), found.rules.replay.window) == ("json:/update_id", 25 * 3600)
    assert found.rules.json_schema is None
    assert found.answers == {"410": 503, "3xx": 503}
    assert found.senders.written == ("149.154.160.0/20", "91.108.4.0/22")
    assert (found.rules.ip, found.rules.rate) == (None, None)
    assert {"message", "callback_query", "managed_bot", "stopped_message_generation"} <= set(found.event)


@pytest.mark.parametrize(
    ("name", "header", "prefix", "encoding", "template"),
    [
        ("telegram-hash", "X-Telegram-Bot-Api-Secret-Hash", "", "hex-any-case", "{body}"),
        ("github", "X-Hub-Signature-256", "sha256=", "hex", "{body}"),
        ("crm", "X-Hub-Signature-256", "sha256=", "hex", "{body}"),
        ("webhook-timestamped", "X-Webhook-Signature", "", "hex", "{timestamp}.{body}"),
    ],
)
def test_hmac_senders(name: str, header: str, prefix: str, encoding: str, template: str) -> None:
    """The HMAC senders sign what their page says, under the header it names, in its form."""
    signature = route(name).rules.signature
    assert isinstance(signature, HmacSignature)
    assert (signature.header, signature.prefix, signature.encoding) == (header, prefix, encoding)
    assert (str(signature.template), signature.algorithm) == (template, "sha256")


def test_a_replay_key_that_outlives_its_timestamp() -> None:
    """Where a timestamp bounds a request's life, its key is remembered longer than that."""
    rules = route("webhook-timestamped").rules
    assert rules.timestamp is not None
    assert rules.replay is not None
    assert rules.replay.key == Selector.parse("header:X-Webhook-Signature")
    assert rules.replay.window > rules.timestamp.tolerance + rules.timestamp.future


def test_merged_key_by_key() -> None:
    """What the user gives replaces what the preset gives, key by key; lists are replaced whole."""
    found = route("telegram", rules={"replay": {"window": "48h"}, "content": {"types": ("text/plain",)}}, event=("message",))
    assert found.rules.replay is not None
    assert found.rules.content is not None
    assert (str(found.rules.replay.key), found.rules.replay.window) == ("json:/update_id", 48 * 3600)
    assert (found.rules.content.types, found.rules.content.encodings) == (("text/plain",), ("identity",))
    assert found.event == ("message",)


def test_another_scheme_replaces_the_signature() -> None:
    """A signature of another scheme takes nothing from the preset's; one of the same scheme, or of none, takes the rest."""
    other = route("telegram", rules={"signature": {"scheme": "hmac", "header": "X", "template": "{body}"}})
    assert isinstance(other.rules.signature, HmacSignature)
    plain = route("github", rules={"signature": {"scheme": "token", "header": "X"}})
    assert isinstance(plain.rules.signature, TokenSignature)
    assert plain.rules.signature.prefix == ""
    same = route("github", rules={"signature": {"scheme": "hmac", "header": "X"}})
    assert isinstance(same.rules.signature, HmacSignature)
    assert (same.rules.signature.header, same.rules.signature.prefix) == ("X", "sha256=")
    bare = route("telegram", rules={"signature": {"mode": "report"}})
    assert isinstance(bare.rules.signature, TokenSignature)


def test_alternatives_replace_each_other() -> None:
    """A user's source stands in place of the preset's header."""
    stamp = route("crm", rules={"timestamp": {"source": "json:/timestamp"}}).rules.timestamp
    assert stamp is not None
    assert (stamp.header, str(stamp.source), stamp.tolerance) == (None, "json:/timestamp", 300)


def test_a_key_of_ones_own_stands_alone() -> None:
    """A user's replay key takes the preset's second key and its ``per`` away, but not the rest of the rule."""
    plain = route("shopify", rules={"replay": {"key": "body:sha256"}}).rules.replay
    assert plain is not None
    assert plain.per is None
    given = route("slack", rules={"replay": {"key": "body:sha256"}}).rules.replay
    assert given is not None
    assert (str(given.key), given.otherwise, given.window) == ("body:sha256", None, 24 * 3600)
    kept = route("slack", rules={"replay": {"window": "1h"}}).rules.replay
    assert kept is not None
    assert (str(kept.key), str(kept.otherwise)) == ("json:/event_id", "header:X-Slack-Signature")


def test_a_preset_is_not_changed_by_a_route() -> None:
    """What one route gives does not reach the next."""
    route("telegram", rules={"replay": {"window": "1h"}, "signature": {"scheme": "hmac", "header": "X", "template": "a"}})
    found = route("telegram")
    assert found.rules.replay is not None
    assert found.rules.replay.window == 25 * 3600
    assert isinstance(found.rules.signature, TokenSignature)
