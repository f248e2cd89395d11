// The routes of /openapi.json as a page: parameters, and a line of curl for each.

import { byId, el, say } from "./dom.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

async function start() {
  let description;
  try {
    const answer = await fetch(new URL("openapi.json", document.baseURI));
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
    description = await answer.json();
  } catch (error) {
    say(byId("problem"), `The server does not give its description: ${error.message}.`);
    return;
  }
  const routes = Object.entries(description.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => method in item).map((method) => route(path, method, item[method], description)),
  );
  byId("routes").replaceChildren(...routes);
}

function route(path, method, facts, all) {
  const rows = [...(facts.parameters ?? []).map((one) => parameter(resolved(one, all), all)), ...body(facts, all)];
  return el(
    "section",
    { class: "panel route" },
    el("h2", {}, el("span", { class: "method" }, method.toUpperCase()), el("code", {}, path)),
    facts.summary || facts.description ? el("p", {}, facts.description || facts.summary) : null,
    rows.length ? el("table", {}, el("tbody", {}, ...rows)) : null,
    el("pre", { tabindex: "0", "aria-label": "curl" }, el("code", {}, curl(path, method, facts, all))),
  );
}

function parameter(one, all) {
  const kind = typed(one.schema ?? {}, all);
  const preset = one.schema?.default;
  const more = preset === undefined || preset === null || preset === "" ? "" : `, by default ${preset}`;
  return row(one.name, `${one.in}${one.required ? ", needed" : ""}`, [kind + more, one.description].filter(Boolean).join(": "));
}

function body(facts, all) {
  return Object.entries(facts.requestBody?.content ?? {}).flatMap(([media, { schema }]) => {
    const shape = resolved(schema ?? {}, all);
    return Object.entries(shape.properties ?? {}).map(([name, one]) => row(name, media, [typed(one, all), one.description].filter(Boolean).join(": ")));
  });
}

const row = (name, where, what) => el("tr", {}, el("th", { scope: "row" }, el("code", {}, name)), el("td", { class: "muted" }, where), el("td", {}, what));

function resolved(part, all) {
  if (!part.$ref) return part;
  return part.$ref.slice(2).split("/").reduce((value, key) => value?.[key], all) ?? {};
}

function typed(schema, all) {
  const one = resolved(schema, all);
  if (one.enum) return one.enum.join(" | ");
  if (one.anyOf) return [...new Set(one.anyOf.map((part) => typed(part, all)))].filter((name) => name !== "null").join(" or ");
  if (one.type === "array") return `${typed(one.items ?? {}, all) || "value"}, one or more`;
  if (one.format === "binary" || one.contentMediaType) return "file";
  return one.type ?? "";
}

function curl(path, method, facts, all) {
  const here = new URL(".", document.baseURI).href.replace(/\/$/, "");
  const needed = (facts.parameters ?? [])
    .map((one) => resolved(one, all))
    .filter((one) => one.in === "query" && one.required)
    .map((one) => `${one.name}=${one.name.toUpperCase()}`);
  const address = here + path.replace(/\{([^}:]+)[^}]*\}/g, (_, name) => name.toUpperCase()) + (needed.length ? `?${needed.join("&")}` : "");
  const parts = ["curl"];
  if (method !== "get") parts.push("-X", method.toUpperCase());
  for (const [media, { schema }] of Object.entries(facts.requestBody?.content ?? {})) {
    if (!media.startsWith("multipart/")) continue;
    for (const name of Object.keys(resolved(schema ?? {}, all).properties ?? {})) parts.push("-F", `'${name}=@cell.tif'`);
  }
  if (/\.(png|csv)$/.test(path)) parts.push("-O", "-J");
  parts.push(`'${address}'`);
  return parts.join(" ");
}

start();
