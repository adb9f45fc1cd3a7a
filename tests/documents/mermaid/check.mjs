// Reads every Mermaid diagram of the pages given with Mermaid itself, and says which are wrong where.
// Mermaid wants a browser's document even for reading; jsdom is one.

import { readFileSync } from "node:fs";
import { JSDOM } from "jsdom";

const { window } = new JSDOM("<!doctype html><body></body>");
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import("mermaid");

let diagrams = 0;
let wrong = 0;
for (const page of process.argv.slice(2)) {
  const text = readFileSync(page, "utf8");
  for (const match of text.matchAll(/^```mermaid\n([\s\S]*?)^```$/gm)) {
    diagrams += 1;
    try {
      await mermaid.parse(match[1]);
    } catch (error) {
      wrong += 1;
      const line = text.slice(0, match.index).split("\n").length;
      console.error(`${page}:${line}: ${error.message}`);
    }
  }
}
console.log(`${diagrams} diagrams, ${wrong} of them wrong`);
process.exit(diagrams > 0 && wrong === 0 ? 0 : 1);
