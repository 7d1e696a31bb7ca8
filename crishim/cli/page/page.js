// Puts the parts of the page that have changed in place, as the server renders them. Without it the page is as it was.
"use strict";

const live = document.getElementById("live");

function say(text) {
  if (live.textContent !== text) live.textContent = text;
}

// What has the focus now, and will have it in the new part: the same kind of element of the same thing.
function key(each) {
  return [each.closest("[id]")?.id, each.tagName, each.getAttribute("aria-label")].join(" ");
}

// What a person has opened stays open, and the keyboard stays where it is.
function put(part, html) {
  const opened = new Set([...part.querySelectorAll("details[open]")].map((each) => each.id));
  const focused = part.contains(document.activeElement) ? key(document.activeElement) : "";
  const scrolled = new Map([...part.querySelectorAll(".wide")].map((each) => [key(each), each.scrollLeft]));
  part.innerHTML = html;
  for (const each of part.querySelectorAll("details")) each.open = opened.has(each.id);
  for (const each of part.querySelectorAll(".wide")) each.scrollLeft = scrolled.get(key(each)) ?? 0;
  if (!focused) return;
  [...part.querySelectorAll("summary, a, .wide")].find((each) => key(each) === focused)?.focus({ preventScroll: true });
}

const source = new EventSource("events");
source.addEventListener("open", () => say("live"));
source.addEventListener("error", () => say("the page's server does not answer; trying again"));
source.addEventListener("part", (event) => {
  const { name, html } = JSON.parse(event.data);
  const part = document.querySelector(`[data-part="${CSS.escape(name)}"]`);
  if (part) put(part, html);
});
