"""The far side: a permitted request goes to the bot, the bot's reply comes back as it came."""
