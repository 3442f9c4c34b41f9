// What the pages of transactions have in common.

import { figure } from "./figure.js";
import { fmt } from "./format.js";
import { t } from "./i18n.js";
import { bar, button, h, put, skeleton } from "./ui.js";

// later makes something when it comes near the window, so that a page's first screen waits for
// nothing below it. For printing, everything is made.
export function later(make, { height = 320, signal } = {}) {
	const place = h("div", { class: "later", style: { minHeight: `${height}px` } }, h("div", { class: "card" }, h("div", { class: "card-body" }, skeleton("chart"))));
	const show = () => {
		watcher.disconnect();
		window.removeEventListener("beforeprint", show);
		if (signal?.aborted) return;
		place.style.minHeight = "";
		put(place, make());
	};
	const watcher = new IntersectionObserver((seen) => seen.some((s) => s.isIntersecting) && show(), { rootMargin: "40px" });
	watcher.observe(place);
	window.addEventListener("beforeprint", show);
	signal?.addEventListener("abort", () => {
		watcher.disconnect();
		window.removeEventListener("beforeprint", show);
	});
	return place;
}

// given reports whether the caller is given a column of the transactions, as it is or masked.
export function given(ctx, column) {
	const grants = (ctx.me.grants ?? []).filter((g) => g.table === "cards.transactions" && g.action === "query");
	return grants.length === 0 || grants.some((g) => (g.scopes ?? []).some((s) => s.clear?.includes(column) || s.masked?.includes(column)));
}

// to is the address of a page that the caller may see, else null: then there is no link.
export function to(ctx, path) {
	return ctx.may(path.slice(1).split("?")[0]) ? ctx.href(path) : null;
}

// noData is the state of a figure without rows: why, and what to do. columns are those that it
// can't be without.
export function noData(ctx, ...columns) {
	if (columns.some((c) => !given(ctx, c))) return { icon: "lock", title: t("app.notGiven.title"), text: t("app.notGiven.text") };
	const wider = ctx.range.days < 30;
	return {
		icon: "calendar", title: t("app.noData.title"), text: t("app.noData.text"),
		action: wider && button(t("app.noData.widen"), { small: true, onClick: () => ctx.go(`/${ctx.page}?range=30d`) }),
	};
}

export const number = (v) => v === null || v === undefined ? 0 : Number(v);

export const total = (rows, field) => rows.reduce((sum, row) => sum + number(row[field]), 0);

// mainCurrency is the tenant's, else the one with the most requests in the rows.
export function mainCurrency(ctx, rows = []) {
	const counts = new Map();
	for (const row of rows) counts.set(row.currency, (counts.get(row.currency) ?? 0) + number(row.requests ?? row.approved));
	if (rows.length === 0 || counts.has(ctx.record?.currency)) return ctx.record?.currency ?? "";
	return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "";
}

// merge adds up rows that differ by currency only. Counts are added, rates are made of them anew;
// money stays within its currency: moneys lists it, the largest count first.
export function merge(rows, keys) {
	const by = new Map();
	for (const row of rows) {
		const key = JSON.stringify(keys.map((k) => row[k]));
		let one = by.get(key);
		if (!one) by.set(key, (one = { ...Object.fromEntries(keys.map((k) => [k, row[k]])), requests: 0, approved: 0, declined: 0, share: 0, moneys: [] }));
		one.requests += number(row.requests);
		one.approved += number(row.approved);
		one.declined += number(row.declined);
		one.share += number(row.share);
		if (row.approved_amount !== null && row.approved_amount !== undefined) one.moneys.push({ currency: row.currency, amount: row.approved_amount, approved: number(row.approved) });
	}
	for (const one of by.values()) {
		one.approval_rate = one.requests > 0 ? one.approved / one.requests : null;
		one.moneys.sort((a, b) => b.approved - a.approved);
	}
	return [...by.values()].sort((a, b) => b.requests - a.requests);
}

// moneyOf shows the money of a merged row: that of one currency, and how many others there are.
export function moneyOf(moneys, currency) {
	if (moneys.length === 0) return null;
	const own = moneys.find((m) => m.currency === currency) ?? moneys[0];
	const others = moneys.filter((m) => m !== own);
	const said = others.map((m) => fmt.money(m.amount, m.currency)).join(", ");
	return h("span", { title: others.length ? said : null }, fmt.money(own.amount, own.currency, { digits: 0 }),
		others.length > 0 && h("span", { class: "more-currencies" }, `+${others.length}`, h("span", { class: "sr-only" }, ` ${said}`)));
}

// moneyValue is money as a headline: as much of it as there is room for.
export function moneyValue(amount, currency) {
	const exact = fmt.money(amount, currency), whole = fmt.money(amount, currency, { digits: 0 });
	if (exact.length <= 9) return exact;
	return h("span", { title: exact }, whole.length <= 11 ? whole : fmt.money(amount, currency, { compact: true, digits: 2 }));
}

// rate shows a share of requests, with a bar whose length is the share.
export function rate(value, { tone } = {}) {
	if (value === null || value === undefined) return null;
	return h("span", { class: "rate" }, h("span", { class: "num" }, fmt.percent(value)), bar(value, { tone: tone ?? "accent" }));
}

// shareCell shows a count with its share of all as a bar below the largest.
export function shareCell(value, largest, text) {
	return h("span", { class: "rate" }, h("span", { class: "num" }, text), bar(largest > 0 ? number(value) / largest : 0, { tone: "accent" }));
}

// ranking is a table of what the requests are made of: requests, approval rate and money by
// country, channel and the like.
export function ranking({ name, field, title, subtitle, label, limit = 8, href, params, write }, ctx) {
	return figure({
		name, title, subtitle, params: { limit: 60, ...params }, empty: noData(ctx),
		table: (data) => {
			const rows = merge(data.objects, [field]).slice(0, limit);
			const currency = mainCurrency(ctx, data.objects);
			const most = Math.max(...rows.map((r) => r.share), 0);
			return {
				rows, more: false, onMore: undefined, dense: true,
				columns: [
					{ key: field, label, format: (v) => write(v), href: href && ((row) => row[field] ? to(ctx, href(row)) : null) },
					{ key: "share", label: t("overview.share"), format: (v) => shareCell(v, most, fmt.percent(v)), width: "34%" },
					{ key: "approval_rate", label: t("overview.approval"), align: "end", format: (v) => fmt.percent(v) },
					{ key: "moneys", label: t("overview.approvedAmount"), align: "end", format: (v) => moneyOf(v, currency), class: "roomy" },
				],
			};
		},
	}, ctx);
}

// badgeTone is the tone of an event's outcome.
export const outcomeTone = (row) => !row.approved ? "bad" : row.event_type === "authorization" || row.event_type === "clearing" ? "good" : row.event_type === "chargeback" ? "warn" : "info";

// reasonText says why something was declined: our word for it, else what the code means.
export function reasonText(row) {
	if (row.decline_reason && t.has(`terms.reason.${row.decline_reason}`)) return t.term("reason", row.decline_reason);
	if (row.response_code && t.has(`terms.code.${row.response_code}`)) return t.term("code", row.response_code);
	return row.decline_reason || row.meaning || (row.response_code ? t("declines.code", { code: row.response_code }) : null);
}

// dayBefore is the last day of a range whose end is excluded.
export const lastDay = (to) => new Date(Date.parse(`${to}T00:00:00Z`) - 86400e3).toISOString().slice(0, 10);

// moved is an ISO day some days later.
export const moved = (day, days) => new Date(Date.parse(`${day}T00:00:00Z`) + days * 86400e3).toISOString().slice(0, 10);

// fairRanges are what a range and the one before it are compared by: whole days only. A day that
// is not over would always look like a fall. null if there is none.
export function fairRanges(range) {
	if (!range.includesToday) return { now: { from: range.from, to: range.to }, before: range.before };
	const today = new Date().toISOString().slice(0, 10);
	if (range.from >= today) return null;
	return { now: { from: range.from, to: today }, before: { from: moved(range.from, -range.days), to: moved(today, -range.days) } };
}

// compared says with what a change was found.
export function compared(fair) {
	return t("overview.compared", { now: fmt.range(fair.now.from, fair.now.to), before: fmt.range(fair.before.from, fair.before.to) });
}

// clip is text of one line, whole in its title.
export const clip = (text) => text ? h("span", { class: "clip", title: text }, text) : null;
