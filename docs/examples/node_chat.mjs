// One question and its whole answer, with Node's own fetch (Node 18 or newer).
// Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.

const { DROVEWAY_URL, DROVEWAY_KEY, DROVEWAY_MODEL = "sim-small" } = process.env;

const answer = await fetch(`${DROVEWAY_URL}/v1/chat/completions`, {
  method: "POST",
  headers: { Authorization: `Bearer ${DROVEWAY_KEY}`, "Content-Type": "application/json" },
  body: JSON.stringify({
    model: DROVEWAY_MODEL,
    messages: [{ role: "user", content: "Which colours does this shirt come in?" }],
  }),
  signal: AbortSignal.timeout(30_000),
});
const told = await answer.json();
if (!answer.ok) {
  console.error(`${answer.status} ${told.error.code}: ${told.error.message}`);
  process.exit(1);
}
console.log(told.choices[0].message.content);
console.log(`tokens: ${told.usage.prompt_tokens} in, ${told.usage.completion_tokens} out`);
