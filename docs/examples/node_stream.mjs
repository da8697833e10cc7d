// A streamed answer, event by event, with Node's own fetch (Node 18 or newer).
// Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.

const { DROVEWAY_URL, DROVEWAY_KEY, DROVEWAY_MODEL = "sim-small" } = process.env;

async function* events(body) {
  const answer = await fetch(`${DROVEWAY_URL}/v1/chat/completions`, {
    method: "POST",
    headers: { Authorization: `Bearer ${DROVEWAY_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true }),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.json()).error.message}`);
  // One decoder for all pieces, since a character may be cut between two of them.
  let rest = "";
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
  throw new Error("the answer ended without [DONE]");
}

try {
  const messages = [{ role: "user", content: "Write a line about a summer sale." }];
  for await (const event of events({ model: DROVEWAY_MODEL, messages })) {
    process.stdout.write(event.choices[0]?.delta?.content ?? "");
  }
  process.stdout.write("\n");
} catch (error) {
  console.error(`\nthe answer is incomplete: ${error.message}`);
  process.exit(1);
}
