"""A bot on aiogram as its documentation shows it: SimpleRequestHandler with a secret_token in an aiohttp server of its own.

``python -m tests.bots.aiogram_bot SOCKET JOURNAL API`` serves /telegram on a unix socket; the secret comes from TELEGRAM_SECRET.
Its handlers answer in the reply to the webhook, which aiogram writes as multipart/form-data.
"""

import os
import sys
from pathlib import Path

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.methods import SendMessage, SendPhoto, TelegramMethod
from aiogram.types import BufferedInputFile, Message, TelegramObject, Update
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web

from tests.bots.bot_api import BOT_TOKEN, PHOTO
from tests.bots.journal import Journal


def main(socket: str, journal: Journal, api: str) -> None:
    """Serve until a signal comes."""
    session = AiohttpSession(api=TelegramAPIServer.from_base(api))
    dispatcher = Dispatcher()

    async def handle(event: TelegramObject, event_update: Update) -> TelegramMethod[Message] | None:
        journal.note(event_update.event_type, event_update.update_id)
        if not isinstance(event, Message) or event.chat.type != "private":
            return None
        if event.text == "photo":
            return SendPhoto(chat_id=event.chat.id, photo=BufferedInputFile(PHOTO, "dot.png"), caption="ünïcødé")
        return SendMessage(chat_id=event.chat.id, text=f"you said: {event.text}")

    for name, observer in dispatcher.observers.items():
        if name not in {"update", "error"}:
            observer.register(handle)
    handler = SimpleRequestHandler(
        dispatcher,
        Bot(BOT_TOKEN, session=session),
        handle_in_background=False,
        secret_token=os.environ["TELEGRAM_SECRET"],
    )
    app = web.Application()
    handler.register(app, path="/telegram")
    setup_application(app, dispatcher)
    web.run_app(app, path=socket, print=None)


if __name__ == "__main__":
    main(sys.argv[1], Journal(Path(sys.argv[2])), sys.argv[3])
