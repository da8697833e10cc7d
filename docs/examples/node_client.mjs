// A small client as axios would be set up: base URL, headers, time-out, retries (Node 18 or newer).
// Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.

const RETRIED = new Set([408, 429, 500, 502, 503, 504]);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Client {
  constructor({ baseURL, key, timeoutMs = 30_000, retries = 2 }) {
    Object.assign(this, { baseURL: baseURL.replace(/\/+$/, ""), timeoutMs, retries });
    this.headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  }

  async post(path, body) {
    for (let tries = 0; ; tries += 1) {
      const answer = await fetch(this.baseURL + path, {
        method: "POST",
        headers: this.headers,
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(this.timeoutMs),
      });
      const told = await answer.json();
      if (answer.ok) return told;
      const useless = answer.headers.get("x-should-retry") === "false";
      if (useless || tries >= this.retries || !RETRIED.has(answer.status)) {
        throw new Error(`${answer.status} ${told.error.code}: ${told.error.message}`);
      }
      const wanted = Number(answer.headers.get("retry-after-ms") ?? 500 * 2 ** tries);
      await sleep(wanted * (1 + Math.random() / 4));
    }
  }

  chat(model, content) {
    return this.post("/chat/completions", { model, messages: [{ role: "user", content }] });
  }
}

const { DROVEWAY_URL, DROVEWAY_KEY, DROVEWAY_MODEL = "sim-small" } = process.env;
const client = new Client({ baseURL: `${DROVEWAY_URL}/v1/`, key: DROVEWAY_KEY });
try {
  const answer = await client.chat(DROVEWAY_MODEL, "Say hello.");
  console.log(answer.choices[0].message.content);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
