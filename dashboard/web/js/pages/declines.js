// What was declined, why, where, and what came of it.

import { buckets } from "../chart.js";
import { figure } from "../figure.js";
import { clip, compared, fairRanges, later, noData, number, rate, reasonText, to, total } from "../parts.js";
import { badge, explain, grid, h, kpi, page, put, section, skeleton } from "../ui.js";

const classes = ["cardholder", "issuer", "fraud", "technical", "other"];
const tones = { cardholder: "accent", issuer: 5, fraud: "bad", technical: 4, other: "muted" };

export default {
	name: "declines", title: "declines.title",
	render(ctx) {
		const { t, fmt, range, signal } = ctx;
		const kpis = numbers(ctx);
		const one = (make, height = 340) => later(make, { height, signal });
		return page({ title: t("declines.title"), subtitle: t("overview.subtitle", { tenant: ctx.tenant, range: fmt.range(range.from, range.to) }) },
			kpis.node,
			grid({ columns: "2-1" }, overTime(ctx, kpis.take), recovery(ctx)),
			reasons(ctx),
			one(() => heat(ctx), 320),
			section({ title: t("declines.where"), subtitle: t("declines.whereText") },
				grid({ columns: 2 },
					one(() => by(ctx, "declines-by-merchant", "merchant_id", (v, row) => h("span", { class: "two-lines" }, clip(row.merchant_name || v)), (row) => `/merchants?merchant=${encodeURIComponent(row.merchant_id)}`)),
					one(() => by(ctx, "declines-by-bin", "bin", (v) => v && h("span", { class: "mono" }, v))),
					one(() => by(ctx, "declines-by-country", "merchant_country", (v) => fmt.country(v), (row) => `/transactions?approved=false&country=${encodeURIComponent(row.merchant_country)}`)),
					one(() => by(ctx, "declines-by-mcc", "mcc", (v) => fmt.mcc(v), (row) => `/transactions?approved=false&mcc=${encodeURIComponent(row.mcc)}`)),
					one(() => by(ctx, "declines-by-channel", "channel", (v) => t.term("channel", v), (row) => `/transactions?approved=false&channel=${encodeURIComponent(row.channel)}`)),
					one(() => by(ctx, "declines-by-entry-mode", "entry_mode", (v) => t.term("entry", v), (row) => `/transactions?approved=false&entry_mode=${encodeURIComponent(row.entry_mode)}`)))),
			one(() => cards(ctx)));
	},
};

function numbers(ctx) {
	const { t, fmt, range } = ctx;
	const node = h("div", { class: "grid grid-kpi" });
	const names = ["declined", "rate", ...classes.slice(0, 4)];
	const label = (n) => n === "declined" ? t("declines.declined") : n === "rate" ? t("declines.rate") : t.term("class", n);
	const boxes = Object.fromEntries(names.map((n) => [n, kpi({ label: label(n), value: skeleton("kpi") })]));
	node.append(...Object.values(boxes));
	const fair = fairRanges(range);

	function sums(rows, cut = Infinity) {
		const whole = rows.filter((r) => Date.parse(r.period) < cut);
		const requests = new Map(whole.map((r) => [r.period, number(r.requests)]));
		const out = { declined: total(whole, "declined"), requests: [...requests.values()].reduce((a, b) => a + b, 0) };
		for (const c of classes) out[c] = total(whole.filter((r) => r.class === c), "declined");
		out.rate = out.requests > 0 ? out.declined / out.requests : null;
		return out;
	}

	function take(data, previous) {
		const grain = range.grain === "hour" ? 3600e3 : 86400e3;
		const cut = range.includesToday ? Math.floor(Date.now() / grain) * grain : Infinity;
		const now = sums(data.objects), a = sums(data.objects, cut), b = previous && sums(previous.objects, cut - range.days * 86400e3);
		for (const n of names) {
			const points = n === "rate";
			const d = b && fmt.delta(a[n], b[n], { better: "down", points });
			const fresh = kpi({
				label: label(n), value: points ? fmt.percent(now.rate) : fmt.count(now[n]), delta: d && { ...d, title: fair ? compared(fair) : t("overview.comparedHours") },
				hint: n === "declined" ? t("declines.ofRequests", { n: fmt.count(now.requests) }) : points ? t("declines.rateText") : now.declined > 0 ? t("declines.shareOf", { share: fmt.percent(now[n] / now.declined) }) : "",
			});
			boxes[n] = fresh;
		}
		put(node, Object.values(boxes));
	}
	// The chart gives what it is answered to take; what went wrong is said here too.
	ctx.figure("declines-over-time", { grain: range.grain }).catch((err) => {
		if (err.kind !== "aborted") put(node, names.map((n) => kpi({ label: label(n), value: "–", hint: explain(err).title })));
	});
	return { node, take };
}

function overTime(ctx, take) {
	const { t, range } = ctx;
	let before = null;
	return figure({
		name: "declines-over-time", title: t("declines.overTime"), subtitle: t("declines.overTimeText"), params: { grain: range.grain }, compare: true, height: 290, empty: noData(ctx),
		chart: (data, previous) => {
			const present = classes.filter((c) => data.objects.some((r) => r.class === c && r.declined > 0));
			const of = (rows, r) => buckets({ ...r, grain: range.grain }, rows, "period", { missing: 0 });
			const sum = (rows) => {
				const by = new Map();
				for (const r of rows) by.set(r.period, { period: r.period, declined: (by.get(r.period)?.declined ?? 0) + number(r.declined) });
				return [...by.values()];
			};
			const base = of([], range);
			const was = previous && of(sum(previous.objects), range.previous);
			return {
				type: "bars", stacked: true, x: { values: base.at, kind: range.grain }, y: {},
				series: [
					...present.map((c) => ({ name: t.term("class", c), tone: tones[c], values: of(data.objects.filter((r) => r.class === c), range).of("declined") })),
					...(was ? [{ name: t("app.previous"), type: "line", tone: "previous", dashed: true, values: was.of("declined").slice(0, base.at.length), at: was.at }] : []),
				],
			};
		},
		onData: async (data, previous) => {
			take(data, previous ?? before);
			if (previous || before) return;
			try {
				before = await ctx.figure("declines-over-time", { grain: range.grain, ...range.before });
				take(data, before);
			} catch {
				// Without the period before there are no changes to show.
			}
		},
	}, ctx);
}

function recovery(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "decline-recovery", title: t("declines.recovery"), subtitle: t("declines.recoveryText"), empty: noData(ctx, "card_token"),
		table: () => ({
			dense: true, columns: [
				{ key: "class", label: t("declines.class"), format: (v) => t.term("class", v) },
				{ key: "attempts", label: t("declines.attempts"), align: "end", format: (v) => fmt.count(v) },
				{ key: "recovery_rate", label: t("declines.recovered"), format: (v) => rate(v, { tone: "good" }) },
			],
		}),
	}, ctx);
}

function reasons(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "decline-reasons", title: t("overview.reasons"), params: { limit: 20 }, empty: noData(ctx),
		table: () => [
			{ key: "decline_reason", label: t("overview.reason"), format: (_, row) => reasonText(row), href: (row) => to(ctx, `/transactions?approved=false&code=${encodeURIComponent(row.response_code)}`) },
			{ key: "response_code", label: t("declines.codeLabel"), format: (v) => h("span", { class: "mono" }, v) },
			{ key: "class", label: t("declines.class"), format: (v) => badge(t.term("class", v), { cardholder: "accent", fraud: "bad", issuer: "warn" }[v] ?? "neutral") },
			{ key: "declined", label: t("declines.declined"), align: "end", format: (v) => fmt.count(v) },
			{ key: "cards", label: t("declines.cards"), align: "end", format: (v) => fmt.count(v) },
			{ key: "share", label: t("overview.share"), width: "26%", format: (v) => rate(v, { tone: "bad" }) },
		],
	}, ctx);
}

function heat(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "declines-by-hour-and-reason", title: t("declines.heat"), subtitle: t("declines.heatText"), params: { clock: "terminal" }, empty: noData(ctx),
		chart: (data) => {
			const names = new Map();
			for (const row of data.objects) {
				const key = reasonText(row) ?? row.response_code;
				if (!names.has(key)) names.set(key, Array(24).fill(null));
				const hours = names.get(key);
				hours[row.hour] = (hours[row.hour] ?? 0) + number(row.declined);
			}
			const rows = [...names].sort((a, b) => b[1].reduce((x, y) => x + (y ?? 0), 0) - a[1].reduce((x, y) => x + (y ?? 0), 0)).slice(0, 10);
			return {
				type: "heatmap", label: t("declines.declined"), x: { values: Array.from({ length: 24 }, (_, i) => i), kind: "hour-of-day" },
				y: { values: rows.map(([n]) => n), kind: "text" }, values: rows.map(([, v]) => v), format: (v) => fmt.count(v),
			};
		},
	}, ctx);
}

function by(ctx, name, field, write, href) {
	const { t, fmt } = ctx;
	return figure({
		name, title: t(`declines.by.${field}`), params: { limit: 8 }, empty: noData(ctx),
		table: () => ({
			dense: true, columns: [
				{ key: field, label: t(`declines.label.${field}`), format: write, href: href && ((row) => row[field] ? to(ctx, href(row)) : null) },
				{ key: "declined", label: t("declines.declined"), align: "end", format: (v) => fmt.count(v) },
				{ key: "decline_rate", label: t("declines.rate"), width: "36%", format: (v) => rate(v, { tone: "bad" }) },
			],
		}),
	}, ctx);
}

function cards(ctx) {
	const { t, fmt } = ctx;
	return figure({
		name: "declined-cards", title: t("declines.topCards"), subtitle: t("declines.topCardsText"), params: { limit: 10 }, empty: noData(ctx, "card_token"),
		isEmpty: (data) => data.rows.length === 0 || data.objects.every((r) => !r.card_token),
		table: () => ({
			columns: [
				{ key: "last4", label: t("transactions.card"), format: (v, row) => h("span", { class: "two-lines" }, h("span", { class: "card-number" }, v ? fmt.card(v) : fmt.token(row.card_token)), h("span", { class: "faint mono" }, row.bin)) },
				{ key: "declined", label: t("declines.declined"), align: "end", format: (v) => fmt.count(v) },
				{ key: "approved", label: t("overview.approved"), align: "end", format: (v) => fmt.count(v) },
				{ key: "merchants", label: t("merchants.title"), align: "end", format: (v) => fmt.count(v) },
				{ key: "first_declined_at", label: t("declines.first"), align: "end", format: (v) => fmt.instant(v) },
				{ key: "last_declined_at", label: t("declines.last"), align: "end", format: (v) => fmt.instant(v) },
			],
			rowLabel: (row) => t("cards.open", { card: row.last4 ? fmt.card(row.last4) : fmt.token(row.card_token) }),
			onRow: (row) => { ctx.memory.set("card", row.card_token); ctx.go("/cards"); },
		}),
	}, ctx);
}
