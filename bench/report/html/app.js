"use strict";
// Sorts, filters, fills the packed sections and opens a row's cells. Text from records is only ever set as text.
(() => {
  const $ = (id) => document.getElementById(id);
  const el = (name, text, attributes = {}) => {
    const node = document.createElement(name);
    if (text !== undefined && text !== null) node.textContent = text;
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };

  // --- packed data -------------------------------------------------------------------------------------------------
  const unpack = async () => {
    const bytes = Uint8Array.from(atob($("payload").textContent.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };
  const ready = unpack().then((payload) => {
    for (const place of document.querySelectorAll("[data-fill]")) {
      place.innerHTML = payload.sections[place.dataset.fill] ?? ""; // made by the report's own escaping templates
    }
    filter();
    openTarget();
    document.documentElement.dataset.ready = "true";
    return payload;
  });

  // --- sorting -----------------------------------------------------------------------------------------------------
  const value = (row, column) => {
    const cell = row.cells[column];
    const raw = cell.dataset.v ?? cell.textContent.trim();
    return raw === "" ? null : Number.isNaN(Number(raw)) ? raw : Number(raw);
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const sort = (button) => {
    const head = button.closest("th");
    const table = button.closest("table");
    const column = head.cellIndex;
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const th of table.tHead.rows[0].cells) th.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };

  // --- filtering ---------------------------------------------------------------------------------------------------
  const filter = () => {
    const part = $("filter-name").value.trim().toLowerCase();
    const guarantee = $("filter-guarantee").value;
    const references = $("filter-reference").checked;
    for (const row of document.querySelectorAll("#overview tr[data-name], #datasets tr[data-name]")) {
      row.hidden =
        !row.dataset.name.toLowerCase().includes(part) ||
        (guarantee !== "" && row.dataset.guarantee !== guarantee) ||
        (!references && row.classList.contains("reference"));
    }
    const rows = [...document.querySelectorAll("#overview tbody tr")];
    $("filter-count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  $("filters").addEventListener("input", filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());

  // --- a row's cells -----------------------------------------------------------------------------------------------
  const number = (x, digits = 3) => (x === null || x === undefined ? "–" : Number(x).toFixed(digits));
  const list = (pairs) => {
    const node = el("dl");
    for (const [key, text] of pairs) node.append(el("dt", key), el("dd", text));
    return node;
  };
  const scrolling = (node, label) => {
    const box = el("div", null, { class: "scroll", tabindex: "0", role: "region", "aria-label": label });
    box.append(node);
    return box;
  };
  const cellTable = (row, cells) => {
    const table = el("table");
    const head = table.createTHead().insertRow();
    const titles = ["seed", "effort", "status", row.metric, "chance", "fit CPU s", "wall s", "peak MiB", "converged"];
    for (const title of titles) head.append(el("th", title, { scope: "col" }));
    const body = table.createTBody();
    for (const cell of cells) {
      const [score, chance] = cell.metrics[row.metric] ?? [null, null];
      const line = body.insertRow();
      line.append(el("th", cell.spec.repetition, { scope: "row" }));
      const wall = Object.values(cell.wall_s).reduce((sum, x) => sum + x, 0);
      const converged = cell.converged === null ? "not said" : cell.converged ? "yes" : "no";
      const texts = [cell.spec.effort ?? 1, cell.status, number(score), number(chance), number(cell.cpu_s.fit, 2)];
      texts.push(number(wall, 2), number(cell.memory.peak_mib, 0), converged);
      for (const text of texts) line.append(el("td", text));
    }
    return scrolling(table, "Cells");
  };
  const show = async (id) => {
    const payload = await ready;
    const row = payload.rows[id];
    const cells = row.cells.map((index) => payload.cells[index]);
    const body = $("details-body");
    body.replaceChildren();
    $("details-title").textContent = `${row.name} on ${row.board}`;
    if (row.theorem) body.append(el("p", `Theorem: ${row.theorem}`));
    const reasons = cells.flatMap((cell) => [cell.reason, cell.converged_reason]).filter((reason) => reason);
    for (const reason of new Set(reasons)) body.append(el("p", reason));
    body.append(el("h3", "Cells"), cellTable(row, cells));
    const factors = cells.filter((cell) => cell.factors.mcc || cell.factors.linear_r2);
    if (factors.length) {
      body.append(el("h3", "Factor by factor"));
      body.append(list(factors.flatMap((cell) => Object.entries(cell.factors).map(([name, values]) =>
        [`seed ${cell.spec.repetition}, ${name}`, values.map((x) => number(x, 2)).join(" ")]))));
    }
    if (row.commands.length) body.append(el("h3", "To make them again"), el("pre", row.commands.join("\n"), { tabindex: "0" }));
    const { learner_params: learner, dataset_params: dataset, ...spec } = cells[cells.length - 1].spec;
    body.append(el("h3", "Spec of the last cell"));
    body.append(list([...Object.entries(spec), ["learner_params", JSON.stringify(learner)], ["dataset_params", JSON.stringify(dataset)]]));
    body.append(el("h3", "Provenance"));
    const stamp = payload.provenance[cells[cells.length - 1].provenance];
    body.append(list(Object.entries(stamp).map(([key, x]) => [key, typeof x === "object" ? JSON.stringify(x) : String(x)])));
    $("details").showModal();
  };
  $("close").addEventListener("click", () => $("details").close());
  $("details").addEventListener("click", (event) => { if (event.target === $("details")) $("details").close(); });

  // --- downloads ---------------------------------------------------------------------------------------------------
  const save = (name, type, text) => {
    const link = el("a", null, { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
  };
  const flat = (cell) => {
    const { learner_params: learner, dataset_params: dataset, ...spec } = cell.spec;
    const scores = Object.fromEntries(Object.entries(cell.metrics).map(([name, [score]]) => [name, score]));
    const rest = { status: cell.status, reason: cell.reason, converged: cell.converged, fit_cpu_s: cell.cpu_s.fit, peak_mib: cell.memory.peak_mib };
    return { ...spec, learner_params: JSON.stringify(learner), dataset_params: JSON.stringify(dataset), ...rest, ...scores };
  };
  const quote = (x) => {
    const text = x === null || x === undefined ? "" : String(x);
    const harmless = typeof x === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
  };
  $("download-csv").addEventListener("click", async () => {
    const rows = (await ready).cells.map(flat);
    const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    const lines = [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => line.map(quote).join(","));
    save("records.csv", "text/csv", lines.join("\n") + "\n");
  });
  $("download-json").addEventListener("click", async () => {
    const { cells, provenance } = await ready;
    save("records.json", "application/json", JSON.stringify({ cells, provenance }));
  });

  // --- everything that is pressed ----------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.classList.contains("sort")) sort(button);
    if (button?.classList.contains("open")) show(button.dataset.row);
  });
  const openTarget = () => {
    const target = location.hash.length > 1 && $(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", openTarget);
})();
