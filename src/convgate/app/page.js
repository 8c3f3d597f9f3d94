// Ask the server, and write what it says as text: no answer is ever read as HTML.
"use strict";

const find = (selector) => document.querySelector(selector);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

async function ask(address, body) {
  const answer = await fetch(address, { method: "POST", headers: { "X-Convgate": "1" }, body });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

let latest = 0; // an answer that a newer question has overtaken is not shown

async function see(address, body, preview, name) {
  const own = ++latest;
  const shown = find("#shown");
  if (shown.src.startsWith("blob:")) URL.revokeObjectURL(shown.src);
  Object.assign(shown, { src: preview, alt: name, hidden: false });
  find("#status").textContent = "The networks are looking …";
  find(".columns").ariaBusy = "true";
  try {
    const answers = await ask(address, body);
    if (own !== latest) return;
    document.querySelectorAll(".answer").forEach((place, i) => show(place, answers[i]));
    find("#status").textContent = `Answers for ${name}.`;
  } catch (error) {
    if (own !== latest) return;
    document.querySelectorAll(".answer").forEach((place) => place.replaceChildren());
    shown.hidden = true;
    find("#status").textContent = `${name}: ${error.message}`;
  } finally {
    if (own === latest) find(".columns").ariaBusy = "false";
  }
}

function show(place, answer) {
  const list = make("ol");
  for (const [label, amount] of answer.rows) {
    const share = make("meter", { max: 100, value: parseFloat(amount) || 0, ariaHidden: "true" });
    list.append(make("li", {}, make("span", {}, label), make("b", {}, amount), share));
  }
  place.replaceChildren(list);
  if (answer.map) place.append(make("img", { src: answer.map, alt: "where it looks" }));
  if (answer.note) place.append(make("p", { className: "hint" }, answer.note));
  if (answer.scales) {
    const chart = make("img", { src: answer.scales, alt: "scales of the channels by gate" });
    const region = { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Scales" };
    const summary = make("summary", {}, "scales of the gates");
    place.append(make("details", {}, summary, make("div", region, chart)));
  }
}

function take(file) {
  if (file) see("see", file, URL.createObjectURL(file), file.name || "the picture");
}

find("#file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = ""; // the same file can be chosen again
});
for (const button of document.querySelectorAll("[data-example]")) {
  const picture = button.firstElementChild;
  const number = button.dataset.example;
  button.addEventListener("click", () => see(`see?example=${number}`, null, picture.src, picture.alt));
}
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => event.preventDefault());
}
find("#drop").addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));

find("#cost")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const gates = Object.fromEntries([...new FormData(event.target)].filter(([, gate]) => gate));
  const status = find("#cost-status");
  const button = event.target.querySelector("button");
  button.disabled = true;
  status.textContent = "Measuring, paired with the plain network …";
  try {
    const cost = await ask("cost", JSON.stringify(gates));
    const cells = [cost.gates, cost.latency, cost.params, cost.macs];
    find("#costs tbody").prepend(make("tr", {}, ...cells.map((text) => make("td", {}, text))));
    find("#costs").hidden = false;
    Object.assign(find("#recipe"), { textContent: cost.recipe, hidden: !cost.recipe });
    status.textContent = `${cost.gates}: ${cost.latency}. ${cost.warnings.join("; ")}`;
  } catch (error) {
    status.textContent = error.message;
  } finally {
    button.disabled = false;
    button.focus();
  }
});
