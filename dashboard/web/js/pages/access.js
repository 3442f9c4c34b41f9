// The access page: what one may do oneself, who may do what, who asks for more, and who did what.

import { badge, button, card, checkbox, code, confirm, drawer, empty, facts, failure, field, grid, h, icon, input, note, page, put, search, section, select, skeleton, table, tabs, toast } from "../ui.js";
import { state } from "../data/products.js";
import { actionName, kindName, offered, tag } from "../data/parts.js";

const tableActions = ["query", "read_changes", "export", "read_audit"];

export default {
	name: "access",
	title: "access.title",
	uses: { tenant: false, range: false, compare: false },

	async render(ctx) {
		const { t, me } = ctx;
		const may = me.actions ?? {};
		const panels = {
			own,
			...(may.administer || may.audit ? { principals, policies } : {}),
			requests,
			...(may.audit ? { audit } : {}),
		};
		let shown = new AbortController();
		const show = (id) => {
			shown.abort();
			shown = new AbortController();
			const inner = { ...ctx, signal: AbortSignal.any([ctx.signal, shown.signal]) };
			const place = h("div", { "aria-busy": "true" }, skeleton("table"));
			const load = async () => {
				try {
					const panel = await panels[id](inner);
					if (!inner.signal.aborted) put(place, panel);
				} catch (err) {
					if (!inner.signal.aborted) put(place, failure(err, { retry: load }));
				} finally {
					place.removeAttribute("aria-busy");
				}
			};
			load();
			return place;
		};
		const selected = ctx.params.get("tab") in panels ? ctx.params.get("tab") : "own";
		return {
			node: page({ title: t("access.title"), subtitle: t("access.subtitle") }, tabs({
				label: t("access.title"), selected,
				items: Object.keys(panels).map((id) => ({ id, label: t(`access.tab.${id}`), render: () => show(id) })),
				onChange: (id) => ctx.setParams({ tab: id, who: null, actor: null, action: null, outcome: null, from: null, to: null }),
			})),
			dispose: () => shown.abort(),
		};
	},
};

// own is what the caller may do.
async function own({ t, fmt, me, tenants }) {
	const byTable = Map.groupBy(me.grants ?? [], (g) => g.table);
	return h("div", { class: "stack" },
		grid({ columns: "1-2" },
			card({ title: t("access.you") }, facts([
				[t("access.principal"), h("strong", null, me.principal)],
				[t("access.kind"), kindName(t, me.kind)],
				[t("access.mfa"), me.mfa ? badge(t("access.mfa.yes"), "good", { icon: "check" }) : badge(t("access.mfa.no"), "warn", { icon: "warning" })],
				[t("access.origin"), me.origin],
				[t("access.version"), me.grants_version ? h("code", null, me.grants_version.slice(0, 12)) : "–"],
				[t("access.until"), me.until ? fmt.instant(me.until) : t("access.until.none")],
			])),
			card({ title: t("access.tenants"), subtitle: t("access.tenants.text") },
				tenants.length ? table({
					caption: t("access.tenants"), dense: true, rows: tenants,
					columns: [
						{ key: "name", label: t("data.tenant") },
						{ key: "country", label: t("access.country"), format: (v) => fmt.country(v) },
						{ key: "currency", label: t("access.currency") },
						{ key: "review", label: t("access.may.review"), format: (_, r) => mark(t, me.actions?.review?.includes(r.name)) },
						{ key: "export", label: t("access.may.export"), format: (_, r) => mark(t, me.actions?.export?.includes(r.name)) },
					],
				}) : empty({ icon: "building", title: t("access.tenants.none"), text: t("access.tenants.none.text"), compact: true }))),
		section({ title: t("access.tables"), subtitle: t("access.tables.text") },
			byTable.size ? table({
				caption: t("data.list", { title: t("access.tables") }), rows: [...byTable].map(([name, list]) => ({ name, list })),
				columns: [
					{ key: "name", label: t("data.table"), format: (v) => h("code", null, v) },
					{ key: "list", label: t("access.actions"), format: (list) => h("span", { class: "chips" }, tableActions.filter((a) => list.some((g) => g.action === a)).map((a) => badge(actionName(t, a), "info"))) },
					{ key: "rows", label: t("access.rows"), format: (_, r) => rowsOf(t, r.list) },
					{ key: "columns", label: t("access.columns"), format: (_, r) => columnsOf(t, r.list) },
				],
			}) : empty({ icon: "lock", title: t("access.tables.none"), text: t("access.tables.none.text") })),
		note(t("access.why"), "info"));
}

const mark = (t, yes) => (yes ? h("span", { class: "mark mark-good" }, icon("check", { size: 16, label: t("app.yes") })) : h("span", { class: "mark faint" }, "–", h("span", { class: "sr-only" }, t("app.no"))));

function rowsOf(t, list) {
	const scopes = (list.find((g) => g.action === "query") ?? list[0]).scopes;
	if (scopes.some((s) => s.other_tenants)) return t("access.rows.all");
	const names = [...new Set(scopes.flatMap((s) => s.tenants ?? []))];
	return names.length ? names.join(", ") : t("access.rows.lake");
}

function columnsOf(t, list) {
	const scopes = (list.find((g) => g.action === "query") ?? list[0]).scopes;
	const clear = new Set(scopes.flatMap((s) => s.clear ?? []));
	const masked = new Set(scopes.flatMap((s) => s.masked ?? []).filter((c) => !clear.has(c)));
	return h("details", { class: "schema schema-inline" },
		h("summary", null, badge(t("access.clear", { n: clear.size }), "good", { icon: "check" }), masked.size > 0 && badge(t("access.masked", { n: masked.size }), "warn", { icon: "lock" })),
		h("p", { class: "columns" }, [...clear].join(", ")),
		masked.size > 0 && h("p", { class: "columns" }, icon("lock", { size: 12 }), " ", [...masked].join(", ")));
}

// principals is the matrix of principals and tables, for a review of access.
async function principals(ctx) {
	const { t, fmt, api, signal } = ctx;
	const report = await api.get("/grants", { signal });
	const shown = { action: "query", kind: "", text: "", due: false };
	const place = h("div", null);
	const kinds = [...new Set(report.principals.map((p) => p.kind))];

	function draw() {
		const rows = report.principals.filter((p) => (!shown.kind || p.kind === shown.kind) && (!shown.text || `${p.principal} ${p.owner} ${p.tenant ?? ""}`.toLowerCase().includes(shown.text)) && (!shown.due || p.review_due));
		const used = report.tables.filter((name) => report.principals.some((p) => p.access.some((a) => a.table === name && a.action === shown.action)));
		put(place, table({
			caption: t("access.matrix"), dense: true, rows, empty: t("access.matrix.none"), rowKey: (p) => p.principal,
			onRow: (p) => explain(ctx, p), rowLabel: (p) => p.principal,
			columns: [
				{ key: "name", label: t("access.principal"), class: "cell-name", format: (v, p) => h("div", null, h("button", { class: "link-button", type: "button", on: { click: () => explain(ctx, p) } }, v), h("div", { class: "faint" }, kindName(t, p.kind), p.tenant ? ` · ${p.tenant}` : "")) },
				{ key: "reviewed", label: t("access.reviewed"), format: (v, p) => (p.review_due ? badge(v ? fmt.day(v) : t("access.review.never"), "warn", { icon: "clock" }) : badge(fmt.day(v), "good", { icon: "check" })) },
				...used.map((name) => ({ key: name, label: name.split(".")[1].replaceAll("_", "_\u200b"), align: "center", class: "cell-table", format: (_, p) => given(t, p.access.filter((a) => a.table === name && a.action === shown.action)) })),
				{ key: "lake", label: t("access.lake"), format: (_, p) => h("span", { class: "chips" }, [...new Set(p.access.filter((a) => !a.table).map((a) => a.action))].map((a) => badge(actionName(t, a), "neutral"))) },
			],
		}));
	}
	draw();
	return h("div", { class: "stack" },
		h("div", { class: "filters" },
			search({ label: t("access.search"), placeholder: t("access.search"), onInput: (v) => { shown.text = v.trim().toLowerCase(); draw(); } }),
			select({ label: t("access.action"), value: "query", options: tableActions.map((a) => ({ value: a, label: actionName(t, a) })), onChange: (v) => { shown.action = v; draw(); } }),
			select({ label: t("access.kind"), value: "", options: [{ value: "", label: t("access.kind.all") }, ...kinds.map((k) => ({ value: k, label: kindName(t, k) }))], onChange: (v) => { shown.kind = v; draw(); } }),
			checkbox({ label: t("access.review.due.only"), onChange: (v) => { shown.due = v; draw(); } })),
		h("p", { class: "legend" }, legend(t)),
		card({ flush: true }, place),
		h("p", { class: "faint" }, t("access.report", { at: fmt.instant(report.at), version: report.version.slice(0, 12) }), report.development ? ` · ${t("access.development")}` : ""));
}

const shapes = { clear: ["check", "good"], masked: ["lock", "warn"], mfa: ["key", "info"], glass: ["warning", "bad"] };
const shape = (t, kind, text) => h("span", { class: `mark mark-${shapes[kind][1]}`, title: text }, icon(shapes[kind][0], { size: 15, label: text }));
const legend = (t) => ["clear", "masked", "mfa", "glass"].map((k) => h("span", { class: "pair" }, h("span", { class: `mark mark-${shapes[k][1]}` }, icon(shapes[k][0], { size: 15 })), t(`access.legend.${k}`)));

// given is a cell of the matrix: what of a table a principal is given, in shapes and in words.
function given(t, list) {
	if (list.length === 0) return h("span", { class: "faint" }, "·", h("span", { class: "sr-only" }, t("access.nothing")));
	const has = (f) => list.some(f);
	const rows = [...new Set(list.map((a) => a.rows))].join("; ");
	return h("span", { class: "marks", title: rows },
		has((a) => a.clear.length > 0 && !a.break_glass) && shape(t, "clear", t("access.legend.clear")),
		has((a) => a.masked.length > 0 && !a.break_glass) && shape(t, "masked", t("access.legend.masked")),
		has((a) => a.mfa) && shape(t, "mfa", t("access.legend.mfa")),
		has((a) => a.break_glass) && shape(t, "glass", t("access.legend.glass")));
}

// explain tells why a principal is given what it is given.
function explain(ctx, p) {
	const { t, fmt, api, signal, me } = ctx;
	const body = h("div", { class: "stack" }, skeleton("list"));
	const asked = { tenant: p.tenant ?? "", action: "query" };
	const place = h("div", null);
	drawer({ title: p.name, subtitle: kindName(t, p.kind), body }).open();
	const tenants = (me.tenants ?? []).map((r) => r.name);
	put(body,
		facts([
			[t("access.principal"), h("code", null, p.principal)],
			[t("access.owner"), p.owner],
			[t("access.service"), p.service ? t("access.service.program") : t("access.service.person")],
			p.subjects.length > 0 && [t("access.subjects"), p.subjects.join(", ")],
			p.teams.length > 0 && [t("access.teams"), p.teams.join(", ")],
			(p.valid_from || p.valid_until) && [t("access.valid"), `${p.valid_from ? fmt.instant(p.valid_from) : "…"} – ${p.valid_until ? fmt.instant(p.valid_until) : "…"}`],
			[t("access.reviewed"), p.review_due ? badge(p.reviewed ? t("access.review.old", { day: fmt.day(p.reviewed) }) : t("access.review.never"), "warn", { icon: "clock" }) : fmt.day(p.reviewed)],
		]),
		section(t("access.may"), may(t, p.access)),
		section({ title: t("access.explain"), subtitle: t("access.explain.text") },
			h("div", { class: "filters" },
				select({ label: t("access.action"), value: asked.action, options: tableActions.map((a) => ({ value: a, label: actionName(t, a) })), onChange: (v) => { asked.action = v; load(); } }),
				!p.tenant && tenants.length > 0 && select({ label: t("data.tenant"), value: "", options: [{ value: "", label: t("access.explain.lake") }, ...tenants.map((v) => ({ value: v, label: v }))], onChange: (v) => { asked.tenant = v; load(); } })),
			place));

	async function load() {
		put(place, skeleton("list"));
		try {
			const e = await api.get(`/grants/${encodeURIComponent(p.kind)}/${encodeURIComponent(p.name)}`, { signal, params: asked });
			const tables = e.tables.filter((x) => x.findings.some((f) => f.access !== "dropped" || f.forbidden));
			put(place,
				tables.length === 0 ? empty({ icon: "lock", title: t("access.explain.none"), text: t("access.explain.none.text"), compact: true }) : tables.map((x) => h("details", { class: "schema", open: tables.length === 1 },
					h("summary", null, h("code", null, x.table), h("span", { class: "faint" }, t("access.explain.given", { n: x.findings.filter((f) => f.access !== "dropped").length, all: x.findings.length }))),
					table({
						caption: x.table, dense: true, rows: x.findings,
						columns: [
							{ key: "tag", label: t("data.tag"), format: (v, f) => h("span", { title: f.columns.join(", ") }, tag(t, v)) },
							{ key: "access", label: t("data.access"), format: (v, f) => (f.forbidden ? badge(t("access.forbidden"), "bad", { icon: "close" }) : v === "dropped" ? h("span", { class: "faint" }, t("access.dropped")) : badge(t(`data.access.${v}`), v === "masked" ? "warn" : "good", { icon: v === "masked" ? "lock" : "check" })) },
							{ key: "policies", label: t("access.by"), format: (v) => (v.length ? h("code", null, v.join(", ")) : t("access.by.none")) },
						],
					}))),
				e.policies.length > 0 && section(t("access.tab.policies"), e.policies.map((one) => policy(ctx, one))));
		} catch (err) {
			if (err.kind !== "aborted") put(place, failure(err, { compact: true, retry: load }));
		}
	}
	load();
}

// may lists what is permitted, tables of which the same is permitted together.
function may(t, access) {
	if (access.length === 0) return empty({ icon: "lock", title: t("access.nothing"), compact: true });
	const alike = Map.groupBy(access, (a) => [a.action, a.rows, a.mfa, a.break_glass].join());
	return h("ul", { class: "may" }, [...alike.values()].map((list) => h("li", null,
		h("div", { class: "may-head" }, badge(actionName(t, list[0].action), "info"), h("span", null, t("access.of", { rows: list[0].rows })), list[0].mfa && badge(t("access.legend.mfa"), "info", { icon: "key" }), list[0].break_glass && badge(t("access.legend.glass"), "bad", { icon: "warning" })),
		list[0].table && h("div", { class: "chips" }, [...new Set(list.map((a) => a.table))].map((name) => h("code", null, name))))));
}

function policy({ t }, p) {
	return h("details", { class: "schema" },
		h("summary", null, p.permits ? badge(t("access.permit"), "good", { icon: "check" }) : badge(t("access.forbid"), "bad", { icon: "close" }), h("code", null, p.id), p.break_glass && badge(t("access.legend.glass"), "warn")),
		p.description && h("p", null, p.description), h("p", { class: "faint" }, p.file), code(p.text, { label: p.id }));
}

async function policies(ctx) {
	const { t, api, signal } = ctx;
	const { policies: all } = await api.get("/grants/policies", { signal });
	const place = h("div", null);
	const draw = (text) => put(place, all.filter((p) => !text || `${p.id} ${p.description ?? ""} ${p.text}`.toLowerCase().includes(text)).map((p) => h("article", { class: "card policy" }, h("p", { class: "policy-text" }, p.description || p.id), policy(ctx, p))));
	draw("");
	return h("div", { class: "stack" },
		note(t("access.policies.text"), "info"),
		h("div", { class: "filters" }, search({ label: t("access.policies.search"), placeholder: t("access.policies.search"), onInput: (v) => draw(v.trim().toLowerCase()) })),
		place);
}

// requests are subscriptions that others ask for, and that the caller decides on.
async function requests(ctx) {
	const { t, fmt, api, signal, me } = ctx;
	const place = h("div", { class: "stack" });
	async function load() {
		const { subscriptions } = await offered(api.get("/subscriptions", { signal }), { subscriptions: [] });
		const others = subscriptions.filter((s) => s.subscriber !== me.principal);
		const open = others.filter((s) => s.state === "requested");
		const decided = others.filter((s) => s.state !== "requested").sort((a, b) => (b.decided_at ?? "").localeCompare(a.decided_at ?? ""));
		put(place,
			section({ title: t("access.requests.open"), subtitle: t("access.requests.text") }, open.length
				? h("div", { class: "stack" }, open.map((s) => request(ctx, s, load)))
				: empty({ icon: "check", title: t("access.requests.none"), text: t("access.requests.none.text"), compact: true })),
			decided.length > 0 && section(t("access.requests.decided"), table({
				caption: t("data.list", { title: t("access.requests.decided") }), rows: decided,
				columns: [
					{ key: "subscriber", label: t("access.principal") },
					{ key: "product", label: t("data.product.title") },
					{ key: "state", label: t("data.state"), format: (v) => state(t, v) },
					{ key: "decided_at", label: t("access.decided"), format: (v, s) => h("div", null, fmt.instant(v), h("div", { class: "faint" }, s.decided_by)) },
					{ key: "until", label: t("data.subscription.until"), format: (v) => (v ? fmt.instant(v) : "–") },
					{ key: "actions", label: t("data.actions"), align: "end", format: (_, s) => (s.state === "approved" ? button(t("access.revoke"), { small: true, kind: "danger", onClick: () => decide(ctx, s, "revoke", load) }) : null) },
				],
			})));
	}
	await load();
	return place;
}

function request(ctx, s, done) {
	const { t, fmt } = ctx;
	return card({ title: t("access.request.title", { who: s.subscriber, product: s.product }), subtitle: t("access.request.asked", { at: fmt.ago(s.requested_at) }), actions: [badge(t("data.days", { n: s.days }), "neutral", { icon: "clock" })] },
		h("blockquote", { class: "reason" }, s.reason),
		facts([[t("access.request.tenants"), s.tenants?.length ? s.tenants.join(", ") : t("access.request.tenants.all")], [t("data.product.versionLabel"), s.version]]),
		h("div", { class: "row-actions" },
			button(t("access.approve"), { kind: "primary", icon: "check", onClick: () => decide(ctx, s, "approve", done) }),
			button(t("access.reject"), { kind: "default", icon: "close", onClick: () => decide(ctx, s, "reject", done) })));
}

async function decide({ t, api }, s, verb, done) {
	if (verb === "revoke" && !await confirm({ title: t("access.revoke.title", { who: s.subscriber, product: s.product }), text: t("access.revoke.text"), action: t("access.revoke"), danger: true })) return;
	try {
		const answer = await api.post(`/subscriptions/${s.id}/${verb}`);
		toast(answer.pending ? t("access.pending") : t(`access.${verb}.done`), { tone: answer.pending ? "warn" : "good" });
		await done();
	} catch (err) {
		toast(err.detail || t("access.decide.failed"), { tone: "bad" });
	}
}

// outcomes of lines of the audit log.
const outcomes = { allowed: ["check", "good"], refused: ["lock", "warn"], failed: ["error", "bad"] };

// audit is the record of who did what.
async function audit(ctx) {
	const { t, fmt, api, signal, params } = ctx;
	const filter = Object.fromEntries(["actor", "action", "outcome", "from", "to"].map((k) => [k, params.get(k) ?? ""]));
	const place = h("div", null);
	let next = null;
	async function ask(cursor) {
		const asked = { limit: 100, cursor, actor: filter.actor.trim(), action: filter.action.trim(), outcome: filter.outcome };
		if (filter.from) asked.from = `${filter.from}T00:00:00Z`;
		if (filter.to) asked.to = new Date(Date.parse(`${filter.to}T00:00:00Z`) + 86_400_000).toISOString();
		const answer = await api.get("/audit", { signal, params: asked });
		next = answer.next ?? null;
		return answer;
	}
	async function load() {
		ctx.setParams({ tab: "audit", ...filter });
		put(place, skeleton("table"));
		try {
			const answer = await ask();
			put(place, lines(ctx, answer, async () => {
				const more = await ask(next);
				return { rows: more.lines, more: Boolean(next) };
			}));
		} catch (err) {
			if (err.kind !== "aborted") put(place, failure(err, { retry: load }));
		}
	}
	const set = (name) => (v) => {
		filter[name] = v;
		load();
	};
	const day = (name, label) => field({ label, control: input({ type: "date", value: filter[name], onChange: set(name), name }) });
	const text = (name, label, hint) => field({ label, control: input({ value: filter[name], placeholder: hint, onChange: set(name), name, spellcheck: "false" }) });
	load();
	return h("div", { class: "stack" },
		card({ title: t("access.audit.title"), subtitle: t("access.audit.text"), actions: [badge(t("access.audit.verified"), "good", { icon: "check" })] },
			h("form", { class: "filters filters-labelled", on: { submit: (e) => e.preventDefault() } },
				text("actor", t("access.audit.actor"), "tenant_analyst/…"),
				text("action", t("access.audit.action"), "export."),
				field({ label: t("access.audit.outcome"), control: select({ value: filter.outcome, options: [{ value: "", label: t("app.all") }, ...Object.keys(outcomes).map((v) => ({ value: v, label: t(`access.outcome.${v}`) }))], onChange: set("outcome") }) }),
				day("from", t("access.audit.from")), day("to", t("access.audit.to")))),
		place);
}

function lines(ctx, answer, onMore) {
	const { t, fmt } = ctx;
	return card({ flush: true, footer: answer.pruned && h("p", { class: "faint" }, t("access.audit.pruned")) }, table({
		caption: t("access.audit.title"), dense: true, rows: answer.lines, more: Boolean(answer.next), onMore, rowKey: (l) => String(l.seq),
		empty: empty({ icon: "search", title: t("access.audit.none"), text: t("access.audit.none.text"), compact: true }),
		onRow: (l) => line(ctx, l), rowLabel: (l) => `${l.actor} ${l.action}`,
		columns: [
			{ key: "time", label: t("access.audit.time"), format: (v) => fmt.instant(v, { seconds: true }), class: "cell-time" },
			{ key: "actor", label: t("access.audit.actor"), format: (v, l) => h("button", { class: "link-button", type: "button", on: { click: () => line(ctx, l) } }, v) },
			{ key: "action", label: t("access.audit.action"), format: (v) => h("code", null, v) },
			{ key: "outcome", label: t("access.audit.outcome"), format: (v) => badge(t(`access.outcome.${v}`), outcomes[v]?.[1] ?? "neutral", { icon: outcomes[v]?.[0] }) },
			{ key: "resource", label: t("access.audit.resource"), class: "wrap" },
			{ key: "reason", label: t("access.audit.reason"), class: "wrap" },
			{ key: "origin", label: t("access.origin") },
		],
	}));
}

function line({ t, fmt }, l) {
	const rest = { ...l.detail, ...Object.fromEntries(Object.entries(l.numbers ?? {}).map(([k, v]) => [k, fmt.count(v)])) };
	drawer({
		title: l.action, subtitle: fmt.instant(l.time, { seconds: true }),
		body: h("div", { class: "stack" },
			h("div", null, badge(t(`access.outcome.${l.outcome}`), outcomes[l.outcome]?.[1] ?? "neutral", { icon: outcomes[l.outcome]?.[0] }), " ", badge(t("access.audit.verified"), "good", { icon: "check" })),
			facts([
				[t("access.audit.actor"), l.actor], [t("access.audit.resource"), l.resource], [t("access.origin"), l.origin], [t("access.audit.reason"), l.reason],
				[t("access.audit.request"), l.request && h("code", null, l.request)], [t("access.audit.line"), fmt.count(l.seq)], [t("access.audit.hash"), h("code", { class: "hash" }, l.hash)],
			]),
			Object.keys(rest).length > 0 && section(t("access.audit.details"), facts(Object.entries(rest).map(([k, v]) => [h("code", null, k), h("span", { class: "detail" }, v)])))),
	}).open();
}
