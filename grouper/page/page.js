"use strict";
// One script for the three views. It keeps nothing but the API key, and that in this tab only.

const words = JSON.parse(document.getElementById("words").textContent);
const { view, lang } = document.body.dataset;
const result = document.getElementById("result");
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

function element(tag, given = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), given);
  made.append(...inside);
  return made;
}

// ---------------------------------------------------------------------------------------- asking

async function ask(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem("key");
    const headers = { ...options.headers, ...(key ? { "X-API-Key": key } : {}) };
    const answer = await fetch(path, { ...options, headers });
    if (answer.status !== 401) return answer;
    await askKey(options.signal);
  }
}

let asking = null;
function askKey(signal) {
  asking ??= new Promise((done) => {
    const dialog = $("#ask-key");
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("key", $("#key").value);
      asking = null;
      done();
    }, { once: true });
    dialog.addEventListener("cancel", (e) => e.preventDefault());
    dialog.showModal();
  });
  return asking.then(() => signal?.throwIfAborted());
}

async function fault(answer) {
  let said = `${answer.status}`;
  try {
    said = (await answer.json()).error.message;
  } catch {
    // no refusal of the service's own
  }
  return element("p", { className: "fault", textContent: said });
}

let latest = null;
async function show(path, options = {}) {
  latest?.abort();
  const mine = (latest = new AbortController());
  result.classList.add("stale");
  try {
    const answer = await ask(path, { ...options, signal: mine.signal });
    const text = answer.ok ? await answer.text() : null;
    const said = answer.ok ? null : await fault(answer);
    if (mine.signal.aborted) return false;
    if (said) result.replaceChildren(said);
    else result.innerHTML = text; // the service escapes what it writes
    result.classList.remove("stale");
    return answer.ok;
  } catch (e) {
    if (e.name === "AbortError") return false;
    result.replaceChildren(element("p", { className: "fault", textContent: words.offline }));
    result.classList.remove("stale");
    return false;
  }
}

async function fillSelects(form) {
  const answer = await ask("v1/schemes");
  const offered = answer.ok ? await answer.json() : { schemes: [], policies: [] };
  for (const [name, kind] of [["scheme", "schemes"], ["other", "schemes"], ["policy", "policies"]]) {
    const select = form.elements[name];
    if (select) offered[kind].forEach((id) => select.append(element("option", { value: id, textContent: id })));
  }
  const first = form.elements.scheme;
  if (offered.schemes.includes("chs-drg-1.1")) first.value = "chs-drg-1.1";
}

function slowly(work, wait) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, wait);
  };
}

// -------------------------------------------------------------------------------------- the case

const FACTS = ["sex", "age", "age_days", "birth_weight", "admission_weight", "los", "discharge_mode",
  "icu_hours", "ventilator_hours"]; // in a link: what grouping reads, nothing of a person or a bill
const NUMBERS = new Set(["sex", "age", "age_days", "birth_weight", "admission_weight", "los", "icu_hours",
  "ventilator_hours"]);
const TEXTS = ["discharge_date", "department", "hospital_level", "insurance"];
const SETTINGS = { s: "scheme", o: "other", c: "codes" };

function caseView() {
  const form = $("#case");
  const codes = { diagnoses: [], procedures: [] };
  const names = new Map();

  const value = (name) => form.elements[name].value.trim();
  const send = slowly(() => {
    remember();
    form.querySelector(".newborn").hidden = value("age") !== "0";
    if (!codes.diagnoses.length && !codes.procedures.length) {
      latest?.abort();
      result.replaceChildren(element("p", { className: "note", textContent: words.begin }));
      result.classList.remove("stale");
      return;
    }
    show("page/case", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(asked()),
    }).then((ok) => ok && mark());
  }, 120);

  function asked() {
    const given = { case_id: "1", ...codes };
    for (const name of [...FACTS, ...TEXTS]) {
      const text = value(name);
      if (!text || (name === "age_days" || name.endsWith("_weight")) && value("age") !== "0") continue;
      given[name] = NUMBERS.has(name) ? Number(text) : text;
    }
    const body = { case: given, lang, scheme: value("scheme"), codes: value("codes") };
    for (const name of ["other", "policy", "point_value", "cost"]) if (value(name)) body[name] = value(name);
    return body;
  }

  // a case is a link: codes and the facts that grouping reads, after the #, which no server sees
  function link() {
    const parts = new URLSearchParams();
    for (const [short, name] of Object.entries(SETTINGS)) if (value(name)) parts.set(short, value(name));
    for (const name of FACTS) if (value(name)) parts.set(name, value(name));
    if (codes.diagnoses.length) parts.set("d", codes.diagnoses.join("|"));
    if (codes.procedures.length) parts.set("p", codes.procedures.join("|"));
    return parts.toString();
  }

  function remember() {
    history.replaceState(null, "", `#${link()}`);
    $("#other-lang").hash = location.hash;
  }

  function recall() {
    const parts = new URLSearchParams(location.hash.slice(1));
    for (const [short, name] of Object.entries(SETTINGS)) if (parts.has(short)) form.elements[name].value = parts.get(short);
    for (const name of FACTS) if (parts.has(name)) form.elements[name].value = parts.get(name);
    codes.diagnoses = (parts.get("d") || "").split("|").filter(Boolean);
    codes.procedures = (parts.get("p") || "").split("|").filter(Boolean);
    for (const kind of Object.keys(codes)) draw(kind);
    send();
  }

  function draw(kind, focus = null) {
    const rows = codes[kind].map((code, k) => row(kind, code, k));
    const list = $(`[data-kind=${kind}] .rows`);
    list.replaceChildren(...rows);
    if (focus !== null) (rows[Math.min(focus, rows.length - 1)]?.querySelector(".remove") ?? $(`#add-${kind}`)).focus();
  }

  function row(kind, code, k) {
    const button = (text, title, work, className) =>
      element("button", { type: "button", textContent: text, title, ariaLabel: `${title} ${code}`, onclick: work, className });
    const first = k === 0
      ? element("span", { className: "first", textContent: words.principal })
      : button(words.make_principal, words.make_principal, () => move(kind, k, 0), "principal");
    return element("li", {},
      element("code", { textContent: code }),
      element("span", { className: "name", textContent: names.get(code) ?? "" }),
      element("span", { className: "row-marks" }),
      first,
      button("×", words.remove, () => remove(kind, k), "remove"));
  }

  function move(kind, from, to) {
    const [code] = codes[kind].splice(from, 1);
    codes[kind].splice(to, 0, code);
    draw(kind, to);
    send();
  }

  function remove(kind, k) {
    codes[kind].splice(k, 1);
    draw(kind, k);
    send();
  }

  function add(kind, code, name) {
    if (name) names.set(code, name);
    codes[kind].push(code);
    draw(kind);
    send();
  }

  // marks and names of the answer, at the codes they are about
  function mark() {
    for (const told of $$("tr[data-kind]", result)) {
      const at = $$(`[data-kind=${told.dataset.kind}] .rows li`, form)[Number(told.dataset.at)];
      if (!at) continue;
      names.set($("code", at).textContent, told.cells[1].textContent);
      $(".name", at).textContent = told.cells[1].textContent;
      $(".row-marks", at).replaceChildren(...$$(".mark", told).map((m) => m.cloneNode(true)));
    }
  }

  for (const kind of Object.keys(codes)) combobox(kind, (code, name) => add(kind, code, name));
  form.addEventListener("input", (e) => e.target.name && send());
  form.addEventListener("submit", (e) => e.preventDefault());
  $("#empty").onclick = () => {
    const { scheme, other, policy, codes: coding } = form.elements;
    const kept = [[scheme, scheme.value], [other, other.value], [policy, policy.value], [coding, coding.value]];
    form.reset();
    kept.forEach(([select, was]) => (select.value = was));
    for (const kind of Object.keys(codes)) {
      codes[kind] = [];
      draw(kind);
    }
    send();
    form.elements.age.focus();
  };
  $("#link").onclick = async () => {
    const said = $("#link-said");
    try {
      await navigator.clipboard.writeText(location.href);
      said.textContent = words.copied;
    } catch {
      said.textContent = location.href;
    }
  };
  addEventListener("hashchange", recall);
  fillSelects(form).then(recall);
}

function combobox(kind, choose) {
  const input = $(`#add-${kind}`);
  const list = $(`#list-${kind}`);
  let found = [];
  let at = -1;
  let asked = null;

  const close = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const pick = (one) => {
    close();
    asked?.abort();
    input.value = "";
    choose(one.code, one.name);
    input.focus();
  };
  const point = (to) => {
    at = found.length ? (to + found.length) % found.length : -1;
    [...list.children].forEach((li, k) => li.setAttribute("aria-selected", String(k === at)));
    if (at < 0) return;
    list.children[at].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", list.children[at].id);
  };
  const search = slowly(async () => {
    const text = input.value.trim();
    asked?.abort();
    if (!text) return close();
    const mine = (asked = new AbortController());
    const query = new URLSearchParams({ q: text, kind: kind === "diagnoses" ? "diagnosis" : "procedure" });
    try {
      const answer = await ask(`v1/codes?${query}`, { signal: mine.signal });
      found = answer.ok ? await answer.json() : [];
    } catch {
      return;
    }
    if (mine.signal.aborted || input.value.trim() !== text) return;
    list.replaceChildren(...found.map((one, k) => {
      const li = element("li", { id: `${kind}-${k}`, role: "option" },
        element("code", { textContent: one.code }), ` ${one.name}`,
        ...(one.grey ? [" ", element("span", { className: "mark grey", textContent: words.grey })] : []));
      li.onmousedown = (e) => e.preventDefault();
      li.onclick = () => pick(one);
      return li;
    }));
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    point(found.length ? 0 : -1);
  }, 60);

  input.addEventListener("input", search);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (e) => {
    if (e.isComposing) return;
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      e.preventDefault();
      if (!list.hidden) point(at + (e.key === "ArrowDown" ? 1 : -1));
    } else if (e.key === "Escape") {
      close();
    } else if (e.key === "Enter") {
      e.preventDefault();
      const typed = input.value.trim();
      if (!list.hidden && at >= 0) pick(found[at]);
      else if (typed) pick({ code: typed, name: "" });
    }
  });
}

// ---------------------------------------------------------------------------------- the worklist

function listView() {
  const form = $("#upload");
  fillSelects(form);

  const body = () => {
    const given = new FormData(form);
    given.set("lang", lang);
    for (const name of ["front_page", "policy", "point_value", "on"]) {
      const v = given.get(name);
      if (!v || (v instanceof File && !v.name)) given.delete(name);
    }
    return given;
  };
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    if (await show("page/worklist", { method: "POST", body: body() })) wire();
  });

  function wire() {
    const selects = $$("[data-filter]", result);
    const filter = () => {
      let left = 0;
      for (const tr of $$("tbody tr", result)) {
        const fits = selects.every((s) => !s.value || (s.dataset.filter === "needs"
          ? tr.dataset.needs.split(" ").includes(s.value) : tr.dataset[s.dataset.filter] === s.value));
        tr.hidden = !fits;
        left += fits;
      }
      $("#left", result).textContent = words.left.replace("{}", left.toLocaleString());
    };
    selects.forEach((s) => s.addEventListener("change", filter));
    filter();
    for (const button of $$("[data-download]", result)) {
      button.onclick = async () => {
        const given = body();
        given.set("as", button.dataset.download);
        selects.forEach((s) => s.value && given.set(`only_${s.dataset.filter}`, s.value));
        button.disabled = true;
        const answer = await ask("page/worklist", { method: "POST", body: given });
        button.disabled = false;
        if (!answer.ok) return button.after(await fault(answer));
        const url = URL.createObjectURL(await answer.blob());
        element("a", { href: url, download: `worklist.${button.dataset.download}` }).click();
        setTimeout(() => URL.revokeObjectURL(url), 1000);
      };
    }
  }
}

// ------------------------------------------------------------------------------------ the scheme

function schemeView() {
  const form = $("#browse");
  const fill = () => {
    const given = new URLSearchParams(new FormData(form));
    for (const [name, v] of [...given]) if (!v) given.delete(name);
    given.set("lang", lang);
    show(`page/scheme?${given}`);
  };
  form.addEventListener("input", slowly(fill, 150));
  form.addEventListener("submit", (e) => e.preventDefault());
  result.addEventListener("toggle", async (e) => {
    const node = e.target;
    const path = node.dataset?.load;
    if (!path || !node.open) return;
    delete node.dataset.load;
    const answer = await ask(path);
    if (answer.ok) node.insertAdjacentHTML("beforeend", await answer.text());
    else {
      node.append(await fault(answer));
      node.dataset.load = path;
    }
  }, true);
  fillSelects(form).then(() => {
    const given = new URLSearchParams(location.search);
    for (const name of ["scheme", "policy", "q"]) if (given.has(name)) form.elements[name].value = given.get(name);
    fill();
  });
}

$("#print").onclick = () => print();
({ case: caseView, worklist: listView, scheme_view: schemeView })[view]();
