// How business is: what happens now, what happened in the period, and of what it is made.

import { buckets, sparkline } from "../chart.js";
import { figure } from "../figure.js";
import { compared, fairRanges, later, merge, moneyValue, noData, number, ranking, reasonText, to, total } from "../parts.js";
import { badge, bar, card, explain, grid, h, kpi, link, page, put, section, skeleton } from "../ui.js";

export default {
	name: "overview", title: "overview.title",
	render(ctx) {
		const { t, fmt, range, signal } = ctx;
		const kpis = numbers(ctx);
		return page({ title: t("overview.title"), subtitle: t("overview.subtitle", { tenant: ctx.tenant, range: fmt.range(range.from, range.to) }) },
			strip(ctx),
			kpis.node,
			grid({ columns: "2-1" }, volume(ctx, kpis.take), reasons(ctx)),
			grid({ columns: "2-1" },
				later(() => approval(ctx), { height: 340, signal }),
				later(() => parts(ctx), { height: 340, signal })),
			later(() => heat(ctx), { height: 380, signal }),
			section({ title: t("overview.madeOf"), subtitle: t("overview.madeOfText") },
				grid({ columns: 2 }, ...madeOf(ctx).map((make) => later(make, { height: 360, signal })))));
	},
};

function requestsName(t) {
	return t("overview.requests");
}

// numbers are the figures in a row above the charts. What the chart of the volume is made of is
// given to take, so that it is asked for once.
function numbers(ctx) {
	const { t, fmt, range } = ctx;
	const node = h("div", { class: "grid grid-kpi" });
	const wait = (label) => kpi({ label, value: skeleton("kpi") });
	const labels = { billed: "overview.approvedAmount", requests: "overview.requests", approval: "overview.approval", ticket: "overview.ticket", declined: "overview.declined", foreign: "overview.foreign" };
	const boxes = Object.fromEntries(Object.entries(labels).map(([name, key]) => [name, wait(t(key))]));
	node.append(...Object.values(boxes));
	const set = (name, options) => {
		const fresh = kpi(options);
		boxes[name].replaceWith(fresh);
		boxes[name] = fresh;
	};
	const fair = fairRanges(range);
	const said = fair ? compared(fair) : t("overview.comparedHours");

	function take(data, previous) {
		const rows = data.objects;
		const by = buckets({ ...range, grain: range.grain }, merge(rows, ["period"]).map((r) => ({ ...r })), "period", { missing: 0 });
		const now = { requests: total(rows, "requests"), approved: total(rows, "approved"), declined: total(rows, "declined") };
		const a = fairSums(rows, range), b = previous && fairSums(previous.objects, range, range.days);
		const delta = (value, before, options) => {
			const d = fmt.delta(value, before, options);
			return d && { ...d, title: said };
		};
		const rate = (s) => s.requests > 0 ? s.approved / s.requests : null;
		set("requests", { label: requestsName(t), value: fmt.count(now.requests), delta: b && delta(a.requests, b.requests), href: to(ctx, "/transactions"), figure: sparkline(by.of("requests"), { label: requestsName(t), width: 96, height: 26 }) });
		set("approval", { label: t("overview.approval"), value: fmt.percent(rate(now)), delta: b && delta(rate(a), rate(b), { points: true }), hint: t("overview.approvedOf", { n: fmt.count(now.approved) }) });
		set("declined", { label: t("overview.declined"), value: fmt.count(now.declined), delta: b && delta(a.declined, b.declined, { better: "down" }), href: to(ctx, "/declines"), figure: sparkline(by.of("declined"), { label: t("overview.declined"), tone: "bad", width: 96, height: 26 }) });
	}

	// fail says in a few words why numbers are missing; the chart below says more, and tries again.
	function fail(err, names) {
		for (const name of names) set(name, { label: t(labels[name]), value: "–", hint: explain(err).title });
	}

	async function billed() {
		try {
			const ask = (r) => r ? ctx.figure("billed-totals", { from: r.from, to: r.to }) : null;
			const [all, a, b] = await Promise.all([ask(range), fair && (fair.now.to === range.to ? null : ask(fair.now)), ask(fair?.before)]);
			const first = (answer) => answer?.objects?.[0] ?? null;
			const now = first(all), fairNow = fair ? first(a ?? all) : null, before = first(b);
			const delta = (field, options) => {
				const d = fairNow && before && fmt.delta(fairNow[field], before[field], options);
				return d ? { ...d, title: said } : null;
			};
			const currency = now?.billing_currency ?? ctx.record?.currency;
			const given = !now || now.billed_amount !== null;
			set("billed", { label: t("overview.approvedAmount"), value: now ? moneyValue(now.billed_amount, currency) : "–", delta: delta("billed_amount"), hint: given ? t("overview.billedIn", { currency: fmt.currency(currency) }) : t("overview.notGiven") });
			set("ticket", { label: t("overview.ticket"), value: now ? fmt.money(now.average_amount, currency) : "–", delta: delta("average_amount", { better: "none" }), hint: t("overview.ticketHint") });
			set("foreign", { label: t("overview.foreign"), value: fmt.percent(now?.foreign_share), delta: delta("foreign_share", { points: true, better: "none" }), hint: now ? t("overview.foreignHint", { amount: fmt.money(now.foreign_amount, currency, { compact: true }) }) : "" });
		} catch (err) {
			if (err.kind === "aborted") return;
			fail(err, ["billed", "ticket", "foreign"]);
		}
	}
	billed();
	// The chart of the volume gives what it is answered to take; what went wrong is said here too.
	ctx.figure("volume", { grain: range.grain }).catch((err) => {
		if (err.kind !== "aborted") fail(err, ["requests", "approval", "declined"]);
	});
	return { node, take };
}

// fairSums adds up what can be compared: of a period that is not over, the hours or days that
// are, and as many of the period before.
function fairSums(rows, range, back = 0) {
	const grain = range.grain === "hour" ? 3600e3 : 86400e3;
	const cut = range.includesToday ? Math.floor(Date.now() / grain) * grain - back * 86400e3 : Infinity;
	const whole = rows.filter((r) => Date.parse(r.period) < cut);
	return { requests: total(whole, "requests"), approved: total(whole, "approved"), declined: total(whole, "declined") };
}

function volume(ctx, take) {
	const { t, range } = ctx;
	let before = null;
	const shown = figure({
		name: "volume", title: t("overview.volume"), subtitle: t(range.grain === "hour" ? "overview.perHour" : "overview.perDay"),
		params: { grain: range.grain }, compare: true, height: 280, empty: noData(ctx),
		chart: (data, previous) => {
			const by = buckets(range, merge(data.objects, ["period"]), "period", { missing: 0 });
			const was = previous && buckets({ ...range.previous, grain: range.grain }, merge(previous.objects, ["period"]), "period", { missing: 0 });
			return {
				type: "bars", stacked: true, x: { values: by.at, kind: range.grain }, y: {},
				series: [
					{ name: t("overview.approved"), values: by.of("approved"), tone: "accent" },
					{ name: t("overview.declined"), values: by.of("declined"), tone: "bad" },
					...(was ? [{ name: t("app.previous"), type: "line", values: was.of("requests").slice(0, by.at.length), at: was.at, tone: "previous", dashed: true }] : []),
				],
			};
		},
		onData: async (data, previous) => {
			take(data, previous ?? before);
			if (previous || before) return;
			try {
				before = await ctx.figure("volume", { grain: range.grain, ...range.before });
				take(data, before);
			} catch {
				// Without the period before there are no changes to show.
			}
		},
	}, ctx);
	return shown;
}

function reasons(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "decline-reasons", title: t("overview.reasons"), params: { limit: 8 }, height: 280,
		actions: [link(ctx.href("/declines"), t("overview.allDeclines"), { class: "small-link" })],
		empty: { icon: "check", title: t("overview.noDeclines"), text: t("overview.noDeclinesText") },
		table: (data) => {
			const most = Math.max(...data.objects.map((r) => number(r.share)), 0);
			return {
				dense: true, columns: [
					{ key: "decline_reason", label: t("overview.reason"), format: (_, row) => h("span", { class: "two-lines" }, h("span", null, reasonText(row)), h("span", { class: "faint" }, t.term("class", row.class))), href: (row) => to(ctx, `/transactions?approved=false&code=${encodeURIComponent(row.response_code)}`) },
					{ key: "declined", label: t("overview.declined"), width: "46%", format: (v, row) => h("span", { class: "stacked" }, h("span", { class: "num" }, h("span", null, fmt.count(v)), h("span", { class: "faint" }, fmt.percent(row.share))), bar(most > 0 ? number(row.share) / most : 0, { tone: "bad" })) },
				],
			};
		},
	}, ctx);
}

function approval(ctx) {
	const { t, range } = ctx;
	return figure({
		name: "volume", title: t("overview.approvalOverTime"), subtitle: t("overview.approvalText"), params: { grain: range.grain }, compare: true, height: 250, empty: noData(ctx),
		chart: (data, previous) => {
			const by = buckets(range, merge(data.objects, ["period"]), "period");
			const was = previous && buckets({ ...range.previous, grain: range.grain }, merge(previous.objects, ["period"]), "period");
			const values = by.of("approval_rate");
			const all = [...values, ...(was ? was.of("approval_rate") : [])].filter((v) => v !== null);
			const low = Math.max(0, Math.floor((Math.min(...all, 1) - 0.03) * 20) / 20);
			return {
				type: "line", x: { values: by.at, kind: range.grain }, y: { percent: true, min: low, max: 1 },
				series: [
					{ name: t("overview.approval"), values, tone: "accent" },
					...(was ? [{ name: t("app.previous"), values: was.of("approval_rate").slice(0, by.at.length), at: was.at, tone: "previous", dashed: true }] : []),
				],
			};
		},
	}, ctx);
}

function parts(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "approval-parts", title: t("overview.outcomes"), subtitle: t("overview.outcomesText"), empty: noData(ctx),
		table: (data) => {
			const tones = { approved: "good", cardholder: "warn", issuer: "neutral", fraud: "bad", technical: "neutral", other: "neutral" };
			return {
				dense: true, columns: [
					{ key: "outcome", label: t("overview.outcome"), format: (v) => badge(t.term("class", v), tones[v] ?? "neutral") },
					{ key: "requests", label: requestsName(t), align: "end", format: (v) => fmt.count(v) },
					{ key: "share", label: t("overview.share"), align: "end", format: (v) => fmt.percent(v, v < 0.01 ? 2 : 1) },
				],
			};
		},
	}, ctx);
}

function heat(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "by-hour-and-weekday", title: t("overview.heat"), subtitle: t("overview.heatText"), params: { clock: "terminal" }, height: 300, empty: noData(ctx),
		chart: (data) => {
			const grid = Array.from({ length: 7 }, () => Array(24).fill(null));
			for (const row of data.objects) if (row.weekday >= 1 && row.weekday <= 7) grid[row.weekday - 1][row.hour] = number(row.requests);
			return {
				type: "heatmap", label: requestsName(t),
				x: { values: Array.from({ length: 24 }, (_, i) => i), kind: "hour-of-day" },
				y: { values: Array.from({ length: 7 }, (_, i) => fmt.weekday(`2024-01-0${i + 1}`)), kind: "text" },
				values: grid, format: (v) => fmt.count(v),
			};
		},
	}, ctx);
}

function madeOf(ctx) {
	const { t, fmt } = ctx;
	const one = (name, field, write, query) => () => ranking({
		name, field, title: t(`overview.by.${field}`), label: t(`overview.label.${field}`), write,
		href: query && ((row) => `/transactions?${query}=${encodeURIComponent(row[field])}`),
	}, ctx);
	return [
		one("by-country", "merchant_country", (v) => v ? h("span", null, fmt.country(v), h("span", { class: "code-hint" }, v)) : null, "country"),
		one("by-channel", "channel", (v) => t.term("channel", v), "channel"),
		one("by-entry-mode", "entry_mode", (v) => t.term("entry", v), "entry_mode"),
		one("by-mcc", "mcc", (v) => fmt.mcc(v), "mcc"),
		one("by-bin", "bin", (v) => v ? h("span", { class: "mono" }, v) : null),
		one("by-network", "network", (v) => t.term("network", v), "network"),
	];
}

// strip shows what happens now: from the live stream, redrawn each second.
function strip(ctx) {
	const { t, fmt, live, signal } = ctx;
	const window = 300; // seconds that the strip is about
	const grouped = 5; // seconds that are one point of its line
	const state = h("span", { class: "live-state" });
	const speed = h("span", { class: "live-value" }), ok = h("span", { class: "live-value" }), money = h("span", { class: "live-value" });
	const line = h("div", { class: "live-line" }), why = h("ul", { class: "live-why" });
	const box = (label, value, extra) => h("div", { class: "live-box" }, h("span", { class: "live-label" }, label), value, extra);
	const body = h("div", { class: "live" },
		h("div", { class: "live-box live-first" }, h("span", { class: "live-label" }, state), h("span", { class: "live-number" }, speed, h("span", { class: "live-unit" }, t("overview.live.perSecond"))), h("span", { class: "live-hint" }, t("overview.live.window"))),
		line,
		box(t("overview.approval"), ok, h("span", { class: "live-hint" }, t("overview.live.minutes"))),
		box(t("overview.live.money"), money, h("span", { class: "live-hint" }, t("overview.live.minutes"))),
		h("div", { class: "live-box live-reasons" }, h("span", { class: "live-label" }, t("overview.live.declines")), why));
	const node = card({ class: "live-card" }, body);
	node.setAttribute("role", "region");
	node.setAttribute("aria-label", t("overview.live.title"));

	function draw() {
		const dot = h("span", { class: ["live-dot", `live-${live.status}`] });
		put(state, dot, t(`overview.live.${["live", "delayed", "paused", "lost", "ended", "connecting"].includes(live.status) ? live.status : "off"}`));
		node.classList.toggle("live-quiet", !["live", "paused", "lost"].includes(live.status));
		const seen = live.window(window), minute = live.window(60);
		const has = live.seconds.length > 0;
		speed.textContent = has ? fmt.number(minute.requests / 60, minute.requests < 600 ? 1 : 0) : "–";
		ok.textContent = has && seen.requests > 0 && seen.approved !== null ? fmt.percent(seen.approved / seen.requests) : "–";
		const per = seen.perSecond ?? [];
		const points = [];
		for (let i = 0; i + grouped <= per.length; i += grouped) points.push(per.slice(i, i + grouped).reduce((a, b) => a + (b ?? 0), 0) / grouped);
		put(line, has ? sparkline(points, { label: t("overview.live.line"), width: 360, height: 56, format: (v) => fmt.number(v, 1) }) : h("span", { class: "faint" }, t(live.status === "delayed" ? "overview.live.delayedText" : "overview.live.wait")));
		const from = Date.now() - window * 1000;
		const amounts = new Map(), declined = new Map();
		for (const s of live.seconds) {
			if (Date.parse(s.at) < from) continue;
			for (const [currency, amount] of Object.entries(s.amounts ?? {})) amounts.set(currency, (amounts.get(currency) ?? 0) + Number(amount));
			for (const [reason, n] of Object.entries(s.reasons ?? {})) if (reason) declined.set(reason, (declined.get(reason) ?? 0) + n);
		}
		const own = amounts.has(ctx.record?.currency) ? ctx.record.currency : [...amounts.keys()][0];
		money.textContent = own ? fmt.money(amounts.get(own), own, { digits: 0 }) : "–";
		const top = [...declined].filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]).slice(0, 3);
		put(why, top.length === 0 ? h("li", { class: "faint" }, has ? t("overview.live.noDeclines") : "–") : top.map(([reason, n]) => h("li", null, h("span", { class: "clip" }, t.term("reason", reason)), h("strong", { class: "num" }, fmt.count(n)))));
	}
	live.subscribe(draw, { signal });
	draw();
	return node;
}
