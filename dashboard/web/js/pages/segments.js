// Segments: groups of customers who behave alike, how large they are, and who has moved.

import { figure } from "../figure.js";
import { insights, parsed, tenth } from "../insights.js";
import { segmentHabits, segmentName } from "../phrases.js";
import { badge, bar, card, change, empty, facts, grid, h, kpi, put, section, segmented, select } from "../ui.js";

export default { name: "segments", title: "segments.title", uses: { compare: false }, render: (ctx) => insights("segment", ctx, (run) => segments(ctx, run)) };

// units are how the means of a segment's features are written.
const shares = new Set(["atm", "cross_border", "declined", "ecommerce", "night", "weekend"]);
const order = ["monetary", "frequency", "recency", "ticket", "merchants", "categories", "ecommerce", "atm", "cross_border", "night", "weekend", "declined"];

async function segments(ctx, run) {
	const { t, fmt } = ctx;
	const days = Number(parsed(run.parameters, {}).days) || 90;
	const all = (await ctx.figure("segments")).objects;
	const living = all.filter((s) => s.state !== "retired");
	if (living.length === 0) return { content: [card({}, empty({ icon: "segments", title: t("segments.none"), text: t("segments.noneText") }))] };
	const tone = (id) => {
		const at = all.findIndex((s) => s.segment_id === id);
		return at < 0 ? "muted" : String(at % 8 + 1);
	};
	const customers = living.reduce((a, s) => a + Number(s.customers), 0), value = living.reduce((a, s) => a + Number(s.value), 0);
	const currency = living[0].currency;
	const best = [...living].sort((a, b) => Number(b.value) - Number(a.value))[0];
	const again = all.some((s) => s.previous_customers !== null); // there was a run before
	const name = (s) => segmentName(s.name);
	const moved = (s) => {
		const d = s.previous_customers === null || s.state === "retired" ? null : fmt.delta(s.customers, s.previous_customers, { better: "none" });
		return d && change({ ...d, title: t("segments.change") });
	};
	const dot = (id) => h("span", { class: ["chart-mark", `tone-${tone(id)}`] });

	let chosen = living.find((s) => s.segment_id === ctx.params.get("segment")) ?? living[0];
	const detail = h("div", { class: "segment-detail" });
	let ending = null;
	function choose(s, { told = true } = {}) {
		chosen = s;
		if (told) ctx.setParams({ segment: s.segment_id });
		ending?.abort();
		ending = new AbortController();
		ctx.signal.addEventListener("abort", () => ending.abort(), { once: true });
		put(detail, one({ ...ctx, signal: ending.signal }, s, living, { name, dot, tone }));
		for (const row of sizes.querySelectorAll("tr[data-key]")) row.classList.toggle("table-row-selected", row.dataset.key === s.segment_id);
	}

	const map = figure({
		name: "segments", title: t("segments.map"), subtitle: t("segments.mapText"), height: 340, live: false,
		chart: (data) => {
			const rows = data.objects.filter((s) => s.state !== "retired");
			return {
				type: "scatter", x: { label: t("segments.mapX"), hideTicks: true }, y: { label: t("segments.mapY"), hideTicks: true }, size: { label: t("segments.customers"), format: fmt.count },
				points: rows.map((s) => ({
					x: s.map_x, y: s.map_y, size: s.customers, name: name(s), tone: tone(s.segment_id),
					detail: [[t("segments.customers"), `${fmt.count(s.customers)} · ${fmt.percent(s.share)}`], [t("segments.value"), fmt.money(s.value, s.currency, { digits: 0 })], [t("segments.perCustomer"), fmt.money(s.value_per_customer, s.currency, { digits: 0 })]],
				})),
				onSelect: (i) => choose(living.find((s) => s.segment_id === rows[i].segment_id)),
			};
		},
		note: t("segments.mapNote"),
	}, ctx);

	const sizes = figure({
		name: "segments", title: t("segments.sizes"), subtitle: t("segments.sizesText", { n: days }), live: false,
		table: () => ({
			rowKey: (s) => s.segment_id, selectedKey: chosen.segment_id, rowLabel: (s) => name(s), onRow: (s) => s.state !== "retired" && choose(s),
			columns: [
				{ key: "name", label: t("segments.segment"), class: "wrap", format: (_, s) => h("span", { class: "segment-name" }, dot(s.segment_id), h("span", null, name(s), (s.state === "retired" || s.state === "new" && again) && [" ", badge(t(`segments.states.${s.state}`), s.state === "retired" ? "neutral" : "info")])) },
				{ key: "customers", label: t("segments.customers"), align: "end", format: (v, s) => h("span", { class: "segment-share" }, h("span", null, `${fmt.count(v)} · ${fmt.percent(s.share, 0)}`), bar(s.share), moved(s)) },
				{ key: "value", label: t("segments.value"), align: "end", format: (v, s) => fmt.money(v, s.currency, { digits: 0 }) },
				{ key: "value_per_customer", label: t("segments.perCustomer"), align: "end", format: (v, s) => fmt.money(v, s.currency, { digits: 0 }) },
			],
		}),
	}, ctx);

	const numbers = grid({ columns: "kpi" },
		kpi({ label: t("segments.customers"), value: fmt.count(customers), hint: t("segments.inSegments", { n: living.length }) }),
		kpi({ label: t("segments.value"), value: fmt.money(value, currency, { digits: 0 }), hint: t("segments.inWindow", { n: days }) }),
		kpi({ label: t("segments.perCustomer"), value: fmt.money(value / Math.max(1, customers), currency, { digits: 0 }), hint: t("segments.mean") }),
		kpi({ label: t("segments.most"), value: fmt.percent(value > 0 ? Number(best.value) / value : null, 0), hint: t("segments.mostText", { share: fmt.percent(best.share, 0), name: name(best) }) }));
	choose(chosen, { told: false });
	return {
		content: [
			numbers, section({ title: t("segments.now"), subtitle: t("segments.nowText") }, grid({ columns: 2 }, map, sizes)), detail,
			section({ title: t("segments.runs"), subtitle: t("segments.runsText") }, grid({ columns: 2 }, movement(ctx, all, { name, tone }), overTime(ctx, all, { name, tone }))),
		],
	};
}

// one is a segment in detail: what sets it apart, what it buys, and who is in it.
function one(ctx, s, living, { name, dot }) {
	const { t, fmt } = ctx;
	const centre = parsed(s.centre, {});
	const everybody = (f) => {
		const known = living.map((o) => [Number(o.customers), parsed(o.centre, {})[f]?.mean]).filter(([, m]) => typeof m === "number");
		const n = known.reduce((a, [c]) => a + c, 0);
		return n > 0 ? known.reduce((a, [c, m]) => a + c * m, 0) / n : null;
	};
	const write = (f, v) => v === null || v === undefined ? "–" : shares.has(f) ? fmt.percent(v, 0) : f === "monetary" || f === "ticket" ? fmt.money(v, s.currency, { digits: 0 }) : f === "recency" ? t("segments.days", { x: fmt.number(v, 0) }) : tenth(v);
	const features = order.filter((f) => typeof centre[f]?.mean === "number");
	const habits = segmentHabits(s.description);
	const profile = figure({
		name: "segment-profile", title: t("segments.profile"), bare: true, live: false,
		content: (data) => {
			const p = data.objects.find((o) => o.segment_id === s.segment_id);
			return p ? facts([
				[t("segments.lastPurchase"), t("segments.daysAgo", { x: tenth(p.recency_days) })],
				[t("segments.frequency"), tenth(p.frequency)],
				[t("segments.spent"), fmt.money(p.monetary, p.currency, { digits: 0 })],
				[t("segments.recent"), `${fmt.count(p.recent)} · ${fmt.percent(Number(p.recent) / Math.max(1, Number(p.customers)), 0)}`],
				[t("segments.sure"), fmt.percent(p.probability ?? p.sure, 0)],
			]) : empty({ compact: true, title: t("figure.empty.title") });
		},
	}, ctx);
	const apart = card({ title: t("segments.apart"), subtitle: t("segments.apartText") },
		h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": t("segments.apart") }, h("table", { class: "segment-features" },
			h("caption", { class: "sr-only" }, t("segments.apart")),
			h("thead", null, h("tr", null, ["feature", "here", "everybody", "factor"].map((k, i) => h("th", { scope: "col", class: i > 0 ? "align-end" : null }, t(`segments.${k}`))))),
			h("tbody", null, features.map((f) => {
				const mine = centre[f].mean, mean = everybody(f);
				const ratio = mean > 0 ? mine / mean : null;
				return h("tr", null, h("th", { scope: "row" }, t(`segments.features.${f}`)), h("td", { class: "align-end" }, write(f, mine)), h("td", { class: "align-end faint" }, write(f, mean)), h("td", { class: "align-end" }, lean(ratio, t)));
			})))));
	const buys = figure({
		name: "segment-mccs", title: t("segments.buys"), subtitle: t("segments.buysText"), params: { segment: s.segment_id, currency: s.currency, limit: 10 }, empty: t("segments.buysNone"),
		chart: (data) => {
			const rows = [...data.objects].sort((a, b) => b.share - a.share);
			return {
				type: "bars", horizontal: true, x: { values: rows.map((r) => fmt.mcc(r.mcc)), kind: "text", label: t("segments.category") },
				y: { percent: true }, series: [{ name: t("segments.shareOfSpend"), values: rows.map((r) => r.share) }],
			};
		},
	}, ctx);
	return section({ title: h("span", { class: "segment-title" }, dot(s.segment_id), name(s)), subtitle: t("segments.sentence", { n: Number(s.customers), share: fmt.percent(s.share, 0), value: fmt.money(s.value, s.currency, { digits: 0 }) }) },
		habits.length > 0 && h("ul", { class: "segment-habits", "aria-label": t("segments.habits") }, habits.map(([text, by]) => h("li", null, badge(`${text} ${by > 0 ? "+" : "−"}${fmt.number(Math.abs(by), 1)}`, "accent")))),
		grid({ columns: 2 }, apart, h("div", { class: "segment-side" }, card({}, profile), buys)),
		people(ctx, s));
}

// lean shows how many times the mean of all a segment's is: to the right more, to the left less.
function lean(ratio, t) {
	if (ratio === null) return "–";
	const by = Math.max(-1, Math.min(1, Math.log2(Math.max(ratio, 1e-3)) / 2));
	return h("span", { class: "lean" }, h("span", { class: "lean-bar", "aria-hidden": "true" },
		h("span", { class: ["lean-fill", by < 0 && "lean-less"], style: { left: `${50 + Math.min(0, by) * 50}%`, width: `${Math.abs(by) * 50}%` } })), h("span", { class: "lean-text" }, t("segments.times", { x: tenth(ratio) })));
}

function people(ctx, s) {
	const { t, fmt } = ctx;
	const node = figure({
		name: "segment-customers", title: t("segments.people"), params: { segment: s.segment_id, sort: "value", limit: 20 }, live: false,
		actions: [
			segmented({ label: t("segments.whom"), value: "", options: [{ value: "", label: t("app.all") }, { value: "true", label: t("segments.moved") }], onChange: (moved) => node.reload({ moved }) }),
			select({ name: "sort", label: t("segments.order"), value: "value", options: ["value", "frequency", "recency"].map((v) => ({ value: v, label: t(`segments.sorts.${v}`) })), onChange: (sort) => node.reload({ sort }) }),
		],
		empty: t("segments.peopleNone"),
		table: () => ({
			dense: true, columns: [
				{ key: "customer_id", label: t("segments.customer"), format: (v) => h("span", { class: "mono" }, v), href: (r) => ctx.href(`/recommendations?customer=${encodeURIComponent(r.customer_id)}`) },
				{ key: "monetary", label: t("segments.spent"), align: "end", format: (v, r) => fmt.money(v, r.currency) },
				{ key: "frequency", label: t("segments.frequency"), align: "end", format: (v) => fmt.count(v) },
				{ key: "recency_days", label: t("segments.lastPurchase"), align: "end", format: (v) => t("segments.daysAgo", { x: tenth(v) }) },
				{ key: "probability", label: t("segments.surely"), align: "end", format: (v) => fmt.percent(v, 0) },
				{ key: "previous_segment_id", label: t("segments.before"), format: (v) => v === null || v === undefined ? h("span", { class: "faint" }, t("segments.firstTime")) : v === s.segment_id ? h("span", { class: "faint" }, t("segments.same")) : badge(t("segments.movedHere"), "info") },
			],
		}),
	}, ctx);
	return node;
}

function movement(ctx, all, { name, tone }) {
	const { t, fmt } = ctx;
	return figure({
		name: "segment-movement", title: t("segments.movement"), subtitle: t("segments.movementText"), height: 320, live: false,
		isEmpty: (data) => !data.objects.some((r) => r.from_segment_id), empty: { icon: "history", title: t("segments.oneRun"), text: t("segments.oneRunText") },
		chart: (data) => {
			const rows = data.objects;
			const side = (id, nm, extra) => {
				const seen = new Map(rows.map((r) => [r[id] ?? "", r[nm]]));
				const known = all.filter((s) => seen.has(s.segment_id)).map((s) => ({ id: s.segment_id, name: name(s), tone: tone(s.segment_id) }));
				const others = [...seen].filter(([k]) => !all.some((s) => s.segment_id === k)).map(([k, v]) => ({ id: k, name: k === "" ? extra : segmentName(v) }));
				return [...known, ...others];
			};
			return {
				type: "flow", format: fmt.count, fromLabel: t("segments.runBefore"), toLabel: t("segments.runNow"),
				from: side("from_segment_id", "from_name", t("segments.newCustomers")), to: side("to_segment_id", "to_name", t("segments.gone")),
				flows: rows.map((r) => ({ from: r.from_segment_id ?? "", to: r.to_segment_id ?? "", value: r.customers })),
			};
		},
	}, ctx);
}

function overTime(ctx, all, { name, tone }) {
	const { t, fmt } = ctx;
	return figure({
		name: "segments-over-time", title: t("segments.overTime"), subtitle: t("segments.overTimeText"), height: 320, live: false,
		isEmpty: (data) => new Set(data.objects.map((r) => r.day)).size < 2, empty: { icon: "history", title: t("segments.oneDay"), text: t("segments.oneDayText") },
		chart: (data) => {
			const days = [...new Set(data.objects.map((r) => r.day))].sort();
			const ids = [...new Set(data.objects.map((r) => r.segment_id))].sort((a, b) => all.findIndex((s) => s.segment_id === a) - all.findIndex((s) => s.segment_id === b));
			const at = new Map(data.objects.map((r) => [`${r.day} ${r.segment_id}`, r]));
			return {
				type: "line", x: { values: days, kind: "day" }, y: { format: fmt.count, label: t("segments.customers") },
				series: ids.map((id) => ({
					name: name(all.find((s) => s.segment_id === id) ?? data.objects.find((r) => r.segment_id === id)), tone: tone(id),
					values: days.map((d) => at.get(`${d} ${id}`)?.customers ?? null),
				})),
			};
		},
	}, ctx);
}
