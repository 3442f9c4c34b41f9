// The SQL page: statements of the caller's own, with the caller's own grants. A statement stays in
// this tab's memory: it is in no URL and in no storage.

import { announce, badge, button, download, empty, failure, h, icon, menu, note, page, put, search, skeleton, table, tabs, toast } from "../ui.js";
import { editor } from "../editor.js";

const pageRows = 200;
const keptStatements = 50;

// parse reads an answer, numbers in full: those that a double does not hold stay text.
function parse(text) {
	return JSON.parse(text, (_, value, context) => (typeof value === "number" && context?.source && String(value) !== context.source && isWide(context.source) ? context.source : value));
}

// isWide reports whether a number's text has more digits than a double keeps.
const isWide = (source) => source.replace(/^-|\.|e.*$/gi, "").replace(/^0+/, "").length > 15 || /\.\d*0$/.test(source);

// charAt is the place in a text of a place in its UTF-8, which is how the server counts.
function charAt(text, offset) {
	return new TextDecoder().decode(new TextEncoder().encode(text).subarray(0, offset)).length;
}

// isNumeric reports whether values of a type are lined up at their end.
const isNumeric = (type) => /^(u?int|float|double|decimal|numeric|bigint)/i.test(type);

// typeName is an Arrow type as SQL names it.
const typeName = (type) => type.replace(/^utf8$/, "text").replace(/^bool$/, "boolean").replace(/^date32$/, "date").replace(/^float64$/, "double").replace(/^int64$/, "bigint").replace(/^int32$/, "integer")
	.replace(/^decimal\d*\((\d+), ?(\d+)\)$/, "decimal($1, $2)").replace(/^timestamp\[\w+, tz=.*\]$/, "timestamptz").replace(/^timestamp\[.*\]$/, "timestamp");

export default {
	name: "sql",
	title: "sql.title",
	uses: { tenant: false, range: false, compare: false },

	async render(ctx) {
		const { t, fmt, api, memory } = ctx;
		const history = memory.get("sql.history") ?? [];
		memory.set("sql.history", history);
		const opened = takeStatement(memory);
		const relations = await loadRelations(ctx);
		const results = h("div", { class: "sql-results", id: "sql-results" });
		let running = null;

		const input = editor({
			label: t("sql.statement"),
			hint: t("sql.keys"),
			value: memory.get("sql.statement") ?? starting(relations),
			complete: (word, before) => completions(relations, word, before),
			onRun: run,
			onChange: (text) => memory.set("sql.statement", text),
		});

		const runButton = button(t("sql.run"), { kind: "primary", icon: "play", busyWhile: false, title: t("sql.run.keys"), onClick: run });
		const stopButton = button(t("sql.stop"), { kind: "quiet", icon: "close", onClick: () => running?.abort() });
		stopButton.hidden = true;

		async function run() {
			const sql = input.value.trim();
			if (!sql) {
				toast(t("sql.nothing"), { tone: "warn" });
				input.focus();
				return;
			}
			running?.abort();
			const mine = (running = new AbortController());
			const signal = AbortSignal.any([mine.signal, ctx.signal]);
			const at = new Date();
			const started = performance.now();
			stopButton.hidden = false;
			input.mark(null);
			put(results, skeleton("table"));
			results.setAttribute("aria-busy", "true");
			const entry = { sql: input.value, at, state: "failed", rows: null, ms: 0 };
			try {
				const first = parse(await (await api.raw("/query", { method: "POST", body: { sql: input.value, page_rows: pageRows }, signal })).text());
				if (first.end?.error) throw Object.assign(new Error(first.end.error.detail), first.end.error, { kind: "statement" });
				entry.ms = performance.now() - started;
				entry.state = "done";
				entry.rows = first.next ? null : first.rows.length;
				announce(first.next ? t("sql.rows.more", { n: first.rows.length }) : t("sql.rows", { n: first.rows.length }));
				put(results, answer(ctx, entry.sql, first, entry.ms));
			} catch (err) {
				if (mine.signal.aborted && running !== mine) return; // another one runs
				if (ctx.signal.aborted) return;
				if (mine.signal.aborted) entry.state = "cancelled";
				put(results, entry.state === "cancelled" ? empty({ icon: "close", title: t("sql.stopped"), text: t("sql.stopped.text") }) : fault(ctx, input, entry.sql, err, run));
			} finally {
				if (running === mine) {
					running = null;
					stopButton.hidden = true;
					results.removeAttribute("aria-busy");
				}
			}
			history.unshift(entry);
			history.length = Math.min(history.length, keptStatements);
			side.replaceWith((side = sidebar()));
		}

		const sidebar = () => {
			const selected = memory.get("sql.side") ?? "tables";
			return h("div", { class: "sql-side" }, tabs({
				label: t("sql.side"), selected, onChange: (id) => memory.set("sql.side", id),
				items: [
					{ id: "tables", label: t("sql.tables"), render: () => browser(ctx, relations, input) },
					{ id: "history", label: t("sql.history"), count: history.length || undefined, render: () => past(ctx, history, input) },
				],
			}));
		};
		let side = sidebar();

		put(results, empty({ icon: "sql", title: t("sql.empty.title"), text: t("sql.empty.text") }));
		const node = page(
			{ title: t("sql.title"), subtitle: t("sql.subtitle") },
			opened && note(t("sql.opened", { title: opened }), "info"),
			h("div", { class: "sql" },
				side,
				h("div", { class: "sql-main" },
					h("div", { class: "sql-editor card" },
						input.element,
						h("div", { class: "sql-bar" },
							runButton, stopButton,
							h("span", { class: "sql-grants" }, icon("lock", { size: 14 }), t("sql.grants")),
							menu(button(t("sql.more"), { kind: "quiet", icon: "more", small: true }), [
								{ label: t("sql.format.clear"), icon: "trash", onSelect: () => { input.value = ""; input.focus(); } },
								{ label: t("sql.copy"), icon: "copy", onSelect: () => navigator.clipboard.writeText(input.value).then(() => toast(t("app.copied"), { tone: "good" }), () => toast(t("sql.copy.failed"), { tone: "warn" })) },
								{ label: t("sql.export"), icon: "download", onSelect: () => { memory.set("export.request", { sql: input.value }); ctx.go("/data?tab=exports"); } },
							]))),
					results)),
		);
		// A figure's statement that was opened here is there to be run, not run by itself: what is
		// asked is on record as the caller's.
		return { node, dispose: () => running?.abort() };
	},
};

// takeStatement puts the statement that another page gave into the editor's place, and returns what
// it is of.
function takeStatement(memory) {
	const given = memory.get("sql");
	memory.delete("sql");
	const statement = typeof given === "string" ? given : given?.statement;
	if (!statement) return "";
	memory.set("sql.statement", statement.trim());
	return given.from ?? "";
}

// loadRelations are the tables and views that the caller may read; the page works without them.
async function loadRelations({ api, signal }) {
	try {
		const { tables, views } = await api.get("/tables", { signal });
		const all = [...views.map((v) => ({ ...v, kind: "view" })), ...tables.map((v) => ({ ...v, kind: "table" }))];
		return all.map((r) => ({ ...r, columns: null, load: once(async () => (r.columns ?? (await api.get(`/tables/${encodeURIComponent(r.name)}`)).columns)) }));
	} catch (err) {
		if (err.kind === "aborted") throw err;
		return Object.assign([], { error: err });
	}
}

// once makes a call that is made once, and again if it failed.
function once(call) {
	let made = null;
	return () => (made ??= call().catch((err) => { made = null; throw err; }));
}

const starting = (relations) => {
	const first = relations.find((r) => r.name === "views.approvals_by_hour") ?? relations.find((r) => r.kind === "view") ?? relations[0];
	return first ? `SELECT *\nFROM ${first.name}\nLIMIT 100` : "";
};

const keywords = "SELECT FROM WHERE GROUP BY ORDER BY LIMIT HAVING JOIN LEFT JOIN ON AS AND OR NOT IN BETWEEN LIKE IS NULL CASE WHEN THEN ELSE END DISTINCT COUNT SUM AVG MIN MAX COALESCE CAST DATE TIMESTAMP INTERVAL FILTER OVER PARTITION BY UNION ALL WITH DESC ASC".split(" ");

// completions are what the word at the caret could become, those that the statement is of first.
function completions(relations, word, statement) {
	const lower = word.toLowerCase();
	const text = statement.toLowerCase();
	const found = [];
	const add = (insert, kind, detail) => {
		if (insert.toLowerCase() !== lower && !found.some((f) => f.insert === insert)) found.push({ insert, kind, detail });
	};
	for (const r of relations) {
		if (!text.includes(r.name.toLowerCase())) continue;
		if (!r.loaded) {
			r.loaded = true;
			r.load().then((columns) => (r.columns = columns), () => (r.loaded = false));
		}
		for (const c of r.columns ?? []) if (c.name.toLowerCase().startsWith(lower)) add(c.name, "column", c.type);
	}
	for (const r of relations) {
		if (r.name.toLowerCase().startsWith(lower) || r.name.split(".").pop().toLowerCase().startsWith(lower)) add(r.name, r.kind, "");
	}
	if (word.length > 1) for (const k of new Set(keywords)) if (k.toLowerCase().startsWith(lower)) add(k, "keyword", "");
	return found.slice(0, 12);
}

// browser lists tables and views, and their columns when they are opened.
function browser(ctx, relations, input) {
	const { t, fmt } = ctx;
	if (relations.error) return failure(relations.error, { compact: true, retry: () => ctx.go("/sql", { replace: true }) });
	if (!relations.length) return empty({ icon: "data", title: t("sql.tables.none"), text: t("sql.tables.none.text"), action: [button(t("sql.tables.products"), { onClick: () => ctx.go("/data?tab=products") })] });
	const list = h("div", { class: "sql-relations" });
	const show = (text) => {
		const wanted = text.trim().toLowerCase();
		const groups = [["view", t("sql.views")], ["table", t("sql.base")]];
		put(list, groups.map(([kind, title]) => {
			const some = relations.filter((r) => r.kind === kind && (!wanted || r.name.includes(wanted) || r.about.toLowerCase().includes(wanted)));
			return some.length ? [h("h2", { class: "sql-group" }, title), some.map((r) => relation(ctx, r, input))] : null;
		}));
		if (!list.childNodes.length) put(list, h("p", { class: "faint" }, t("sql.tables.unknown")));
	};
	show("");
	return h("div", null, search({ label: t("sql.tables.search"), placeholder: t("sql.tables.search"), onInput: show }), list);
}

function relation({ t, fmt, signal }, r, input) {
	const columns = h("div", { class: "sql-columns" });
	const short = r.name.split(".");
	const details = h("details", { class: "sql-relation" },
		h("summary", { title: r.about }, icon("chevron-right", { size: 14 }), h("span", { class: "sql-schema" }, `${short[0]}.`), h("span", { class: "sql-name" }, short.slice(1).join("."))),
		h("p", { class: "sql-about" }, r.about, r.rows !== undefined && r.kind === "table" ? ` · ${t("sql.table.rows", { n: r.rows })}` : null),
		h("div", { class: "sql-actions" },
			button(t("sql.select"), { small: true, kind: "quiet", icon: "play", title: t("sql.select.hint"), onClick: async () => {
				const list = (await r.load()).map((c) => c.name);
				input.value = `SELECT ${list.slice(0, 8).join(", ")}\nFROM ${r.name}\nLIMIT 100`;
				input.focus();
			} }),
			button(t("sql.insert"), { small: true, kind: "quiet", icon: "plus", onClick: () => input.insert(r.name) })),
		columns);
	details.addEventListener("toggle", async () => {
		if (!details.open || columns.childNodes.length) return;
		put(columns, skeleton("list"));
		try {
			r.columns = await r.load();
			put(columns, h("ul", null, r.columns.map((c) => h("li", null,
				h("button", { type: "button", class: "sql-column", title: c.about, on: { click: () => input.insert(c.name) }, "aria-label": t("sql.column.insert", { name: c.name }) },
					h("span", null, c.name), h("span", { class: "sql-type" }, c.type), c.access === "masked" ? badge(t("sql.masked"), "warn") : null)))));
		} catch (err) {
			if (!signal.aborted) put(columns, failure(err, { compact: true }));
		}
	});
	return details;
}

// past lists what was run in this tab.
function past({ t, fmt }, history, input) {
	if (!history.length) return empty({ icon: "history", title: t("sql.history.none"), text: t("sql.history.text") });
	const tones = { done: ["check", "good"], failed: ["error", "bad"], cancelled: ["close", "neutral"] };
	return h("ol", { class: "sql-history" }, history.map((e) => h("li", null,
		h("button", { type: "button", on: { click: () => { input.value = e.sql; input.focus(); } }, "aria-label": t("sql.history.use", { at: fmt.time(e.at, { seconds: true }) }) },
			h("code", null, e.sql.trim().slice(0, 160)),
			h("span", { class: "sql-history-facts" }, badge(t(`sql.state.${e.state}`), tones[e.state][1], { icon: tones[e.state][0] }), fmt.time(e.at, { seconds: true }), e.rows === null ? null : ` · ${t("sql.rows", { n: e.rows })}`)))));
}

// answer shows rows by page.
function answer(ctx, sql, first, ms) {
	const { t, fmt, api } = ctx;
	const pages = [first];
	let at = 0;
	const body = h("div", null);
	const keys = uniqueNames(first.columns.map((c) => c.name));
	const columns = first.columns.map((c, i) => ({
		key: keys[i], label: h("span", { class: "sql-head" }, c.name, h("small", null, typeName(c.type))), align: isNumeric(c.type) ? "end" : "start",
		format: (value) => cell(value, t),
	}));
	const count = h("p", { class: "sql-count", role: "status" });
	const previous = button(t("sql.previous"), { small: true, icon: "chevron", onClick: () => { at--; show(); } });
	const following = button(t("sql.next"), { small: true, icon: "chevron-right", onClick: next });
	async function next() {
		if (!pages[at + 1]) {
			try {
				pages.push(parse(await (await api.raw(pages[at].next, { signal: ctx.signal })).text()));
			} catch (err) {
				if (err.kind !== "aborted") toast(err.detail || t("sql.page.failed"), { tone: "bad" });
				return;
			}
		}
		at++;
		show();
	}
	function show() {
		const from = at * pageRows;
		const rows = pages[at].rows;
		const isLast = !pages[at].next;
		count.textContent = [
			isLast && at === 0 ? t("sql.rows", { n: rows.length }) : t(isLast ? "sql.page.last" : "sql.page", { from: fmt.count(from + 1), to: fmt.count(from + rows.length) }),
			t("sql.took", { time: fmt.duration(ms / 1000) }),
			first.as_of ? t("sql.asof", { at: fmt.instant(first.as_of, { seconds: true }) }) : "",
		].filter(Boolean).join(" · ");
		previous.disabled = at === 0;
		following.disabled = isLast;
		put(body, table({ columns, rows, caption: t("sql.caption"), dense: true, empty: t("sql.rows.none") }));
	}
	show();
	const file = (format, type, label) => ({
		label, icon: "download", onSelect: async () => {
			try {
				const response = await api.raw("/query", { method: "POST", body: { sql, format }, headers: { Accept: type }, signal: ctx.signal });
				download(`answer.${format}`, await response.blob(), type);
				announce(t("sql.downloaded"));
			} catch (err) {
				if (err.kind !== "aborted") toast(err.detail || t("sql.download.failed"), { tone: "bad" });
			}
		},
	});
	return h("div", { class: "sql-answer card" },
		h("div", { class: "sql-answer-bar" }, count,
			h("div", { class: "sql-answer-actions" },
				pages[0].next ? [previous, following] : null,
				menu(button(t("app.download"), { small: true, icon: "download" }), [
					file("csv", "text/csv", t("sql.download.csv")), file("parquet", "application/vnd.apache.parquet", t("sql.download.parquet")),
				]))),
		first.partial ? note(t("sql.partial"), "warn") : null,
		first.destroyed_rows ? note(t("sql.destroyed", { n: first.destroyed_rows }), "info") : null,
		h("div", { class: "sql-rows" }, body));
}

// uniqueNames are the keys of rows: the server appends _2, _3 … to names that come again.
function uniqueNames(names) {
	const used = new Set();
	return names.map((name) => {
		let key = name;
		for (let n = 2; used.has(key); n++) key = `${name}_${n}`;
		used.add(key);
		return key;
	});
}

function cell(value, t) {
	if (value === null || value === undefined) return h("span", { class: "sql-null" }, "NULL");
	if (typeof value === "object") return h("code", null, JSON.stringify(value));
	return String(value);
}

// fault shows what is wrong with a statement, and where.
function fault({ t }, input, sql, err, retry) {
	if (err.kind !== "statement") return failure(err, { retry });
	const box = h("div", { class: "sql-fault card", role: "alert" }, h("h2", null, icon("error"), t("sql.fault")), h("p", { class: "sql-fault-text" }, err.detail || err.message));
	if (Number.isInteger(err.offset)) {
		const at = Math.min(charAt(sql, err.offset), sql.length);
		const before = sql.slice(0, at).split("\n");
		const line = before.length;
		const column = before.at(-1).length + 1;
		const text = sql.split("\n")[line - 1];
		const word = /^[\w.]+/.exec(text.slice(column - 1))?.[0].length || 1;
		input.mark({ line, column, length: word });
		box.append(
			h("p", { class: "sql-place" }, t("sql.fault.place", { line, column }), " ", button(t("sql.fault.go"), { small: true, kind: "quiet", onClick: () => input.select(at, at + word) })),
			h("pre", { class: "sql-frame", "aria-hidden": "true" }, h("code", null, text.slice(0, column - 1), h("mark", null, text.slice(column - 1, column - 1 + word) || " "), text.slice(column - 1 + word))));
	}
	if (err.hint) box.append(note(err.hint, "info"));
	return box;
}
