"""A bot on python-telegram-bot as its documentation shows it: Application.run_webhook with a secret_token.

``python -m tests.bots.telegram_ext_bot SOCKET JOURNAL API`` serves /telegram on a unix socket; the secret comes from
TELEGRAM_SECRET. At its start it calls getMe and setWebhook of the Bot API at ``API``, and its handler answers there.
"""

import os
import sys
from pathlib import Path

from telegram import Update
from telegram.ext import ApplicationBuilder, ContextTypes, TypeHandler

from tests.bots.bot_api import BOT_TOKEN
from tests.bots.journal import Journal


def main(socket: str, journal: Journal, api: str) -> None:
    """Serve until a signal comes."""

    async def handle(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        kind = next(name for name in update.to_dict() if name != "update_id")
        journal.note(kind, update.update_id)
        if update.message is not None:
            await update.message.reply_text(f"you said: {update.message.text}")

    application = ApplicationBuilder().token(BOT_TOKEN).base_url(f"{api}/bot").build()
    application.add_handler(TypeHandler(Update, handle))
    application.run_webhook(
        url_path="/telegram",
        webhook_url="https://bot.example.com/telegram",
        secret_token=os.environ["TELEGRAM_SECRET"],
        allowed_updates=Update.ALL_TYPES,
        unix=socket,
    )


if __name__ == "__main__":
    main(sys.argv[1], Journal(Path(sys.argv[2])), sys.argv[3])
