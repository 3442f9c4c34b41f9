// Recommendations: what a customer may like and why, and what is offered most.

import { figure } from "../figure.js";
import { findCustomer, insights } from "../insights.js";
import { reason, segmentName } from "../phrases.js";
import { badge, bar, card, empty, grid, h, kpi, link, put, section, segmented, select } from "../ui.js";

const modes = ["all", "new", "offer"];

export default { name: "recommendations", title: "recommendations.title", uses: { compare: false }, render: (ctx) => insights("recommend", ctx, (run) => recommendations(ctx, run)) };

async function recommendations(ctx, run) {
	const { t } = ctx;
	let mode = modes.includes(ctx.params.get("mode")) ? ctx.params.get("mode") : "all";
	const segments = (await ctx.figure("segments").catch(() => ({ objects: [] }))).objects.filter((s) => s.state !== "retired");
	const follow = [];
	const chooser = segmented({
		label: t("recommendations.mode"), value: mode, options: modes.map((v) => ({ value: v, label: t(`recommendations.modes.${v}`) })),
		onChange: (v) => {
			mode = v;
			ctx.setParams({ mode: v === "all" ? null : v });
			for (const f of follow) f.reload?.({ mode });
		},
	});
	const keep = (f) => {
		follow.push(f);
		return f;
	};
	return {
		content: [
			coverage(ctx, run, segments), people(ctx),
			section({ title: t("recommendations.offered"), subtitle: t("recommendations.offeredText"), actions: [chooser] },
				grid({ columns: 2 }, keep(topMerchants(ctx, mode)), keep(ofSegment(ctx, mode, segments))),
				grid({ columns: 2 }, keep(categories(ctx, mode)), keep(why(ctx, mode)))),
			uptake(ctx, run),
		],
	};
}

// coverage is for how many customers there is a list, of each kind.
function coverage(ctx, run, segments) {
	const { t, fmt } = ctx;
	const known = segments.reduce((a, s) => a + Number(s.customers), 0);
	const asOf = run.as_of.slice(0, 10);
	return figure({
		name: "recommendation-uptake", title: t("recommendations.coverage"), bare: true, level: 2, live: false, isEmpty: () => false,
		range: { from: asOf, to: new Date(Date.parse(asOf) + 86400e3).toISOString().slice(0, 10) },
		content: (data) => {
			const of = (m) => Number(data.objects.find((r) => r.mode === m && Number(r.position) === 1)?.recommended ?? 0);
			return grid({ columns: "kpi" },
				kpi({ label: t("recommendations.withList"), value: fmt.count(of("all")), hint: known > 0 ? t("recommendations.ofKnown", { share: fmt.percent(Math.min(1, of("all") / known), 0) }) : t("recommendations.customers") }),
				kpi({ label: t("recommendations.withNew"), value: fmt.count(of("new")), hint: t("recommendations.newText") }),
				kpi({ label: t("recommendations.withOffers"), value: fmt.count(of("offer")), hint: of("offer") > 0 ? t("recommendations.offersText") : t("recommendations.noOffers") }),
				kpi({ label: t("recommendations.rows"), value: fmt.count(run.rows_written), hint: t("recommendations.rowsText") }));
		},
	}, ctx);
}

// people is the search of a customer, and the lists of the one who is chosen.
function people(ctx) {
	const { t, fmt } = ctx;
	let chosen = ctx.params.get("customer") ?? "";
	const panel = h("div", { class: "customer-panel" });
	let ending = null;
	function choose(id, { told = true } = {}) {
		chosen = id;
		if (told) ctx.setParams({ customer: id });
		ending?.abort();
		ending = new AbortController();
		ctx.signal.addEventListener("abort", () => ending.abort(), { once: true });
		put(panel, lists({ ...ctx, signal: ending.signal }, id));
		for (const row of found.querySelectorAll("tr[data-key]")) row.classList.toggle("table-row-selected", row.dataset.key === id);
		if (told && matchMedia("(max-width: 1080px)").matches) panel.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
	}
	const found = figure({
		name: "recommendation-customers", title: t("recommendations.customers"), params: { limit: 20, customer: chosen }, live: false,
		actions: [findCustomer(t("recommendations.find"), (customer) => found.reload({ customer }), chosen)],
		empty: { icon: "search", title: t("recommendations.noCustomer"), text: t("recommendations.noCustomerText") },
		table: () => ({
			dense: true, rowKey: (r) => r.customer_id, selectedKey: chosen, rowLabel: (r) => r.customer_id, onRow: (r) => choose(r.customer_id),
			columns: [
				{ key: "customer_id", label: t("recommendations.customer"), format: (v) => h("span", { class: "mono" }, v) },
				{ key: "best", label: t("recommendations.best"), class: "wrap" },
				{ key: "new_merchants", label: t("recommendations.modes.new"), align: "end", format: (v) => fmt.count(v) },
				{ key: "offers", label: t("recommendations.modes.offer"), align: "end", format: (v) => Number(v) > 0 ? fmt.count(v) : null },
			],
		}),
		onData: (data) => {
			const first = data.objects[0]?.customer_id;
			if (!chosen && first) queueMicrotask(() => choose(first, { told: false }));
		},
	}, ctx);
	if (chosen) choose(chosen, { told: false });
	else put(panel, empty({ icon: "user", compact: true, title: t("recommendations.choose"), text: t("recommendations.chooseText") }));
	return h("div", { class: "customer-grid" }, found, h("section", { class: "card customer", "aria-label": t("recommendations.lists"), tabindex: "-1" }, panel));
}

// lists are what one customer may like, by kind.
function lists(ctx, id) {
	const { t, fmt, href } = ctx;
	return h("div", { class: "customer-lists" },
		figure({
			name: "recommendations-of-customer", title: t("recommendations.lists"), subtitle: h("span", { class: "mono" }, id), bare: true, params: { customer: id }, live: false,
			actions: [link(href(`/transactions?customer=${encodeURIComponent(id)}`), t("recommendations.purchases"))],
			empty: { icon: "search", title: t("recommendations.noList"), text: t("recommendations.noListText") },
			content: (data) => h("div", { class: "customer-modes" }, modes.map((m) => {
				const rows = data.objects.filter((r) => r.mode === m);
				if (rows.length === 0) return null;
				const most = Math.max(...rows.map((r) => Number(r.score)), 1e-9);
				return h("div", { class: "customer-mode" }, h("h3", null, t(`recommendations.modes.${m}`)), h("p", { class: "subtitle" }, t(`recommendations.modeText.${m}`)),
					h("ol", { class: "likes" }, rows.map((r) => h("li", null,
						h("span", { class: "like-place" }, fmt.count(r.position)),
						h("span", { class: "like-what" }, h("span", { class: "like-name" }, r.merchant_name ?? r.merchant_id ?? fmt.mcc(r.mcc), r.offer_id && [" ", badge(r.offer_id, "accent")]), h("span", { class: "like-why" }, [fmt.mcc(r.mcc), reason(r.reason)].filter((s) => s && s !== "–").join(" · "))),
						h("span", { class: "like-score" }, bar(Number(r.score) / most, { label: t("recommendations.score", { score: fmt.number(r.score, 2) }) }))))));
			})),
		}, ctx));
}

function named(ctx, r) {
	return r.merchant_name ?? r.merchant_id ?? (r.offer_id ? `${r.offer_id} · ${ctx.fmt.mcc(r.mcc)}` : ctx.fmt.mcc(r.mcc));
}

// distinctly tells merchants of one name apart by their ids.
function distinctly(ctx, rows) {
	const times = new Map();
	for (const r of rows) times.set(named(ctx, r), (times.get(named(ctx, r)) ?? 0) + 1);
	return rows.map((r) => times.get(named(ctx, r)) > 1 && r.merchant_id ? `${named(ctx, r)} (${r.merchant_id.slice(-5)})` : named(ctx, r));
}

const nothing = (ctx) => ({ title: ctx.t("recommendations.nothing"), text: ctx.t("recommendations.nothingText") });

function topMerchants(ctx, mode) {
	const { t, fmt } = ctx;
	return figure({
		name: "recommendation-top-merchants", title: t("recommendations.top"), subtitle: t("recommendations.topText"), params: { mode, limit: 12 }, live: false, empty: nothing(ctx),
		chart: (data) => ({
			type: "bars", horizontal: true, x: { values: distinctly(ctx, data.objects), kind: "text", label: t("recommendations.merchant") }, y: { format: fmt.count },
			series: [{ name: t("recommendations.customers"), values: data.objects.map((r) => r.customers) }],
		}),
	}, ctx);
}

function ofSegment(ctx, mode, segments) {
	const { t } = ctx;
	if (segments.length === 0) {
		return card({ title: t("recommendations.bySegment") }, empty({ compact: true, icon: "segments", title: t("recommendations.noSegments"), text: t("recommendations.noSegmentsText"), action: link(ctx.href("/segments"), t("recommendations.toSegments")) }));
	}
	let chosen = segments.find((s) => s.segment_id === ctx.params.get("segment"))?.segment_id ?? segments[0].segment_id;
	const node = figure({
		name: "recommendations-of-segment", title: t("recommendations.bySegment"), subtitle: t("recommendations.bySegmentText"), params: { segment: chosen, mode, limit: 12 }, live: false, empty: nothing(ctx),
		actions: [select({
			name: "segment", label: t("recommendations.segment"), value: chosen, options: segments.map((s) => ({ value: s.segment_id, label: segmentName(s.name) })),
			onChange: (segment) => {
				chosen = segment;
				ctx.setParams({ segment });
				node.reload({ segment });
			},
		})],
		chart: (data) => ({
			type: "bars", horizontal: true, x: { values: distinctly(ctx, data.objects), kind: "text", label: t("recommendations.merchant") }, y: { percent: true },
			series: [{ name: t("recommendations.shareOfSegment"), tone: String(segments.findIndex((s) => s.segment_id === chosen) % 8 + 1), values: data.objects.map((r) => r.share) }],
		}),
	}, ctx);
	return node;
}

function categories(ctx, mode) {
	const { t, fmt } = ctx;
	return figure({
		name: "recommendation-mccs", title: t("recommendations.categories"), subtitle: t("recommendations.categoriesText"), params: { mode, limit: 10 }, live: false, empty: nothing(ctx),
		chart: (data) => ({
			type: "bars", horizontal: true, x: { values: data.objects.map((r) => fmt.mcc(r.mcc)), kind: "text", label: t("recommendations.category") }, y: { percent: true },
			series: [{ name: t("recommendations.share"), values: data.objects.map((r) => r.share) }],
		}),
	}, ctx);
}

// why adds up the reasons by their kind: the places and merchants that they name are many.
function why(ctx, mode) {
	const { t } = ctx;
	return figure({
		name: "recommendation-reasons", title: t("recommendations.why"), subtitle: t("recommendations.whyText"), params: { mode }, live: false, empty: nothing(ctx),
		chart: (data) => {
			const kinds = { buysHere: 0, because: 0, popularIn: 0, popular: 0 };
			for (const r of data.objects) {
				const kind = r.reason === "you buy here" ? "buysHere" : r.reason.startsWith("because") ? "because" : r.reason.startsWith("popular in") ? "popularIn" : "popular";
				kinds[kind] += Number(r.share);
			}
			const rows = Object.entries(kinds).filter(([, v]) => v > 0).sort((a, b) => b[1] - a[1]);
			return {
				type: "bars", horizontal: true, x: { values: rows.map(([k]) => t(`recommendations.reasons.${k}`)), kind: "text", label: t("recommendations.reason") }, y: { percent: true },
				series: [{ name: t("recommendations.share"), values: rows.map(([, v]) => v) }],
			};
		},
	}, ctx);
}

// uptake is how often a customer bought, since the run, where the list said so.
function uptake(ctx, run) {
	const { t, fmt } = ctx;
	return figure({
		name: "recommendation-uptake", title: t("recommendations.uptake"), subtitle: t("recommendations.uptakeText"), height: 240,
		isEmpty: (data) => !data.objects.some((r) => Number(r.bought) > 0), empty: { icon: "clock", title: t("recommendations.early"), text: t("recommendations.earlyText", { at: fmt.instant(run.as_of) }) },
		chart: (data) => {
			const places = [...new Set(data.objects.map((r) => Number(r.position)))].sort((a, b) => a - b);
			return {
				type: "bars", x: { values: places, kind: "number", label: t("recommendations.place"), long: (v) => t("recommendations.placeAt", { n: Number(v) }), format: String }, y: { format: (v) => fmt.percent(v), axis: (v) => fmt.percent(v, 0) },
				series: modes.filter((m) => data.objects.some((r) => r.mode === m)).map((m) => ({ name: t(`recommendations.modes.${m}`), values: places.map((p) => data.objects.find((r) => r.mode === m && Number(r.position) === p)?.uptake ?? null) })),
			};
		},
	}, ctx);
}
