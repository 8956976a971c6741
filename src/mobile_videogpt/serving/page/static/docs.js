// Shows /openapi.json: operations with their parameters and bodies, and the forms they are made of.

import { fetchJson, key } from "./api.js";
import { byId, make, showAlert } from "./dom.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key").value.trim());
  load();
});
load();

async function load() {
  try {
    show(await fetchJson("/openapi.json"));
    byId("key-form").hidden = true;
    showAlert(byId("problem"), null);
  } catch (error) {
    byId("key-form").hidden = error.status !== 401;
    showAlert(byId("problem"), error.status === 401 && !key.get() ? null : error.message);
  }
}

function show(api) {
  byId("title").textContent = `${api.info.title} ${api.info.version}`;
  byId("summary").textContent = api.info.summary ?? "";
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths))
    for (const method of METHODS.filter((name) => methods[name])) {
      const [tag] = methods[method].tags ?? ["other"];
      groups.set(tag, [...(groups.get(tag) ?? []), operation(method, path, methods[method])]);
    }
  const parts = [...groups].flatMap(([tag, operations]) => [make("h2", {}, tag), ...operations]);
  byId("operations").replaceChildren(...parts);
  byId("schemas-title").hidden = false;
  byId("schemas").replaceChildren(
    ...Object.entries(api.components?.schemas ?? {}).map(([name, schema]) => form(name, schema)),
  );
}

function operation(method, path, described) {
  const body = make(
    "div",
    { class: "body" },
    make("p", {}, described.description ?? described.summary ?? ""),
  );
  if (described.parameters?.length)
    body.append(
      make("h3", {}, "Parameters"),
      table(
        described.parameters.map((parameter) =>
          row(parameter.name, parameter.schema, parameter.required, parameter.in),
        ),
      ),
    );
  for (const [type, content] of Object.entries(described.requestBody?.content ?? {}))
    body.append(make("h3", {}, `Body: ${type}`), schemaTable(content.schema));
  body.append(
    make("h3", {}, "From a shell"),
    make("pre", { tabindex: "0" }, curl(method, path, described)),
  );
  return make(
    "details",
    { class: "operation" },
    make(
      "summary",
      {},
      make("span", { class: "method" }, method.toUpperCase()),
      make("code", { class: "path" }, path),
      make("span", { class: "small" }, firstSentence(described)),
    ),
    body,
  );
}

const firstSentence = (described) =>
  (described.description ?? described.summary ?? "").split(/\.\s/)[0].replace(/\.$/, "");

function form(name, schema) {
  const body = make(
    "div",
    { class: "body" },
    make("p", {}, schema.description ?? ""),
    schemaTable(schema),
  );
  return make(
    "details",
    { class: "operation", id: `form-${name}` },
    make(
      "summary",
      {},
      make("code", { class: "path" }, name),
      make("span", { class: "small" }, firstSentence(schema)),
    ),
    body,
  );
}

function schemaTable(schema = {}) {
  if (!schema.properties) return make("p", {}, ...typed(schema));
  const wanted = new Set(schema.required);
  return table(
    Object.entries(schema.properties).map(([name, value]) => row(name, value, wanted.has(name))),
  );
}

const table = (rows) =>
  make(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Fields" },
    make(
      "table",
      {},
      make(
        "thead",
        {},
        make("tr", {}, ...["Name", "Type", ""].map((text) => make("th", { scope: "col" }, text))),
      ),
      make("tbody", {}, ...rows),
    ),
  );

function row(name, schema, isRequired, where = "") {
  const notes = [
    isRequired ? "required" : "",
    where === "path" ? "in the path" : "",
    limits(schema),
    schema.description ?? "",
  ];
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, make("code", {}, name)),
    make("td", {}, ...typed(schema)),
    make("td", {}, notes.filter(Boolean).join("; ")),
  );
}

/** The type, with links to other forms. */
function typed(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return [
      make("a", { href: `#form-${name}`, onclick: () => (byId(`form-${name}`).open = true) }, name),
    ];
  }
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.flatMap((choice, at) => [...(at ? [" or "] : []), ...typed(choice)]);
  if (schema.type === "array") return ["list of ", ...typed(schema.items ?? {})];
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" or ")];
  return [String(schema.type ?? (schema.contentMediaType ? "file" : "any"))];
}

function limits(schema) {
  const own =
    [schema, ...(schema.anyOf ?? [])].find((choice) =>
      ["minimum", "exclusiveMinimum", "maximum"].some((name) => name in choice),
    ) ?? {};
  const low =
    own.minimum !== undefined
      ? `at least ${own.minimum}`
      : own.exclusiveMinimum !== undefined
        ? `above ${own.exclusiveMinimum}`
        : "";
  return [low, own.maximum !== undefined ? `at most ${own.maximum}` : ""]
    .filter(Boolean)
    .join(", ");
}

function curl(method, path, described) {
  const types = Object.keys(described.requestBody?.content ?? {});
  const lines = [
    `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${location.origin}${path}`,
  ];
  if (key.get()) lines.push(`-H "Authorization: Bearer $KEY"`);
  if (types.includes("multipart/form-data")) lines.push("-F purpose=vision -F file=@clip.mp4");
  else if (types.length)
    lines.push(
      `-H "Content-Type: application/json"`,
      `-d '{"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-..."}}, {"type": "text", "text": "What happens?"}]}]}'`,
    );
  return lines.join(" \\\n  ");
}
