// The senders' own libraries, asked over standard input and output: a line of JSON each way, as sdk_worker.py does it.
import { EventEmitter } from "node:events";
import https from "node:https";
import { createInterface } from "node:readline";

const raw = (asked) => Buffer.from(asked.body, "base64");
const text = (asked) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw(asked));
const fields = (asked) => Object.fromEntries(Object.entries(asked.fields).map(([name, value]) => [name.toLowerCase(), value]));

const loaded = new Map();
async function library(name) {
  if (!loaded.has(name)) loaded.set(name, await import(name));
  return loaded.get(name);
}

function form(asked) {
  const found = {};
  for (const [name, value] of new URLSearchParams(text(asked))) (found[name] ??= []).push(value);
  return found;
}

// Whether a call ends without throwing. Libraries parse the JSON after the signature: a fault there comes later.
async function refused(call, named) {
  try {
    await call();
  } catch (error) {
    if (error instanceof SyntaxError) return true;
    if (!named.test(error.constructor.name)) throw error;
    return false;
  }
  return true;
}

let shop;
async function shopify(secret) {
  if (shop?.secret !== secret) {
    await library("@shopify/shopify-api/adapters/node");
    const { shopifyApi } = await library("@shopify/shopify-api");
    const api = shopifyApi({
      apiKey: "key", apiSecretKey: secret, scopes: [], hostName: "bot.example.com", isEmbeddedApp: true, apiVersion: "2026-01",
      logger: { log: () => {} },
    });
    shop = { secret, api };
  }
  return shop.api;
}

// AWS's library fetches the certificate that a message names; here it gets the one of the test, whatever the address.
let certificate;
https.get = (address, answer) => {
  const said = new EventEmitter();
  said.statusCode = 200;
  queueMicrotask(() => { answer(said); said.emit("data", certificate); said.emit("end"); });
  return said;
};

const sign = {
  github: async (asked) => {
    const { sign } = await library("@octokit/webhooks-methods");
    return { fields: { "X-Hub-Signature-256": await sign(asked.secret, text(asked)) } };
  },
  notion: async (asked) => {
    const { signWebhookPayload } = await library("@notionhq/client");
    return { fields: { "X-Notion-Signature": await signWebhookPayload({ body: raw(asked), verificationToken: asked.secret }) } };
  },
  wecom: async (asked) => {
    const { encrypt, getSignature } = await library("@wecom/crypto");
    const { token, aes_key: key, receive_id: receiver } = asked.values;
    const sealed = encrypt(key, text(asked), receiver);
    const timestamp = String(asked.at);
    return { encrypt: sealed, signature: getSignature(token, timestamp, "nonce", sealed), timestamp, fields: {} };
  },
  stripe: async (asked) => {
    const { default: Stripe } = await library("stripe");
    const header = new Stripe("sk_test_none").webhooks.generateTestHeaderString({
      payload: text(asked), secret: asked.secret, timestamp: asked.at,
    });
    return { fields: { "Stripe-Signature": header } };
  },
  "standard-webhooks": async (asked) => {
    const { Webhook } = await library("standardwebhooks");
    const made = new Webhook(asked.secret).sign("msg_1", new Date(asked.at * 1000), text(asked));
    return { fields: { "webhook-id": "msg_1", "webhook-timestamp": String(asked.at), "webhook-signature": made } };
  },
  twilio: async (asked) => {
    const { default: twilio } = await library("twilio");
    const { getExpectedTwilioSignature, getExpectedBodyHash } = await library("twilio/lib/webhooks/webhooks.js");
    if (asked.form) {
      return { fields: { "X-Twilio-Signature": getExpectedTwilioSignature(asked.secret, asked.url, form(asked)) } };
    }
    const query = `bodySHA256=${getExpectedBodyHash(text(asked))}`;
    return { fields: { "X-Twilio-Signature": getExpectedTwilioSignature(asked.secret, `${asked.url}?${query}`, {}) }, query };
  },
};

const verify = {
  github: async (asked) => {
    const { verify } = await library("@octokit/webhooks-methods");
    return verify(asked.secret, text(asked), fields(asked)["x-hub-signature-256"]);
  },
  shopify: async (asked) => {
    const api = await shopify(asked.secret);
    const headers = { "X-Shopify-Topic": "a", "X-Shopify-Shop-Domain": "a.myshopify.com", "X-Shopify-API-Version": "2026-01",
      "X-Shopify-Webhook-Id": "1", ...asked.fields };
    const found = await api.webhooks.validate({ rawBody: text(asked), rawRequest: { method: "POST", url: "/", headers } });
    if (!found.valid && found.reason !== "invalid_hmac") throw new Error(found.reason);
    return found.valid;
  },
  line: async (asked) => {
    const { validateSignature } = await library("@line/bot-sdk");
    return validateSignature(raw(asked), asked.secret, fields(asked)["x-line-signature"]);
  },
  stripe: async (asked) => {
    const { default: Stripe } = await library("stripe");
    const hooks = new Stripe("sk_test_none").webhooks;
    // Text, because of bytes it would drop a byte order mark before it looks at the signature.
    return refused(() => hooks.constructEvent(text(asked), fields(asked)["stripe-signature"], asked.secret), /Signature/);
  },
  "standard-webhooks": async (asked) => {
    const { Webhook } = await library("standardwebhooks");
    return refused(() => new Webhook(asked.secret).verify(text(asked), fields(asked)), /WebhookVerification/);
  },
  "discord-interactions": async (asked) => {
    const { verifyKey } = await library("discord-interactions");
    const given = fields(asked);
    return verifyKey(raw(asked), given["x-signature-ed25519"], given["x-signature-timestamp"], asked.secret);
  },
  linear: async (asked) => {
    const { LinearWebhookClient } = await library("@linear/sdk/webhooks");
    const judge = new LinearWebhookClient(asked.secret);
    try {
      return judge.verify(raw(asked), fields(asked)["linear-signature"]);
    } catch (error) {
      if (error.message !== "Invalid webhook signature") throw error;
      return false;
    }
  },
  notion: async (asked) => {
    const { verifyWebhookSignature } = await library("@notionhq/client");
    const signature = fields(asked)["x-notion-signature"];
    return verifyWebhookSignature({ body: raw(asked), signature, verificationToken: asked.secret });
  },
  paddle: async (asked) => {
    const { Paddle } = await library("@paddle/paddle-node-sdk");
    return new Paddle("key").webhooks.isSignatureValid(text(asked), asked.secret, fields(asked)["paddle-signature"]);
  },
  sendgrid: async (asked) => {
    const { default: { EventWebhook } } = await library("@sendgrid/eventwebhook");
    const hook = new EventWebhook();
    const given = fields(asked);
    const [signature, time] = ["signature", "timestamp"].map((name) => given[`x-twilio-email-event-webhook-${name}`]);
    return hook.verifySignature(hook.convertPublicKeyToECDSA(asked.secret), text(asked), signature, time);
  },
  slack: async (asked) => {
    const { default: { isValidSlackRequest } } = await library("@slack/bolt");
    return isValidSlackRequest({ signingSecret: asked.secret, body: text(asked), headers: fields(asked) });
  },
  sns: async (asked) => {
    const { default: Validator } = await library("sns-validator");
    certificate = asked.certificate;
    return new Promise((done, fail) => {
      new Validator().validate(text(asked), (error) => {
        if (error && error.message !== "The message signature is invalid.") fail(error);
        else done(!error);
      });
    });
  },
  twitch: async (asked) => {
    const { EventSubMiddleware } = await library("@twurple/eventsub-http");
    const given = fields(asked);
    const [id, time, signature] = ["id", "timestamp", "signature"].map((name) => given[`twitch-eventsub-message-${name}`]);
    return EventSubMiddleware.prototype._verifyData.call({ _secret: asked.secret }, id, time, text(asked), signature);
  },
  wecom: async (asked) => {
    const { decrypt, getSignature } = await library("@wecom/crypto");
    const { token, aes_key: key, receive_id: receiver } = asked.values;
    const { msg_signature: given, timestamp, nonce } = asked.query;
    if (getSignature(token, timestamp, nonce, asked.encrypt) !== given) return false;
    const opened = decrypt(key, asked.encrypt);
    return opened.id === receiver && opened.message === text(asked);
  },
  zoom: async (asked) => {
    const { AwsLambdaReceiver } = await library("@zoom/rivet/chatbot");
    const said = await new AwsLambdaReceiver({ webhooksSecretToken: asked.secret }).start()({ body: text(asked), headers: fields(asked) });
    if (said.statusCode !== 200 && !said.body.includes("Failed to verify")) throw new Error(said.body);
    return said.statusCode === 200;
  },
  twilio: async (asked) => {
    const { default: twilio } = await library("twilio");
    const given = fields(asked)["x-twilio-signature"];
    if (asked.form) return twilio.validateRequest(asked.secret, given, asked.url, form(asked));
    return twilio.validateRequestWithBody(asked.secret, given, asked.url, text(asked));
  },
};

// What libraries print goes nowhere: standard output is for answers alone.
for (const name of ["log", "debug", "info", "warn", "error"]) console[name] = () => {};
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const asked = JSON.parse(line);
  let said;
  try {
    said = asked.do === "sign" ? await sign[asked.sender](asked) : { taken: await verify[asked.sender](asked) };
  } catch (error) {
    said = { broke: `${error.constructor.name}: ${error.message}`.slice(0, 500) };
  }
  process.stdout.write(JSON.stringify(said) + "\n");
}
