// Predictions: what customers are expected to buy, and how that compares with what they did.

import { figure } from "../figure.js";
import { findCustomer, insights, parsed, tenth } from "../insights.js";
import { bar, drawer, facts, grid, h, kpi, link, note, put, section, segmented, select } from "../ui.js";

const horizons = ["30", "60", "90"];
const day = 86400e3;
const dayText = (ms) => new Date(ms).toISOString().slice(0, 10);

export default { name: "predictions", title: "predictions.title", uses: { compare: false }, render: (ctx) => insights("predict", ctx, (run) => predictions(ctx, run)) };

function predictions(ctx, run) {
	const { t } = ctx;
	let horizon = horizons.includes(ctx.params.get("horizon")) ? ctx.params.get("horizon") : "30";
	const numbers = figure({ name: "prediction-totals", title: t("predictions.totals"), bare: true, level: 2, live: false, content: (data) => totals(ctx, data.objects, horizon) }, ctx);
	const values = figure({
		name: "prediction-value-distribution", title: t("predictions.values"), subtitle: t("predictions.valuesText"), params: { currency: ctx.record.currency, horizon }, live: false, height: 240,
		empty: { title: t("predictions.valuesNone"), text: t("predictions.valuesNoneText") },
		chart: (data) => ({
			type: "bars", y: { label: t("predictions.customers") }, x: { values: data.objects.map((r) => r.from_value), kind: "number", label: t("predictions.value"), format: (v) => ctx.fmt.money(v, "", { compact: true }), long: (v) => between(ctx, data.objects.find((r) => r.from_value === v)) },
			series: [{ name: t("predictions.customers"), values: data.objects.map((r) => r.customers) }],
		}),
	}, ctx);
	const chooser = segmented({
		label: t("predictions.horizon"), value: horizon, options: horizons.map((v) => ({ value: v, label: t("predictions.days", { n: Number(v) }) })),
		onChange: (v) => {
			horizon = v;
			ctx.setParams({ horizon: v === "30" ? null : v });
			numbers.reload();
			values.reload({ horizon });
		},
	});
	return {
		actions: [chooser],
		content: [
			numbers, section({ title: t("predictions.check"), subtitle: t("predictions.checkText") }, grid({ columns: 2 }, actual(ctx, run), heldOut(ctx))),
			section({ title: t("predictions.who"), subtitle: t("predictions.whoText") }, grid({ columns: 2 }, alive(ctx), values), customers(ctx)),
			section({ title: t("predictions.next"), subtitle: t("predictions.nextText") }, grid({ columns: 2 }, nextCategory(ctx), nextDay(ctx))),
		],
	};
}

function totals(ctx, rows, horizon) {
	const { t, fmt, record } = ctx;
	const sum = (field) => rows.reduce((a, r) => a + Number(r[field] ?? 0), 0);
	const own = rows.find((r) => r.currency === record.currency) ?? rows.find((r) => r.currency);
	const purchases = sum(`purchases_${horizon}`), people = sum("customers"), living = sum("alive");
	const value = own?.[`value_${horizon}`] ?? null;
	return grid({ columns: "kpi" },
		kpi({ label: t("predictions.purchases", { n: Number(horizon) }), value: fmt.count(Math.round(purchases)), hint: t("predictions.perCustomer", { x: tenth(people > 0 ? purchases / people : null) }) }),
		kpi({ label: t("predictions.expected", { n: Number(horizon) }), value: value === null ? "–" : fmt.money(value, own.currency, { digits: 0 }), hint: value === null ? t("predictions.valuesNone") : t("predictions.perPurchase", { value: fmt.money(Number(value) / Math.max(1, Number(own[`purchases_${horizon}`])), own.currency, { digits: 0 }) }) }),
		kpi({ label: t("predictions.alive"), value: fmt.count(Math.round(living)), hint: t("predictions.aliveText", { n: people, share: fmt.percent(people > 0 ? living / people : null, 0) }) }),
		kpi({ label: t("predictions.lost"), value: fmt.count(Math.round(people - living)), hint: t("predictions.lostText") }));
}

function between(ctx, r) {
	const { t, fmt } = ctx;
	if (!r) return "";
	return r.to_value === null ? t("predictions.from", { from: fmt.money(r.from_value, ctx.record.currency, { digits: 0 }) }) : t("predictions.fromTo", { from: fmt.money(r.from_value, ctx.record.currency, { digits: 0 }), to: fmt.money(r.to_value, ctx.record.currency, { digits: 0 }) });
}

// actual compares what a run foretold with what came, since then.
function actual(ctx, run) {
	const { t, fmt } = ctx;
	const asOf = Date.parse(run.as_of);
	const from = Math.min(Date.parse(`${ctx.range.from}T00:00:00Z`), Math.floor(asOf / day) * day);
	const range = { from: dayText(from), to: dayText(Math.max(Date.parse(`${ctx.range.to}T00:00:00Z`), asOf + 31 * day)), includesToday: true };
	return figure({
		name: "forecast-and-actual", title: t("predictions.sinceRun"), subtitle: t("predictions.sinceRunText"), range, height: 280,
		chart: (data) => {
			const rows = data.objects;
			const seen = rows.filter((r) => r.actual !== null && r.actual !== undefined);
			return {
				type: "line", x: { values: rows.map((r) => r.day), kind: "day" }, y: { label: t("predictions.soFar"), format: (v) => fmt.count(Math.round(v)) },
				series: [
					{ name: t("predictions.actualName"), values: rows.map((r) => r.actual_total), tone: "accent" },
					{ name: t("predictions.expectedName"), values: rows.map((r) => r.expected_total), tone: "muted", dashed: true },
				],
				marks: seen.length > 0 && seen.length < rows.length ? [{ at: seen.at(-1).day, label: t("predictions.today") }] : [],
			};
		},
		note: verdictSlot(ctx, asOf),
		onData(data) {
			put(this.note, verdict(ctx, data.objects));
		},
	}, ctx);
}

function verdictSlot(ctx) {
	return h("span", null, ctx.t("app.loading"));
}

// verdict says how far off the forecast has been, and nothing where it is too early to tell.
function verdict(ctx, rows) {
	const { t, fmt } = ctx;
	const today = dayText(Date.now());
	const whole = rows.filter((r) => r.actual !== null && r.actual !== undefined && r.day < today);
	const first = rows[0];
	if (!first) return "";
	const last = whole.at(-1);
	if (!last || whole.length < 3) return t("predictions.early", { at: fmt.instant(first.as_of), n: whole.length });
	const off = Number(last.actual_total) / Number(last.expected_total) - 1;
	return t("predictions.verdict", { at: fmt.instant(first.as_of), n: whole.length, expected: fmt.count(Math.round(last.expected_total)), actual: fmt.count(last.actual_total), off: fmt.percent(Math.abs(off), 0), side: off >= 0 ? "more" : "less" });
}

// heldOut shows the test that the run made of itself: days that its model had not seen.
function heldOut(ctx) {
	const { t, fmt } = ctx;
	const told = h("span");
	return figure({
		name: "model-card", title: t("predictions.heldOut"), subtitle: t("predictions.heldOutText"), params: { job: "predict" }, live: false, height: 280,
		isEmpty: (data) => !curve(data), empty: { title: t("predictions.heldOutNone"), text: t("predictions.heldOutNoneText") },
		chart: (data) => {
			const c = curve(data);
			return {
				type: "line", x: { values: c.days, kind: "day" }, y: { label: t("predictions.soFar"), format: (v) => fmt.count(Math.round(v)) },
				series: c.series.map((s) => ({ name: t.has(`predictions.series.${s.key}`) ? t(`predictions.series.${s.key}`) : s.name, values: s.values, tone: s.key === "actual" ? "accent" : s.baseline ? "previous" : "2", dashed: s.key !== "actual" })),
				marks: c.split ? [{ at: c.split, label: t("predictions.unseen") }] : [],
			};
		},
		onData: (data) => put(told, quality(ctx, data)), note: told,
	}, ctx);
}

// curve reads the figure "forecast" of a run's model card.
function curve(data) {
	const all = parsed(data.objects[0]?.card, {});
	const f = (all.figures ?? []).find((g) => g.name === "forecast" && g.kind === "line");
	if (!f?.series?.length) return null;
	const seconds = [...new Set(f.series.flatMap((s) => s.x ?? []))].sort((a, b) => a - b);
	const split = (f.references ?? []).find((r) => typeof r.at === "number");
	const days = seconds.map((s) => dayText(s * 1000));
	return {
		days, split: split ? days.find((d) => d >= dayText(split.at * 1000)) : null,
		series: f.series.map((s) => {
			const at = new Map((s.x ?? []).map((x, i) => [x, s.y[i]]));
			return { name: s.name, key: s.name.startsWith("expected") ? "expected" : s.name.replaceAll(/[^a-z]+(\w)?/gi, (_, c) => (c ?? "").toUpperCase()), baseline: s.is_baseline, values: seconds.map((x) => at.get(x) ?? null) };
		}),
	};
}

function quality(ctx, data) {
	const { t, fmt } = ctx;
	const metrics = parsed(data.objects[0]?.card, {}).metrics ?? [];
	const ratio = metrics.find((m) => m.name === "expected over actual")?.value;
	const error = metrics.find((m) => m.name === "error of a customer's purchases (RMSE)");
	const simple = error?.baselines?.find((b) => b.name === "same rate as before")?.value;
	return [
		typeof ratio === "number" && t("predictions.ratio", { off: fmt.percent(Math.abs(ratio - 1), 0), side: ratio >= 1 ? "more" : "less" }),
		error && simple && t("predictions.error", { gain: fmt.percent(Math.abs(1 - error.value / simple), 0), side: error.value <= simple ? "better" : "worse" }),
	].filter(Boolean).join(" ");
}

function alive(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "prediction-distribution", title: t("predictions.stillBuy"), subtitle: t("predictions.stillBuyText"), live: false, height: 240,
		chart: (data) => {
			const sums = new Map();
			for (const r of data.objects) sums.set(Number(r.from_alive), (sums.get(Number(r.from_alive)) ?? 0) + Number(r.customers));
			const tenths = Array.from({ length: 10 }, (_, i) => i / 10);
			return {
				type: "bars", y: { label: t("predictions.customers") },
				x: { values: tenths, kind: "number", label: t("predictions.chance"), format: (v) => fmt.percent(v, 0), long: (v) => t("predictions.fromTo", { from: fmt.percent(v, 0), to: fmt.percent(v + 0.1, 0) }) },
				series: [{ name: t("predictions.customers"), values: tenths.map((v) => [...sums].find(([k]) => Math.abs(k - v) < 0.01)?.[1] ?? 0) }],
			};
		},
	}, ctx);
}

function nextCategory(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "next-mcc", title: t("predictions.nextCategory"), subtitle: t("predictions.nextCategoryText"), params: { limit: 12 }, live: false,
		chart: (data) => ({
			type: "bars", horizontal: true, x: { values: data.objects.map((r) => fmt.mcc(r.next_mcc)), kind: "text", label: t("predictions.category") }, y: { percent: true },
			series: [{ name: t("predictions.shareOfCustomers"), values: data.objects.map((r) => r.share) }],
		}),
	}, ctx);
}

function nextDay(ctx) {
	const { t } = ctx;
	return figure({
		name: "next-purchases", title: t("predictions.nextDay"), subtitle: t("predictions.nextDayText"), live: false, height: 300,
		chart: (data) => {
			const rows = data.objects;
			const at = new Map(rows.map((r) => [r.day, r.customers]));
			const days = [];
			for (let d = Date.parse(rows[0].day); d <= Date.parse(rows.at(-1).day); d += day) days.push(dayText(d));
			return { type: "bars", x: { values: days, kind: "day" }, y: { label: t("predictions.customers") }, series: [{ name: t("predictions.customers"), values: days.map((d) => at.get(d) ?? 0) }] };
		},
	}, ctx);
}

function customers(ctx) {
	const { t, fmt } = ctx;
	const sorts = ["value", "purchases", "risk", "alive"];
	const first = sorts.includes(ctx.params.get("sort")) ? ctx.params.get("sort") : "value";
	const node = figure({
		name: "prediction-customers", title: t("predictions.list"), subtitle: t("predictions.listText"), params: { sort: first, limit: 20 }, live: false,
		actions: [
			findCustomer(t("predictions.find"), (customer) => node.reload({ customer })),
			select({
				name: "sort", label: t("predictions.order"), value: first, options: sorts.map((v) => ({ value: v, label: t(`predictions.sorts.${v}`) })),
				onChange: (sort) => {
					ctx.setParams({ sort: sort === "value" ? null : sort });
					node.reload({ sort });
				},
			}),
		],
		empty: { title: t("predictions.listNone"), text: t("predictions.listNoneText") },
		table: () => ({
			dense: true, onRow: (r) => open(ctx, r), rowLabel: (r) => r.customer_id,
			columns: [
				{ key: "customer_id", label: t("predictions.customer"), format: (v) => h("span", { class: "mono" }, v) },
				{ key: "alive", label: t("predictions.chance"), align: "end", format: (v) => h("span", { class: "chance" }, h("span", null, fmt.percent(v, 0)), bar(v, { tone: v < 0.5 ? "warn" : "accent" })) },
				...["30", "90"].map((n) => ({ key: `purchases_${n}`, label: t("predictions.purchasesIn", { n: Number(n) }), align: "end", format: tenth })),
				{ key: "value_90", label: t("predictions.valueIn", { n: 90 }), align: "end", format: (v, r) => fmt.money(v, r.currency, { digits: 0 }) },
				{ key: "next_mcc", label: t("predictions.category"), format: (v, r) => v && [fmt.mcc(v), r.next_mcc_probability !== null && h("span", { class: "faint" }, ` ${fmt.percent(r.next_mcc_probability, 0)}`)] },
				{ key: "next_purchase_at", label: t("predictions.nextBy"), format: (v) => v && fmt.day(v) },
			],
		}),
	}, ctx);
	return node;
}

// open shows all that is foretold of one customer.
function open(ctx, r) {
	const { t, fmt, href } = ctx;
	const table = h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": t("predictions.ahead") }, h("table", null, h("caption", { class: "sr-only" }, t("predictions.ahead")),
		h("thead", null, h("tr", null, h("th", { scope: "col" }, t("predictions.within")), h("th", { scope: "col", class: "align-end" }, t("predictions.purchasesName")), h("th", { scope: "col", class: "align-end" }, t("predictions.value")))),
		h("tbody", null, horizons.map((n) => h("tr", null, h("th", { scope: "row" }, t("predictions.days", { n: Number(n) })), h("td", { class: "align-end" }, tenth(r[`purchases_${n}`])), h("td", { class: "align-end" }, fmt.money(r[`value_${n}`], r.currency)))))));
	drawer({
		title: t("predictions.one"), subtitle: r.customer_id,
		body: h("div", null, facts([
			[t("predictions.chance"), fmt.percent(r.alive, 0)],
			[t("predictions.bought"), t("predictions.boughtText", { n: Number(r.frequency) + 1, days: fmt.number(r.age_days, 0) })],
			[t("predictions.lastBought"), t("predictions.lastBoughtText", { days: fmt.number(Math.max(0, r.age_days - r.recency_days), 0) })],
			[t("predictions.category"), r.next_mcc && `${fmt.mcc(r.next_mcc)}${r.next_mcc_probability !== null ? ` · ${fmt.percent(r.next_mcc_probability, 0)}` : ""}`],
			[t("predictions.nextBy"), r.next_purchase_at ? fmt.day(r.next_purchase_at) : t("predictions.gone")],
		]), table, note(t("predictions.caution")), h("p", null, link(href(`/recommendations?customer=${encodeURIComponent(r.customer_id)}`), t("predictions.recommended")))),
	}).open();
}
