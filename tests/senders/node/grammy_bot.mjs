// A bot on grammY as its pages show it: webhookCallback with a secret token, answers in the reply to the webhook.
// node grammy_bot.mjs FOLDER: serves on a port of its own, writes it to FOLDER/port, and each thing done to FOLDER/journal.
import { appendFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { Bot, webhookCallback } from "grammy";

const folder = process.argv[2];
const bot = new Bot("1:none", {
  botInfo: { id: 1, is_bot: true, first_name: "Bot", username: "a_bot", can_join_groups: true, can_read_all_group_messages: false,
    supports_inline_queries: false, can_connect_to_business: false, has_main_web_app: false },
  client: { canUseWebhookReply: (method) => method === "sendMessage" },
});
bot.on("message:text", async (context) => {
  appendFileSync(`${folder}/journal`, JSON.stringify(`message ${context.msg.text}`) + "\n");
  await context.reply(`you said: ${context.msg.text}`);
});
const server = createServer(webhookCallback(bot, "http", { secretToken: process.env.BOT_SECRET }));
server.listen(0, "127.0.0.1", () => {
  writeFileSync(`${folder}/port.new`, String(server.address().port));
  renameSync(`${folder}/port.new`, `${folder}/port`);
});
