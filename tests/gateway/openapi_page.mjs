// Runs the page's script over a document made of text, and prints what a reader would see.
import { readFileSync } from "node:fs";
import vm from "node:vm";

class Element {
  constructor() { this.inside = []; }
  append(...more) { this.inside.push(...more); }
  replaceChildren(...more) { this.inside = more; }
  get text() {
    return this.inside.map((one) => (typeof one === "string" ? one : one.text)).join("");
  }
}

const [page, spec] = process.argv.slice(2).map((path) => readFileSync(path, "utf8"));
const script = page.match(/<script>(.*?)<\/script>/s)[1];
const main = new Element();
const asked = [];
vm.runInNewContext(script, {
  document: { createElement: () => new Element(), querySelector: () => main },
  location: { pathname: "/prefix/docs/" },
  fetch: async (path) => {
    asked.push(path);
    return { ok: true, json: async () => JSON.parse(spec) };
  },
});
setImmediate(() => {
  if (asked.join() !== "/prefix/openapi.json") throw new Error(`asked for ${asked}`);
  console.log(main.text);
});
