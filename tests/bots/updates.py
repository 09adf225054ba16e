"""Updates of many types as Telegram writes them (https://core.telegram.org/bots/api#update), each with an id of its own."""

import itertools
import json

_ids = itertools.count(1000)

USER = {"id": 42, "is_bot": False, "first_name": "Ada", "language_code": "en"}
CHAT = {"id": 42, "type": "private", "first_name": "Ada"}
GROUP = {"id": -100123, "type": "supergroup", "title": "Wörk 🛠"}
CHANNEL = {"id": -100124, "type": "channel", "title": "News"}
DATE = 1_700_000_000
MEMBER = {"user": USER, "status": "member"}
LEFT = {"user": USER, "status": "left"}
EMOJI = {"type": "emoji", "emoji": "👍"}

MESSAGE = {"message_id": 1, "date": DATE, "chat": CHAT, "from": USER, "text": "hello"}
GROUP_MESSAGE = {"message_id": 2, "date": DATE, "chat": GROUP, "from": USER, "text": 'naïve ☕ \\ " / \u2028'}
POST = {"message_id": 3, "date": DATE, "chat": CHANNEL, "text": "read all about it"}
POLL = {
    "id": "9",
    "question": "?",
    "options": [{"text": "a", "voter_count": 1, "persistent_id": "0"}, {"text": "b", "voter_count": 0, "persistent_id": "1"}],
    "total_voter_count": 1,
    "is_closed": False,
    "is_anonymous": True,
    "type": "regular",
    "allows_multiple_answers": False,
    "allows_revoting": False,
    "members_only": False,
}
ADDRESS = {"country_code": "GB", "state": "", "city": "London", "street_line1": "1", "street_line2": "", "post_code": "N1"}

EVENTS: dict[str, dict[str, object]] = {
    "message": MESSAGE,
    "edited_message": {**GROUP_MESSAGE, "edit_date": DATE + 1},
    "channel_post": POST,
    "edited_channel_post": {**POST, "edit_date": DATE + 1},
    "business_message": {**MESSAGE, "business_connection_id": "b1"},
    "message_reaction": {"chat": GROUP, "message_id": 2, "user": USER, "date": DATE, "old_reaction": [], "new_reaction": [EMOJI]},
    "message_reaction_count": {
        "chat": CHANNEL,
        "message_id": 3,
        "date": DATE,
        "reactions": [{"type": EMOJI, "total_count": 2}],
    },
    "inline_query": {"id": "1", "from": USER, "query": "", "offset": ""},
    "chosen_inline_result": {"result_id": "1", "from": USER, "query": "q"},
    "callback_query": {"id": "4382bfdwdsb323b2d9", "from": USER, "chat_instance": "-1", "data": "a|b", "message": MESSAGE},
    "shipping_query": {"id": "1", "from": USER, "invoice_payload": "p", "shipping_address": ADDRESS},
    "pre_checkout_query": {"id": "1", "from": USER, "currency": "EUR", "total_amount": 100, "invoice_payload": "p"},
    "poll": POLL,
    "poll_answer": {"poll_id": "9", "user": USER, "option_ids": [0], "option_persistent_ids": ["0"]},
    "my_chat_member": {"chat": GROUP, "from": USER, "date": DATE, "old_chat_member": LEFT, "new_chat_member": MEMBER},
    "chat_member": {"chat": GROUP, "from": USER, "date": DATE, "old_chat_member": MEMBER, "new_chat_member": LEFT},
    "chat_join_request": {"chat": GROUP, "from": USER, "user_chat_id": 42, "date": DATE},
}
"""By the key that names the type."""


def update(kind: str, **changes: object) -> tuple[int, bytes]:
    """The id and the bytes of a fresh update; ``changes`` are made in what stands under ``kind``."""
    number = next(_ids)
    # The line break after the id is Telegram's own habit, so whoever writes JSON anew gives himself away.
    event = json.dumps(EVENTS[kind] | changes, ensure_ascii=True, separators=(",", ":"))
    return number, f'{{"update_id":{number},\n"{kind}":{event}}}'.encode()
