"""Bots on the senders' own frameworks, as their pages show them, each checking its signatures itself. Runs among their libraries.

``python framework_bots.py NAME FOLDER`` serves on a port of its own; FOLDER/port has it, FOLDER/journal what was done.
"""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

SECRET = os.environ.get("BOT_SECRET", "")


def slack(note: Callable[[str], None]) -> Any:
    """Bolt for Python behind its Flask adapter."""
    bolt = import_module("slack_bolt")
    flask = import_module("flask")

    def authorize(**_: Any) -> Any:
        return import_module("slack_bolt.authorization").AuthorizeResult(enterprise_id=None, team_id="T1", bot_token="xoxb-1")  # noqa: S106

    app = bolt.App(signing_secret=SECRET, authorize=authorize, process_before_response=True)

    def weather(ack: Any, command: Any) -> None:
        note(f"command {command['text']}")
        ack(f"sunny in {command['text']}")

    def mention(event: Any) -> None:
        note(f"mention {event['text']}")

    app.command("/weather")(weather)
    app.event("app_mention")(mention)
    handler = import_module("slack_bolt.adapter.flask").SlackRequestHandler(app)
    web = flask.Flask("slack")
    web.post("/slack")(lambda: handler.handle(flask.request))
    return web


def discord(note: Callable[[str], None]) -> Any:
    """discord-interactions with Flask: its decorator checks signatures and answers PINGs."""
    flask = import_module("flask")
    library = import_module("discord_interactions")
    web = flask.Flask("discord")

    def interactions() -> Any:
        name = flask.request.json["data"]["name"]
        note(f"command {name}")
        kind = library.InteractionResponseType.CHANNEL_MESSAGE_WITH_SOURCE
        return flask.jsonify({"type": kind, "data": {"content": f"you ran {name}"}})

    web.post("/discord")(library.verify_key_decorator(SECRET)(interactions))
    return web


def line(note: Callable[[str], None]) -> Any:
    """The LINE SDK's own sample: a handler that checks the signature, and one kind of event."""
    flask = import_module("flask")
    hooks = import_module("linebot.v3")
    models = import_module("linebot.v3.webhooks")
    handler = hooks.WebhookHandler(SECRET)

    def message(event: Any) -> None:
        note(f"message {event.message.text}")

    handler.add(models.MessageEvent, message=models.TextMessageContent)(message)
    web = flask.Flask("line")

    def callback() -> str:
        try:
            handler.handle(flask.request.get_data(as_text=True), flask.request.headers["X-Line-Signature"])
        except import_module("linebot.v3.exceptions").InvalidSignatureError:
            flask.abort(400)
        return "OK"

    web.post("/line")(callback)
    return web


BOTS = {"slack": slack, "discord": discord, "line": line}


def main(name: str, folder: Path) -> None:
    """Serve until a signal comes."""
    journal = (folder / "journal").open("a", buffering=1)

    def note(words: str) -> None:
        journal.write(json.dumps(words) + "\n")

    web = BOTS[name](note)
    server = import_module("werkzeug.serving").make_server("127.0.0.1", 0, web, threaded=True)
    (folder / "port.new").write_text(str(server.server_port))
    (folder / "port.new").rename(folder / "port")
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
