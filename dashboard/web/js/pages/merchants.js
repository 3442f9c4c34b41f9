// Where the cards are used: the merchants, and one of them over time.

import { buckets } from "../chart.js";
import { figure } from "../figure.js";
import { clip, later, mainCurrency, merge, moneyValue, noData, number, rate, shareCell, to } from "../parts.js";
import { cardLike } from "../router.js";
import { button, empty, failure, grid, h, kpi, link, page, put, search, segmented, skeleton, toast } from "../ui.js";

export default {
	name: "merchants", title: "merchants.title",
	render(ctx) {
		const id = ctx.params.get("merchant");
		return id ? oneMerchant(ctx, id) : allMerchants(ctx);
	},
};

function allMerchants(ctx) {
	const { t, fmt, range, signal } = ctx;
	const one = (make, height = 360) => later(make, { height, signal });
	return page({ title: t("merchants.title"), subtitle: t("overview.subtitle", { tenant: ctx.tenant, range: fmt.range(range.from, range.to) }) },
		top(ctx),
		grid({ columns: 2 }, one(() => byMCC(ctx)), one(() => concentration(ctx))),
		one(() => fresh(ctx)));
}

const merchantColumn = (ctx, key = "merchant_name") => ({
	key, label: ctx.t("transactions.merchant"), href: (row) => row.merchant_id ? ctx.href(`/merchants?merchant=${encodeURIComponent(row.merchant_id)}`) : null,
	format: (v, row) => h("span", { class: "two-lines" }, clip(v || row.merchant_id), h("span", { class: "faint" }, [ctx.fmt.mcc(row.mcc), ctx.fmt.country(row.merchant_country)].filter(Boolean).join(" · "))),
});

function top(ctx) {
	const { t, fmt } = ctx;
	const currency = ctx.record?.currency;
	const state = { sort: ctx.params.get("sort") ?? "approved", text: ctx.params.get("text") ?? "" };
	const asked = () => ({ sort: state.sort, text: state.text, currency: state.sort === "amount" ? currency : "", limit: 20 });
	const change = (values) => {
		if (cardLike(values.text)) {
			toast(t("app.cardNumber"), { tone: "warn" });
			return;
		}
		Object.assign(state, values);
		ctx.setParams({ sort: state.sort === "approved" ? null : state.sort, text: state.text });
		list.reload(asked());
	};
	const list = figure({
		name: "top-merchants", title: t("merchants.top"), params: asked(),
		empty: noData(ctx),
		actions: [
			search({ label: t("merchants.search"), placeholder: t("merchants.search"), value: state.text, maxlength: 64, onInput: (v) => change({ text: v.trim() }) }),
			segmented({ label: t("cards.sort"), value: state.sort, options: ["approved", "amount", "declined"].map((v) => ({ value: v, label: t(`cards.sort.${v}`) })), onChange: (v) => change({ sort: v }) }),
		],
		table: (data) => {
			const most = Math.max(...data.objects.map((r) => number(r.share)), 0);
			return {
				columns: [
					merchantColumn(ctx),
					{ key: "approved", label: t("overview.approved"), align: "end", format: (v) => fmt.count(v) },
					{ key: "declined", label: t("declines.declined"), align: "end", format: (v) => fmt.count(v) },
					{ key: "approval_rate", label: t("overview.approval"), align: "end", format: (v) => fmt.percent(v) },
					{ key: "approved_amount", label: t("overview.approvedAmount"), align: "end", format: (v, row) => fmt.money(v, row.currency) },
					{ key: "share", label: t("overview.share"), width: "18%", format: (v) => shareCell(v, most, fmt.percent(v)) },
				],
			};
		},
	}, ctx);
	return list;
}

function byMCC(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "merchants-by-mcc", title: t("merchants.byMcc"), params: { currency: ctx.record?.currency, limit: 12 }, empty: noData(ctx),
		table: (data) => {
			const most = Math.max(...data.objects.map((r) => number(r.requests)), 0);
			return {
				dense: true, columns: [
					{ key: "mcc", label: t("overview.label.mcc"), format: (v) => fmt.mcc(v), href: (row) => to(ctx, `/transactions?mcc=${encodeURIComponent(row.mcc)}`) },
					{ key: "merchants", label: t("merchants.title"), align: "end", format: (v) => fmt.count(v) },
					{ key: "requests", label: t("overview.requests"), format: (v) => shareCell(v, most, fmt.count(v)) },
					{ key: "average_amount", label: t("overview.ticket"), align: "end", format: (v, row) => fmt.money(v, row.currency), class: "roomy" },
				],
			};
		},
	}, ctx);
}

function concentration(ctx) {
	const { t, fmt } = ctx;
	const currency = ctx.record?.currency;
	return figure({
		name: "merchant-concentration", title: t("merchants.concentration"), subtitle: t("merchants.concentrationText", { currency }), params: { currency }, empty: noData(ctx, "amount"),
		table: (data) => ({
			rows: data.objects.filter((r) => r.merchants !== "all"), dense: true, columns: [
				{ key: "merchants", label: t("merchants.title"), format: (v) => t("merchants.topN", { n: v.replace("top_", "") }) },
				{ key: "amount", label: t("overview.approvedAmount"), align: "end", format: (v) => fmt.money(v, currency, { digits: 0 }) },
				{ key: "share", label: t("overview.share"), width: "40%", format: (v) => rate(v) },
			],
		}),
	}, ctx);
}

function fresh(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "new-merchants", title: t("merchants.new"), subtitle: t("merchants.newText"), params: { limit: 10 },
		empty: { icon: "merchants", title: t("merchants.noNew"), text: t("merchants.noNewText") },
		table: () => [
			merchantColumn(ctx),
			{ key: "first_event_at", label: t("merchants.firstSeen"), align: "end", format: (v) => fmt.instant(v) },
			{ key: "approved", label: t("overview.approved"), align: "end", format: (v) => fmt.count(v) },
			{ key: "declined", label: t("declines.declined"), align: "end", format: (v) => fmt.count(v) },
			{ key: "cards", label: t("cards.title"), align: "end", format: (v) => fmt.count(v) },
		],
	}, ctx);
}

// oneMerchant is one merchant over time, as a tenant's cards are used there.
function oneMerchant(ctx, id) {
	const { t, fmt, range } = ctx;
	const title = h("span", null, id);
	const head = h("div", { class: "grid grid-kpi" }, Array.from({ length: 5 }, () => h("div", { class: "card kpi" }, skeleton("kpi"))));
	const place = h("p", { class: "subtitle" }, id);
	(async function load() {
		try {
			const data = await ctx.figure("merchant-summary", { merchant: id });
			if (data.rows.length === 0) {
				put(head, h("div", { class: "card" }, empty({ ...noData(ctx), icon: "merchants", compact: true })));
				return;
			}
			const currency = mainCurrency(ctx, data.objects);
			const row = data.objects.find((r) => r.currency === currency) ?? data.objects[0];
			put(title, row.merchant_name || id);
			put(place, [fmt.mcc(row.mcc), [row.merchant_city, fmt.country(row.merchant_country)].filter(Boolean).join(", "), fmt.range(range.from, range.to)].filter(Boolean).join(" · "), h("span", { class: "code-hint mono" }, id));
			const one = merge(data.objects, [])[0];
			put(head,
				kpi({ label: t("overview.approvedAmount"), value: moneyValue(row.approved_amount, row.currency), hint: data.objects.length > 1 ? t("cards.otherCurrencies", { n: data.objects.length - 1 }) : "" }),
				kpi({ label: t("overview.requests"), value: fmt.count(one.requests), href: to(ctx, `/transactions?merchant=${encodeURIComponent(id)}`) }),
				kpi({ label: t("overview.approval"), value: fmt.percent(one.approval_rate) }),
				kpi({ label: t("overview.ticket"), value: fmt.money(row.average_amount, row.currency) }),
				kpi({ label: t("cards.title"), value: fmt.count(Math.max(...data.objects.map((r) => number(r.cards)))), hint: t("merchants.terminals", { n: Math.max(...data.objects.map((r) => number(r.terminals))) }) }));
		} catch (err) {
			if (err.kind !== "aborted") put(head, h("div", { class: "card" }, failure(err, { compact: true, retry: load })));
		}
	})();
	const chart = figure({
		name: "merchant", title: t("merchants.overTime"), params: { merchant: id, grain: "day" }, compare: true, height: 280, empty: noData(ctx),
		chart: (data, previous) => {
			const of = (rows, r) => buckets({ from: r.from, to: r.to, grain: "day" }, merge(rows, ["period"]), "period", { missing: 0 });
			const by = of(data.objects, range), was = previous && of(previous.objects, range.previous);
			return {
				type: "bars", stacked: true, x: { values: by.at, kind: "day" }, y: {},
				series: [
					{ name: t("overview.approved"), values: by.of("approved"), tone: "accent" }, { name: t("overview.declined"), values: by.of("declined"), tone: "bad" },
					...(was ? [{ name: t("app.previous"), type: "line", tone: "previous", dashed: true, values: was.of("requests").slice(0, by.at.length), at: was.at }] : []),
				],
			};
		},
	}, ctx);
	const terminals = figure({
		name: "merchant-terminals", title: t("merchants.terminalsTitle"), subtitle: t("merchants.terminalsText"), params: { merchant: id, limit: 20 }, empty: noData(ctx),
		table: () => [
			{ key: "terminal_id", label: t("transactions.terminal"), format: (v) => v && h("span", { class: "mono" }, v) },
			{ key: "merchant_city", label: t("transactions.place") },
			{ key: "requests", label: t("overview.requests"), align: "end", format: (v) => fmt.count(v) },
			{ key: "decline_rate", label: t("declines.rate"), align: "end", format: (v) => fmt.percent(v) },
			{ key: "magstripe", label: t("merchants.magstripe"), align: "end", format: (v) => fmt.count(v) },
			{ key: "cards", label: t("cards.title"), align: "end", format: (v) => fmt.count(v) },
			{ key: "last_event_at", label: t("cards.lastUsed"), align: "end", format: (v) => fmt.instant(v) },
		],
	}, ctx);
	const node = page({
		title, actions: [
			button(t("merchants.back"), { icon: "arrow-left", onClick: () => ctx.go("/merchants") }),
			ctx.may("transactions") && link(ctx.href(`/transactions?merchant=${encodeURIComponent(id)}`), t("merchants.transactions"), { class: "button button-default" }),
		],
	}, head, chart, terminals);
	node.querySelector(".head-text").append(place);
	return node;
}
