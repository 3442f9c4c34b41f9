// Exports: rows taken away as files, and schedules that ask for them.

import { announce, badge, button, checkbox, confirm, dialog, drawer, empty, facts, failure, field, h, icon, input, menu, note, progress, put, section, segmented, select, skeleton, table, textarea, toast } from "../ui.js";
import { copy, letters } from "./parts.js";

const refreshEvery = 2000; // milliseconds, while something runs
const formats = ["parquet", "csv", "jsonl", "xlsx"];
const states = { queued: ["clock", "info"], running: ["refresh", "info"], done: ["check", "good"], failed: ["error", "bad"], cancelled: ["close", "neutral"], expired: ["clock", "neutral"] };
const usual = "cards.transactions"; // what most people take away
const isFinal = (x) => x.state !== "queued" && x.state !== "running";

export default async function exports(ctx) {
	const { t, api, signal, me, memory } = ctx;
	const mayExport = (me.actions?.export ?? []).length > 0;
	const list = h("div", null);
	const plans = h("div", null);

	let timer = 0;
	const refresh = async (background) => {
		clearTimeout(timer);
		const { exports: all } = await api.get("/exports", { signal, background });
		all.sort((a, b) => b.created_at.localeCompare(a.created_at));
		put(list, jobs(ctx, all, refresh));
		if (!signal.aborted && all.some((x) => !isFinal(x))) timer = setTimeout(() => refresh(true).catch(() => {}), refreshEvery);
	};
	const replan = async () => put(plans, schedules(ctx, (await api.get("/schedules", { signal })).schedules, replan));
	signal.addEventListener("abort", () => clearTimeout(timer));
	await Promise.all([refresh(false), replan()]);

	const start = (given) => create(ctx, given, async (isPlan) => {
		await (isPlan ? replan() : refresh(false));
	});
	const given = memory.get("export.request");
	memory.delete("export.request");
	if (given && mayExport) queueMicrotask(() => start(given));

	return h("div", { class: "stack" },
		section({
			title: t("data.exports.title"), subtitle: t("data.exports.text"),
			actions: [button(t("data.export.new"), { kind: "primary", icon: "plus", disabled: !mayExport, title: mayExport ? undefined : t("data.exports.refused"), onClick: () => { start({}); } })],
		}, mayExport ? null : note(t("data.exports.refused"), "warn"), list),
		section({ title: t("data.schedules.title"), subtitle: t("data.schedules.text") }, plans));
}

// what is what an export or schedule is of, in words.
function what({ t, fmt }, request, window = request) {
	if (request.sql) return h("div", null, h("strong", null, t("data.export.statement")), h("code", { class: "one-line", title: request.sql }, request.sql));
	const from = window.from && day(fmt, window.from), to = window.to && day(fmt, window.to, true);
	const range = from && to ? t("data.export.range", { from, to }) : from ? t("data.export.since", { from }) : to ? t("data.export.until", { to }) : t("data.export.all");
	return h("div", null, h("code", null, request.table), h("div", { class: "faint" }, range));
}

// day is a UTC instant as a day, or, if it is none's beginning, as an instant. An end is told by the
// last day before it.
const day = (fmt, at, isEnd = false) => (/T00:00:00(\.0+)?Z$/.test(at) ? fmt.day(new Date(Date.parse(at) - (isEnd ? 86_400_000 : 0)).toISOString().slice(0, 10)) : fmt.instant(at));

const formatName = (t, r) => [t(`data.format.${r.format}`), r.compression && r.compression !== "none" ? ` · ${r.compression}` : "", r.encryption && r.encryption !== "none" ? ` · ${t(`data.encryption.${r.encryption}.short`)}` : ""].join("");

function jobs(ctx, all, refresh) {
	const { t, fmt, api } = ctx;
	if (all.length === 0) return empty({ icon: "download", title: t("data.exports.none"), text: t("data.exports.none.text") });
	return table({
		caption: t("data.list", { title: t("data.exports.title") }), rows: all, rowKey: (x) => x.id,
		columns: [
			{ key: "request", label: t("data.export.what"), format: (r) => what(ctx, r), class: "wrap" },
			{ key: "tenant", label: t("data.tenant") },
			{ key: "format", label: t("data.format"), format: (_, x) => formatName(t, x.request) },
			{ key: "state", label: t("data.state"), format: (_, x) => stateOf(ctx, x) },
			{ key: "rows", label: t("data.size"), align: "end", format: (_, x) => (x.progress.rows ? h("div", null, fmt.count(x.progress.rows), h("div", { class: "faint" }, fmt.bytes(x.progress.bytes))) : "–") },
			{ key: "created_at", label: t("data.export.created"), format: (at, x) => h("div", null, fmt.instant(at), x.expires_at && x.state === "done" ? h("div", { class: "faint" }, t("data.export.expires", { at: fmt.instant(x.expires_at) })) : null) },
			{ key: "actions", label: t("data.actions"), align: "end", format: (_, x) => actions(ctx, x, refresh) },
		],
	});
}

function stateOf({ t, fmt }, x) {
	const [shape, tone] = states[x.state] ?? ["info", "neutral"];
	const p = x.progress;
	return h("div", { class: "export-state" }, badge(t(`data.export.${x.state}`), tone, { icon: shape }),
		x.state === "running" && h("div", { class: "export-progress" },
			progress({ value: p.planned_rows ? p.percent / 100 : undefined, label: t("data.export.progress") }),
			h("span", { class: "faint" }, p.planned_rows ? fmt.percent(p.percent / 100, 0) : t("data.rows", { n: p.rows }))),
		x.error && h("p", { class: "export-error" }, x.error));
}

function actions(ctx, x, refresh) {
	const { t, fmt, api } = ctx;
	if (!isFinal(x)) {
		return button(t("app.cancel"), { small: true, icon: "close", onClick: async () => {
			await api.del(`/exports/${x.id}`);
			announce(t("data.export.cancelled"));
			await refresh(false);
		} });
	}
	if (x.state !== "done") return null;
	const files = x.files.filter((f) => f.number > 0);
	const manifest = { label: t("data.export.manifest"), icon: "info", onSelect: () => showManifest(ctx, x) };
	const linkTo = (f) => ({ label: t("data.export.link", { name: f.name }), icon: "share", onSelect: async () => {
		try {
			const link = await api.post(`/exports/${x.id}/links`, { file: f.number, valid_seconds: 900 });
			await copy(t, new URL(link.url, location.origin).href, toast);
		} catch (err) {
			toast(err.detail || t("data.export.link.failed"), { tone: "bad" });
		}
	} });
	// A link lets the browser write the file as it comes: an export may be larger than memory.
	const address = (f) => `/v1/exports/${x.id}/files/${f.number}`;
	const more = menu(button(t("data.actions"), { small: true, kind: "quiet", icon: "more", iconOnly: true }), [manifest, ...files.slice(0, 5).map(linkTo)]);
	if (files.length === 0) return h("div", { class: "row-actions" }, h("span", { class: "faint" }, t("data.export.norows")), more);
	if (files.length === 1) {
		return h("div", { class: "row-actions" },
			h("a", { class: "button button-default button-small", href: address(files[0]), download: files[0].name, "aria-label": t("data.export.download", { name: files[0].name }) }, icon("download", { size: 14 }), h("span", null, t("app.download"))), more);
	}
	return h("div", { class: "row-actions" },
		menu(button(t("data.export.files", { n: files.length }), { small: true, icon: "download" }), files.map((f) => ({ label: f.name, icon: "download", hint: fmt.bytes(f.bytes), onSelect: () => fetchFile(address(f), f.name) }))), more);
}

function fetchFile(address, name) {
	const a = h("a", { href: address, download: name });
	document.body.append(a);
	a.click();
	a.remove();
}

async function showManifest(ctx, x) {
	const { t, fmt, api, signal } = ctx;
	const body = h("div", { class: "stack" }, skeleton("list"));
	drawer({ title: t("data.export.manifest"), subtitle: t("data.export.manifest.text"), body }).open();
	try {
		const m = await api.get(`/exports/${x.id}/files/0`, { signal });
		put(body,
			facts([
				[t("data.export.what"), what(ctx, m)],
				[t("data.tenant"), m.tenant],
				[t("data.export.by"), m.principal],
				[t("data.asof.label"), m.as_of ? fmt.instant(m.as_of, { seconds: true }) : "–"],
				[t("data.format"), formatName(t, m)],
				[t("data.size"), `${t("data.rows", { n: m.rows })} · ${fmt.bytes(m.bytes)}`],
				m.guarded_texts ? [t("data.export.guarded"), t("data.export.guarded.text", { n: m.guarded_texts })] : null,
			]),
			section(t("data.export.files.title"), h("ul", { class: "hashes" }, m.files.map((f) => h("li", null, h("strong", null, f.name), h("span", { class: "faint" }, `${t("data.rows", { n: f.rows })} · ${fmt.bytes(f.bytes)}`), h("code", { title: "SHA-256" }, f.sha256))))),
			section(t("data.columns.title"), table({
				caption: t("data.list", { title: t("data.columns.title") }), dense: true, rows: m.columns,
				columns: [{ key: "name", label: t("data.column"), format: (v) => h("code", null, v) }, { key: "type", label: t("data.type"), format: (v) => h("code", { class: "faint" }, v) }, { key: "access", label: t("data.access"), format: (v) => (v ? t(`data.access.${v}`) : "–") }],
			})));
	} catch (err) {
		if (err.kind !== "aborted") put(body, failure(err));
	}
}

function schedules(ctx, all, refresh) {
	const { t, fmt, api } = ctx;
	if (all.length === 0) return empty({ icon: "calendar", title: t("data.schedules.none"), text: t("data.schedules.none.text"), compact: true });
	const change = (path, method, done) => async () => {
		await api[method](path);
		toast(t(done), { tone: "good" });
		await refresh();
	};
	return table({
		caption: t("data.list", { title: t("data.schedules.title") }), rows: all, rowKey: (x) => x.id,
		columns: [
			{ key: "request", label: t("data.export.what"), format: (r) => h("code", null, r.table) },
			{ key: "tenant", label: t("data.tenant"), format: (_, x) => x.request.tenant },
			{ key: "format", label: t("data.format"), format: (_, x) => formatName(t, x.request) },
			{ key: "every", label: t("data.schedule.every"), format: (v, x) => h("div", null, t.has(`data.every.${v}`) ? t(`data.every.${v}`) : h("code", null, v), h("div", { class: "faint" }, x.time_zone || "UTC")) },
			{ key: "from", label: t("data.schedule.next"), format: (_, x) => `${day(fmt, x.from)} – ${day(fmt, x.to, true)}` },
			{ key: "state", label: t("data.state"), format: (_, x) => h("div", null, x.paused ? badge(t("data.schedule.paused"), "warn", { icon: "pause" }) : badge(t("data.schedule.active"), "good", { icon: "check" }), x.reason && h("p", { class: "export-error" }, x.reason)) },
			{
				key: "actions", label: t("data.actions"), align: "end", format: (_, x) => h("div", { class: "row-actions" },
					x.paused ? button(t("data.schedule.resume"), { small: true, icon: "play", onClick: change(`/schedules/${x.id}/resume`, "post", "data.schedule.resumed") })
						: button(t("data.schedule.pause"), { small: true, icon: "pause", onClick: change(`/schedules/${x.id}/pause`, "post", "data.schedule.pausedNow") }),
					button(t("app.delete"), { small: true, kind: "quiet", icon: "trash", iconOnly: true, onClick: async () => {
						if (await confirm({ title: t("data.schedule.remove"), text: t("data.schedule.remove.text"), action: t("app.delete"), danger: true })) await change(`/schedules/${x.id}`, "del", "data.schedule.removed")();
					} })),
			},
		],
	});
}

// create asks what to export, how, and whether once or again and again.
function create(ctx, given, done) {
	const { t, me, tenant, api } = ctx;
	const tables = [...new Set((me.grants ?? []).filter((g) => g.action === "export").map((g) => g.table))].sort();
	const state = {
		kind: given.sql ? "sql" : "table", table: given.table ?? (tables.includes(usual) ? usual : tables[0] ?? ""), sql: given.sql ?? "", tenant: (me.actions.export.includes(tenant) && tenant) || me.actions.export[0],
		from: "", to: "", columns: null, format: "csv", compression: "none", encryption: "none", when: "once", every: "daily", cron: "", zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
	};
	const key = letters(24);
	const body = h("form", { class: "stack export-form", on: { submit: (e) => { e.preventDefault(); send(); } } });
	const fault = h("div", { role: "alert" });
	const set = (name, again = false) => (value) => {
		state[name] = value;
		if (again) draw();
	};

	function draw() {
		const isText = state.format === "csv" || state.format === "jsonl";
		put(body,
			h("div", { class: "field" }, h("span", { class: "field-label" }, t("data.export.what")), segmented({ label: t("data.export.what"), value: state.kind, options: [{ value: "table", label: t("data.table") }, { value: "sql", label: t("data.export.statement") }], onChange: set("kind", true) })),
			h("div", { class: "form-grid" },
				me.actions.export.length > 1 && field({ label: t("data.tenant"), hint: t("data.export.tenant.hint"), control: choice("tenant", me.actions.export.map((v) => ({ value: v, label: v })), set("tenant")) }),
				state.kind === "table" && field({ label: t("data.table"), control: choice("table", tables.map((v) => ({ value: v, label: v })), (v) => { state.columns = null; set("table", true)(v); }) })),
			state.kind === "sql" && field({ label: t("sql.statement"), hint: t("data.export.sql.hint"), control: textarea({ rows: 5, required: true, class: "mono", value: state.sql, onInput: set("sql"), spellcheck: "false", name: "sql" }) }),
			state.kind === "table" && state.when === "once" && h("div", { class: "form-grid" },
				field({ label: t("data.export.from"), hint: t("data.export.utc"), optional: true, control: input({ type: "date", value: state.from, onChange: set("from"), name: "from" }) }),
				field({ label: t("data.export.to"), hint: t("data.export.to.hint"), optional: true, control: input({ type: "date", value: state.to, onChange: set("to"), name: "to" }) })),
			state.kind === "table" && columnChoice(),
			h("div", { class: "field" }, h("span", { class: "field-label" }, t("data.format")), segmented({ label: t("data.format"), value: state.format, options: formats.map((v) => ({ value: v, label: t(`data.format.${v}`) })), onChange: (v) => { state.format = v; if (v === "parquet" || v === "xlsx") state.compression = "none"; draw(); } }),
				h("span", { class: "field-hint" }, t(`data.format.${state.format}.hint`))),
			h("div", { class: "form-grid" },
				isText && field({ label: t("data.compression"), control: choice("compression", ["none", "zstd", "gzip"].map((v) => ({ value: v, label: v === "none" ? t("app.none") : v })), set("compression")) }),
				field({ label: t("data.encryption"), hint: t(`data.encryption.${state.encryption}.hint`), control: choice("encryption", ["none", "age", "kms"].map((v) => ({ value: v, label: t(`data.encryption.${v}`) })), set("encryption", true)) })),
			state.kind === "table" && h("div", { class: "field" }, h("span", { class: "field-label" }, t("data.when")), segmented({ label: t("data.when"), value: state.when, options: [{ value: "once", label: t("data.when.once") }, { value: "again", label: t("data.when.again") }], onChange: set("when", true) })),
			state.kind === "table" && state.when === "again" && h("div", { class: "form-grid" },
				field({ label: t("data.schedule.every"), hint: t("data.schedule.hint"), control: choice("every", ["hourly", "daily", "weekly", "monthly", "cron"].map((v) => ({ value: v, label: t(`data.every.${v}`) })), set("every", true)) }),
				state.every === "cron" && field({ label: t("data.schedule.cron"), hint: "30 2 * * 1-5", control: input({ required: true, value: state.cron, onInput: set("cron"), class: "input mono", name: "cron" }) }),
				field({ label: t("data.schedule.zone"), hint: t("data.schedule.zone.hint"), control: input({ value: state.zone, onInput: set("zone"), name: "zone" }) })),
			fault);
	}

	const choice = (name, options, onChange) => select({ name, value: state[name], options, onChange });

	function columnChoice() {
		const place = h("div", { class: "choices choices-columns" });
		const details = h("details", { class: "schema" }, h("summary", null, t("data.export.columns"), " ", h("span", { class: "faint" }, state.columns ? t("data.columns", { n: state.columns.size }) : t("data.export.columns.all"))), place);
		details.addEventListener("toggle", async () => {
			if (!details.open || place.childNodes.length) return;
			put(place, skeleton("text"));
			try {
				const { columns } = await api.get(`/tables/${encodeURIComponent(state.table)}`);
				const names = columns.map((c) => c.name);
				put(place, columns.map((c) => checkbox({
					label: c.access === "masked" ? t("data.masked", { tag: c.name }) : c.name, checked: state.columns?.has(c.name) ?? true, onChange: (on) => {
						state.columns ??= new Set(names);
						if (on) state.columns.add(c.name);
						else state.columns.delete(c.name);
						if (state.columns.size === names.length) state.columns = null;
					},
				})));
			} catch (err) {
				put(place, failure(err, { compact: true }));
			}
		});
		return details;
	}

	async function send() {
		put(fault);
		if (!body.reportValidity()) return;
		const isPlan = state.kind === "table" && state.when === "again";
		const request = { tenant: state.tenant, format: state.format };
		if (state.compression !== "none") request.compression = state.compression;
		if (state.encryption !== "none") request.encryption = state.encryption;
		if (state.kind === "sql") {
			request.sql = state.sql;
		} else {
			request.table = state.table;
			if (state.columns) request.columns = [...state.columns];
			if (!isPlan && state.from) request.from = `${state.from}T00:00:00Z`;
			if (!isPlan && state.to) request.to = new Date(Date.parse(`${state.to}T00:00:00Z`) + 86_400_000).toISOString();
		}
		try {
			if (isPlan) await api.post("/schedules", { ...request, every: state.every === "cron" ? state.cron : state.every, time_zone: state.zone });
			else await api.post("/exports", { ...request, idempotency_key: key });
			box.close();
			toast(t(isPlan ? "data.schedule.made" : "data.export.made"), { tone: "good" });
			await done(isPlan);
		} catch (err) {
			put(fault, err.status >= 400 && err.status < 500 && err.status !== 401 ? note([err.detail, err.hint].filter(Boolean).join(" "), "bad") : failure(err, { compact: true }));
		}
	}

	draw();
	const box = dialog({
		title: t("data.export.new"), body, wide: true,
		actions: [button(t("app.cancel"), { onClick: () => box.close() }), button(t("data.export.start"), { kind: "primary", icon: "download", onClick: () => send() })],
	});
	box.open();
}
