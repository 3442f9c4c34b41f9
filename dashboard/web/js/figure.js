// A figure: what a statement of the lake answers, as a chart, a table or numbers, with its states
// and its menu. It asks anew when the lake has a new snapshot, and keeps showing what it has
// until the answer is there.

import { api } from "./api.js";
import { chart } from "./chart.js";
import { h, put } from "./dom.js";
import { fmt } from "./format.js";
import { t } from "./i18n.js";
import { button, card, download, empty, failure, menu, skeleton, table, toast } from "./ui.js";

// renewEvery is how often a figure follows new snapshots at most.
const renewEvery = 15_000;

// figure returns an element that loads and shows itself, until ctx.signal ends it. reload asks
// again, with other parameters if they are given.
export function figure(options, ctx) {
	const o = { height: undefined, cursor: "cursor", ...options };
	const range = o.range ?? ctx.range;
	let params = { ...o.params }, shown = null, picture = null, asTable = false, turn = 0, paged = false, answered = { at: 0, took: 0 }, again = 0;

	const body = h("div", { class: "figure-body" }, waiting());
	const note = o.note ? h("p", { class: "figure-note" }, o.note) : null;
	const opener = button(t("figure.menu", { title: o.title ?? o.name }), { icon: "more", iconOnly: true, kind: "quiet", small: true, busyWhile: false });
	const actions = [o.actions, menu(opener, items)].flat().filter(Boolean);
	const node = o.bare
		? h("div", { class: "figure figure-bare" }, h("div", { class: "figure-bare-head" }, o.title && h("div", { class: "head-text" }, h(`h${o.level ?? 3}`, { class: "figure-bare-title" }, o.title), o.subtitle && h("p", { class: "subtitle" }, o.subtitle)), h("div", { class: "head-actions" }, actions)), body, note)
		: card({ title: o.title, subtitle: o.subtitle, actions, flush: Boolean(o.table), class: ["figure", o.table && "figure-table"].filter(Boolean).join(" ") }, body, note);

	function waiting() {
		return skeleton(o.table ? "table" : o.content ? "text" : "chart", { height: o.content ? undefined : o.height ?? 260 });
	}

	function asked(of = range, more = {}) {
		return { tenant: ctx.tenant, from: of?.from, to: of?.to, ...params, ...more };
	}

	// load asks; an answer that a later question has overtaken is thrown away.
	async function load({ background = false } = {}) {
		const mine = ++turn, begun = Date.now();
		if (!background) {
			node.setAttribute("aria-busy", "true");
			if (shown) node.classList.add("figure-stale");
		}
		try {
			const before = o.compare && range?.previous ? api.figure(o.name, asked(range.previous), { signal: ctx.signal, background }) : null;
			before?.catch(() => {}); // the comparison is left out then
			const data = await api.figure(o.name, asked(), { signal: ctx.signal, background });
			const previous = await before?.catch((err) => {
				if (err.kind === "aborted") throw err;
				return null;
			}) ?? null;
			if (mine !== turn) return;
			const same = shown && background && data.etag && data.etag === shown.data.etag && previous?.etag === shown.previous?.etag;
			if (!same) show(data, previous);
		} catch (err) {
			if (mine !== turn || err.kind === "aborted" || ctx.signal?.aborted) return;
			// What is shown stays if only a refreshing failed: it says itself how old it is.
			if (!(background && shown)) fail(err);
		} finally {
			answered = { at: Date.now(), took: Date.now() - begun };
			if (mine === turn) {
				node.removeAttribute("aria-busy");
				node.classList.remove("figure-stale");
			}
		}
	}

	function fail(err) {
		forget();
		shown = null;
		put(body, failure(err, { retry: () => load(), compact: true }));
	}

	function forget() {
		picture?.dispose();
		picture = null;
	}

	function show(data, previous) {
		shown = { data, previous };
		paged = false;
		node.data = data;
		o.onData?.(data, previous);
		draw();
	}

	function draw() {
		const { data, previous } = shown;
		const nothing = o.isEmpty ? o.isEmpty(data) : data.rows.length === 0;
		if (nothing) {
			forget();
			const e = typeof o.empty === "object" ? o.empty : { title: o.empty ?? t("figure.empty.title"), text: o.empty ? undefined : t("figure.empty.text") };
			put(body, empty({ icon: "info", compact: true, ...e }));
			return;
		}
		try {
			if (o.chart && !asTable) {
				const spec = o.chart(data, previous);
				if (picture) picture.update(spec);
				else put(body, picture = chart(spec, { height: o.height, title: o.title, signal: ctx.signal }));
			} else if (o.chart) {
				const as = picture?.table() ?? chart(o.chart(data, previous), { signal: AbortSignal.abort() }).table();
				forget();
				put(body, table({ ...as, ...(o.columns ? { columns: o.columns(data), rows: data.objects } : {}), caption: o.title ?? o.name, dense: true }));
			} else if (o.table) {
				const made = o.table(data, previous);
				const given = Array.isArray(made) ? { columns: made } : made;
				put(body, table({ rows: data.objects, caption: o.title ?? o.name, more: Boolean(data.next), onMore: data.next ? onMore(data.next) : undefined, ...given }));
			} else {
				put(body, o.content(data, previous));
			}
		} catch (err) {
			fail(err);
			throw err;
		}
	}

	function onMore(next) {
		return async () => {
			paged = true;
			const data = await api.figure(o.name, asked(range, { [o.cursor]: next }), { signal: ctx.signal });
			next = data.next;
			return { rows: data.objects, more: Boolean(next) };
		};
	}

	function items() {
		return [
			o.chart && { label: asTable ? t("figure.asChart") : t("figure.asTable"), icon: asTable ? "overview" : "table", disabled: !shown, onSelect: turnOver },
			{ label: t("figure.csv"), icon: "download", disabled: !shown, onSelect: csv },
			o.chart && { label: t("figure.png"), icon: "image", disabled: !picture, onSelect: png },
			{ separator: true },
			{ label: t("figure.sql"), icon: "sql", disabled: !shown?.data.sql, onSelect: sql },
		].filter(Boolean);
	}

	function turnOver() {
		asTable = !asTable;
		node.classList.toggle("figure-as-table", asTable);
		draw();
	}

	// fileName says what, whose and when.
	function fileName(extension) {
		return `${["cardlake", ctx.tenant, o.name, range?.from, range?.to].filter(Boolean).join("_")}.${extension}`;
	}

	async function csv() {
		try {
			const file = await api.csv(o.name, asked(), { signal: ctx.signal });
			download(fileName("csv"), file.blob, "text/csv");
		} catch (err) {
			if (err.kind !== "aborted") toast(t("figure.csvFailed"), { tone: "bad", action: { label: t("app.retry"), onClick: csv } });
		}
	}

	async function png() {
		const data = shown.data;
		const lines = [
			[ctx.tenant, range && fmt.range(range.from, range.to)].filter(Boolean).join(" · "),
			data.asOf && t("figure.asOf", { at: `${fmt.instant(data.asOf)} ${fmt.zone(data.asOf)}` }),
		].filter(Boolean);
		try {
			download(fileName("png"), await picture.image({ title: o.title ?? o.name, lines }), "image/png");
		} catch {
			toast(t("figure.pngFailed"), { tone: "bad" });
		}
	}

	// sql hands the statement on in memory: it may name a customer, which an address must not.
	function sql() {
		ctx.memory.set("sql", { statement: shown.data.sql, tenant: ctx.tenant, from: o.title ?? o.name });
		ctx.go("/sql");
	}

	// A lake may commit every second: a figure is asked anew no oftener than it pays, and the
	// figures of a page not all at once.
	function renew() {
		if (again || !shown || paged || body.contains(document.activeElement)) return;
		again = setTimeout(() => {
			again = 0;
			if (!ctx.signal?.aborted && !paged && !document.hidden) load({ background: true });
		}, Math.max(0, answered.at + Math.max(renewEvery, 10 * answered.took) - Date.now()) + Math.random() * 1500);
	}

	if (o.live ?? Boolean(range?.includesToday)) {
		ctx.live?.subscribe((event) => {
			if (event.type === "snapshot" && !event.first) renew();
		}, { signal: ctx.signal });
	}

	node.reload = (changed) => {
		if (changed) params = { ...params, ...changed };
		return load();
	};
	load();
	return node;
}
