// The dictionary: every table and view that the caller may read, its columns, and how they are given.

import { badge, button, code, empty, failure, h, icon, put, search, skeleton } from "../ui.js";
import { columnsTable } from "./parts.js";

export default async function dictionary(ctx) {
	const { t, fmt, api, signal, params } = ctx;
	const { tables, views } = await api.get("/tables", { signal });
	const all = [...tables.map((r) => ({ ...r, kind: "table" })), ...views.map((r) => ({ ...r, kind: "view" }))];
	if (all.length === 0) return empty({ icon: "data", title: t("data.dictionary.none"), text: t("data.dictionary.none.text"), action: button(t("data.tab.products"), { onClick: () => ctx.go("/data?tab=products") }) });
	const details = h("div", { class: "dictionary-details" });
	const list = h("nav", { class: "dictionary-list", "aria-label": t("data.dictionary.list") });
	let chosen = all.find((r) => r.name === params.get("name")) ?? all[0];

	function index(text) {
		const wanted = text.trim().toLowerCase();
		const matching = all.filter((r) => !wanted || r.name.includes(wanted) || r.about.toLowerCase().includes(wanted));
		const groups = Map.groupBy(matching, (r) => r.name.split(".")[0]);
		put(list, [...groups].map(([schema, some]) => [h("h2", null, schema), h("ul", null, some.map((r) => h("li", null,
			h("a", {
				href: ctx.href(`/data?tab=dictionary&name=${encodeURIComponent(r.name)}`), "aria-current": r === chosen ? "true" : null,
				on: { click: (e) => { if (e.ctrlKey || e.metaKey) return; e.preventDefault(); choose(r); index(text); } },
			}, icon(r.kind === "view" ? "sql" : "table", { size: 14 }), r.name.split(".").slice(1).join(".")))))]));
		if (matching.length === 0) put(list, h("p", { class: "faint" }, t("data.dictionary.unknown")));
	}

	async function choose(r) {
		chosen = r;
		ctx.setParams({ tab: "dictionary", name: r.name });
		put(details, skeleton("table"));
		try {
			const info = await api.get(`/tables/${encodeURIComponent(r.name)}`, { signal });
			if (chosen === r) put(details, relation(ctx, r, info));
		} catch (err) {
			if (err.kind !== "aborted" && chosen === r) put(details, failure(err, { retry: () => choose(r) }));
		}
	}

	function relation(_, r, info) {
		const masked = info.columns.filter((c) => c.access === "masked").length;
		return h("div", { class: "card dictionary-card" },
			h("header", { class: "dictionary-head" },
				h("div", null, h("h2", null, h("code", null, info.name)), h("p", { class: "subtitle" }, info.about)),
				h("div", { class: "head-actions" },
					button(t("data.dictionary.sql"), {
						icon: "sql", small: true, onClick: () => {
							ctx.memory.set("sql", { statement: `SELECT ${info.columns.slice(0, 8).map((c) => c.name).join(", ")}\nFROM ${info.name}\nLIMIT 100`, from: info.name });
							ctx.go("/sql");
						},
					}),
					r.kind === "table" && exportable(ctx, info.name) && button(t("data.dictionary.export"), {
						icon: "download", small: true, onClick: () => {
							ctx.memory.set("export.request", { table: info.name });
							ctx.go("/data?tab=exports");
						},
					}))),
			h("div", { class: "chips" },
				badge(r.kind === "view" ? t("data.view") : t("data.table"), "neutral"),
				r.rows !== undefined && badge(t("data.rows", { n: r.rows }), "neutral"),
				r.bytes ? badge(fmt.bytes(r.bytes), "neutral") : null,
				r.as_of && badge(t("data.asof", { at: fmt.ago(r.as_of) }), "neutral", { icon: "clock" }),
				masked > 0 && badge(t("data.dictionary.masked", { n: masked }), "warn", { icon: "lock" })),
			columnsTable(ctx, info.columns, info.name),
			info.sql && h("details", { class: "schema" }, h("summary", null, t("data.dictionary.definition")), code(info.sql, { label: t("data.dictionary.definition") })));
	}

	index("");
	choose(chosen);
	return h("div", { class: "dictionary" }, h("div", { class: "dictionary-side" }, search({ label: t("data.dictionary.search"), placeholder: t("data.dictionary.search"), onInput: index }), list), details);
}

// exportable reports whether the caller may take a table's rows away.
export const exportable = ({ me }, name) => (me.grants ?? []).some((g) => g.table === name && g.action === "export");
