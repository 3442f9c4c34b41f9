// The cards: how many are in use, how much, by whom it is carried, and one card's events.

import { buckets } from "../chart.js";
import { eventColumns, eventLabel } from "../events.js";
import { figure } from "../figure.js";
import { compared, fairRanges, later, mainCurrency, moneyValue, noData, number, shareCell } from "../parts.js";
import { openPurchase } from "../purchase.js";
import { button, card, copyButton, empty, facts, failure, grid, h, kpi, page, put, segmented, skeleton } from "../ui.js";

export default {
	name: "cards", title: "cards.title",
	render(ctx) {
		const token = ctx.memory.get("card");
		return token ? oneCard(ctx, token) : allCards(ctx);
	},
};

function allCards(ctx) {
	const { t, fmt, range, signal } = ctx;
	const one = (make, height = 340) => later(make, { height, signal });
	return page({ title: t("cards.title"), subtitle: t("overview.subtitle", { tenant: ctx.tenant, range: fmt.range(range.from, range.to) }) },
		base(ctx), overTime(ctx),
		grid({ columns: 2 }, one(() => activity(ctx)), one(() => concentration(ctx))),
		grid({ columns: "2-1" }, one(() => retention(ctx)), one(() => byProduct(ctx))),
		one(() => top(ctx), 480));
}

// base says how many cards are active, new and dormant.
function base(ctx) {
	const { t, fmt, range } = ctx;
	const node = h("div", { class: "grid grid-kpi" }, Array.from({ length: 5 }, () => h("div", { class: "card kpi" }, skeleton("kpi"))));
	const fair = fairRanges(range);
	(async () => {
		try {
			const ask = (r) => r && ctx.figure("card-base", { from: r.from, to: r.to });
			const [all, a, b] = await Promise.all([ask(range), fair && fair.now.to !== range.to ? ask(fair.now) : null, ask(fair?.before)]);
			const first = (answer) => answer?.objects?.[0] ?? null;
			const now = first(all), then = fair ? first(a ?? all) : null, before = first(b);
			if (!now) {
				put(node, card(null, empty({ ...noData(ctx, "card_token"), compact: true })));
				return;
			}
			const delta = (field, options) => {
				const d = then && before && fmt.delta(then[field], before[field], options);
				return d ? { ...d, title: compared(fair) } : null;
			};
			put(node,
				kpi({ label: t("cards.active"), value: fmt.count(now.active_cards), delta: delta("active_cards"), hint: t("cards.activeText") }),
				kpi({ label: t("cards.new"), value: fmt.count(now.new_cards), delta: delta("new_cards"), hint: t("cards.newText") }),
				kpi({ label: t("cards.dormant"), value: fmt.count(now.dormant_cards), delta: delta("dormant_cards", { better: "down" }), hint: t("cards.dormantText") }),
				kpi({ label: t("cards.returning"), value: fmt.count(now.returning_cards), delta: delta("returning_cards"), hint: t("cards.returningText") }),
				kpi({ label: t("cards.perCard"), value: fmt.number(now.purchases_per_card, 1), delta: delta("purchases_per_card"), hint: t("cards.perCardText") }));
		} catch (err) {
			if (err.kind !== "aborted") put(node, card(null, failure(err, { compact: true, retry: () => node.replaceWith(base(ctx)) })));
		}
	})();
	return node;
}

function overTime(ctx) {
	const { t, range } = ctx;
	const lines = { active: ["active_30_days", "active_7_days", "active_cards"], change: ["new_cards", "lapsed_cards"] };
	let shown = "active";
	const make = () => figure({
		name: "cards-over-time", title: t(shown === "active" ? "cards.overTime" : "cards.change"), subtitle: t(shown === "active" ? "cards.overTimeText" : "cards.changeText"), height: 280, empty: noData(ctx, "card_token"), compare: false,
		actions: [segmented({ label: t("cards.show"), value: shown, options: [{ value: "active", label: t("cards.active") }, { value: "change", label: t("cards.newAndLapsed") }], onChange: (v) => { shown = v; const next = make(); node.replaceWith(next); node = next; } })],
		chart: (data) => {
			const by = buckets({ from: range.from, to: range.to, grain: "day" }, data.objects, "day");
			return {
				type: shown === "active" ? "line" : "bars", x: { values: by.at, kind: "day" }, y: shown === "active" ? { min: 0 } : {},
				series: lines[shown].map((field, i) => ({ name: t(`cards.${field}`), values: by.of(field), tone: shown === "change" ? (i === 0 ? "good" : "muted") : ["accent", 2, 3][i] })),
			};
		},
	}, ctx);
	let node = make();
	return h("div", { class: "grid grid-1" }, node);
}

function activity(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "card-activity", title: t("cards.activity"), subtitle: t("cards.activityText"), empty: noData(ctx, "card_token"),
		chart: (data) => ({
			type: "bars", x: { values: data.objects.map((r) => r.to_purchases === null ? `${r.from_purchases}+` : r.from_purchases === r.to_purchases ? String(r.from_purchases) : `${r.from_purchases}–${r.to_purchases}`), kind: "text", label: t("cards.purchases") },
			y: {}, series: [{ name: t("cards.title"), values: data.objects.map((r) => number(r.cards)) }],
		}),
		columns: () => [
			{ key: "from_purchases", label: t("cards.purchases"), format: (v, r) => r.to_purchases === null ? `${v}+` : `${v}–${r.to_purchases}` },
			{ key: "cards", label: t("cards.title"), align: "end", format: (v) => fmt.count(v) },
			{ key: "share", label: t("overview.share"), align: "end", format: (v) => fmt.percent(v) },
		],
	}, ctx);
}

function concentration(ctx) {
	const { t, fmt } = ctx;
	const currency = ctx.record?.currency;
	return figure({
		name: "card-concentration", title: t("cards.concentration"), subtitle: t("cards.concentrationText", { currency }), params: { currency }, empty: noData(ctx, "card_token"),
		chart: (data) => ({
			type: "bars", x: { values: data.objects.map((r) => fmt.count(r.decile)), kind: "text", label: t("cards.decileAxis") }, y: { percent: true },
			series: [{ name: t("cards.shareOfAmount"), values: data.objects.map((r) => r.share) }],
		}),
		columns: () => [
			{ key: "decile", label: t("cards.decileLabel") }, { key: "cards", label: t("cards.title"), align: "end", format: (v) => fmt.count(v) },
			{ key: "amount", label: t("overview.approvedAmount"), align: "end", format: (v) => fmt.money(v, currency) }, { key: "share", label: t("overview.share"), align: "end", format: (v) => fmt.percent(v) },
		],
	}, ctx);
}

function retention(ctx) {
	const { t, fmt } = ctx;
	const weeks = { from: new Date(Date.parse(ctx.range.to) - 91 * 86400e3).toISOString().slice(0, 10), to: ctx.range.to };
	return figure({
		name: "card-retention", title: t("cards.retention"), subtitle: t("cards.retentionText"), range: weeks, empty: noData(ctx, "card_token"),
		chart: (data) => {
			const cohorts = [...new Set(data.objects.map((r) => r.cohort))].sort();
			const most = Math.max(...data.objects.map((r) => r.weeks_after), 0);
			const at = new Map(data.objects.map((r) => [`${r.cohort}|${r.weeks_after}`, r.share]));
			return {
				type: "heatmap", percent: true, label: t("cards.stillActive"),
				x: { values: Array.from({ length: most + 1 }, (_, i) => t("cards.week", { n: i })), kind: "text" }, y: { values: cohorts.map((c) => fmt.dayShort(c)), kind: "text" },
				values: cohorts.map((c) => Array.from({ length: most + 1 }, (_, i) => at.get(`${c}|${i}`) ?? null)), format: (v) => fmt.percent(v, 0),
			};
		},
	}, ctx);
}

function byProduct(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "cards-by-product", title: t("cards.byProduct"), empty: noData(ctx, "card_token"),
		table: (data) => {
			const most = Math.max(...data.objects.map((r) => number(r.cards)), 0);
			return {
				dense: true, columns: [
					{ key: "product", label: t("cards.product"), format: (v, row) => h("span", { class: "two-lines" }, h("span", null, t.term("product", v)), h("span", { class: "faint" }, t.term("network", row.network))) },
					{ key: "cards", label: t("cards.title"), format: (v) => shareCell(v, most, fmt.count(v)) },
					{ key: "purchases_per_card", label: t("cards.perCard"), align: "end", format: (v) => fmt.number(v, 1) },
				],
			};
		},
	}, ctx);
}

function top(ctx) {
	const { t, fmt } = ctx;
	const currency = ctx.record?.currency;
	let sort = "amount";
	const list = figure({
		name: "top-cards", title: t("cards.top"), subtitle: t("cards.topText", { currency }), params: { currency, sort, limit: 20 }, empty: noData(ctx, "card_token"),
		isEmpty: (data) => data.rows.length === 0 || data.objects.every((r) => !r.card_token),
		actions: [segmented({ label: t("cards.sort"), value: sort, options: ["amount", "approved", "declined"].map((v) => ({ value: v, label: t(`cards.sort.${v}`) })), onChange: (v) => list.reload({ sort: v }) })],
		table: () => ({
			columns: [
				{ key: "last4", label: t("transactions.card"), format: (v, row) => h("span", { class: "two-lines" }, h("span", { class: "card-number" }, v ? fmt.card(v) : fmt.token(row.card_token)), h("span", { class: "faint mono" }, row.bin)) },
				{ key: "approved_amount", label: t("overview.approvedAmount"), align: "end", format: (v) => fmt.money(v, currency) },
				{ key: "approved", label: t("overview.approved"), align: "end", format: (v) => fmt.count(v) },
				{ key: "declined", label: t("declines.declined"), align: "end", format: (v) => fmt.count(v) },
				{ key: "merchants", label: t("merchants.title"), align: "end", format: (v) => fmt.count(v) },
				{ key: "countries", label: t("cards.countries"), align: "end", format: (v) => fmt.count(v) },
				{ key: "last_event_at", label: t("cards.lastUsed"), align: "end", format: (v) => fmt.instant(v) },
			],
			rowLabel: (row) => t("cards.open", { card: row.last4 ? fmt.card(row.last4) : fmt.token(row.card_token) }),
			onRow: (row) => { ctx.memory.set("card", row.card_token); ctx.go("/cards"); },
		}),
	}, ctx);
	return list;
}

// oneCard is about a card that was chosen on another page: its token is kept in memory, because
// an address with it would tell whose it is to whoever sees the address.
function oneCard(ctx, token) {
	const { t, fmt } = ctx;
	const back = button(t("cards.back"), { icon: "arrow-left", onClick: () => { ctx.memory.delete("card"); ctx.go("/cards"); } });
	const head = h("div", null, skeleton("kpi"));
	const load = async () => {
		try {
			const data = await ctx.figure("card-summary", { card: token });
			if (data.rows.length === 0) {
				put(head, empty({ icon: "cards", title: t("cards.notUsed"), text: t("cards.notUsedText"), compact: true }));
				return;
			}
			const currency = mainCurrency(ctx, data.objects);
			const row = data.objects.find((r) => r.currency === currency) ?? data.objects[0];
			const all = (field) => data.objects.reduce((n, r) => n + number(r[field]), 0);
			put(head, h("div", { class: "card-page" },
				h("div", { class: "plastic" }, h("span", { class: "plastic-network" }, t.term("network", row.network)), h("span", { class: "plastic-chip" }), h("span", { class: "plastic-number" }, row.last4 ? fmt.card(row.last4) : "••••"), h("span", { class: "plastic-product" }, t.term("product", row.product), row.bin && ` · BIN ${row.bin}`)),
				h("div", { class: "grid grid-kpi" },
					kpi({ label: t("overview.approvedAmount"), value: moneyValue(row.approved_amount, row.currency), hint: data.objects.length > 1 ? t("cards.otherCurrencies", { n: data.objects.length - 1 }) : "" }),
					kpi({ label: t("overview.approved"), value: fmt.count(all("approved")) }),
					kpi({ label: t("declines.declined"), value: fmt.count(all("declined")), hint: all("requests") > 0 ? fmt.percent(all("declined") / all("requests")) : "" }),
					kpi({ label: t("merchants.title"), value: fmt.count(Math.max(...data.objects.map((r) => number(r.merchants)))) })),
				card(null, facts([
					[t("transactions.token"), h("span", { class: "with-copy" }, h("span", { class: "mono" }, token), copyButton(token))],
					row.customer_id && [t("transactions.customer"), h("span", { class: "mono" }, row.customer_id)],
					[t("cards.firstUsed"), fmt.instant(data.objects.map((r) => r.first_event_at).sort()[0])],
					[t("cards.lastUsed"), fmt.instant(data.objects.map((r) => r.last_event_at).sort().at(-1))],
				], { columns: 2 }))));
		} catch (err) {
			if (err.kind !== "aborted") put(head, failure(err, { retry: load }));
		}
	};
	load();
	const events = figure({
		name: "card", title: t("cards.events"), params: { card: token, limit: 50 }, empty: { icon: "cards", title: t("cards.notUsed"), text: t("cards.notUsedText") },
		table: () => ({ columns: eventColumns({ card: false }), rowLabel: eventLabel, onRow: (row) => openPurchase(ctx, row.transaction_id, { near: row.event_time }) }),
	}, ctx);
	return page({ title: t("cards.one"), subtitle: t("overview.subtitle", { tenant: ctx.tenant, range: fmt.range(ctx.range.from, ctx.range.to) }), actions: [back] }, head, events);
}
