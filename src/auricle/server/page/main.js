// Puts the page together: the sound, the two tabs, and the state of the server.
import { Ask } from "./ask.js";
import { key, ServerError } from "./api.js";
import { $, say } from "./page.js";
import { Server } from "./server.js";
import { Source } from "./source.js";
import { Transcribe } from "./transcribe.js";

const server = new Server();
const source = new Source(() => { ask.reset(); transcribe.reset(); }, (seconds) => transcribe.at(seconds));
const context = {
  sound: () => source.current(),
  model: () => server.model,
  playFrom: (seconds) => source.playFrom(seconds),
  failed: (error) => {
    if (!(error instanceof ServerError)) throw error;
    say("talk-alert", error.message);
    if (error.status === 401) server.askForKey();
    if (error.status === 0 || error.status === 503) server.watch();
  },
};
const ask = new Ask(context);
const transcribe = new Transcribe(context);

const tabs = [...document.querySelectorAll("[role=tab]")];
function select(tab) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", chosen);
    one.tabIndex = chosen ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  say("talk-alert");
  tab.focus();
}
for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (move) select(tabs[(tabs.indexOf(tab) + move + tabs.length) % tabs.length]);
  });
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set($("key").value.trim());
  $("key").value = "";
  $("key-form").hidden = true;
  say("talk-alert");
  server.watch();
});

server.watch();
