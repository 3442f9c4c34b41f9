// One purchase, from the request to whatever became of it, in a panel at the side.

import { fmt } from "./format.js";
import { more, t } from "./i18n.js";
import { moved, outcomeTone, reasonText } from "./parts.js";
import { badge, button, copyButton, drawer, facts, failure, h, icon, link, put, section, skeleton } from "./ui.js";

const shapes = { authorization: "check", reversal: "history", clearing: "bank", refund: "arrow-left", chargeback: "warning" };
const statusTones = { authorized: "good", cleared: "good", declined: "bad", charged_back: "warn", reversed: "info", partially_reversed: "info", refunded: "info", partially_refunded: "info" };

// openPurchase shows the purchase that an event is of; closed is called when the panel is.
export function openPurchase(ctx, id, { near, closed } = {}) {
	const stop = new AbortController();
	const body = h("div", null, skeleton("list"));
	const panel = drawer({ title: t("transactions.purchase"), subtitle: id, body, onClose: () => { stop.abort(); closed?.(); } });
	panel.open();
	ctx.signal.addEventListener("abort", () => panel.close());

	async function load() {
		put(body, skeleton("list"));
		// Months of files are passed over where the day is known: a purchase's later events come
		// within weeks.
		const around = near ? { from: moved(near.slice(0, 10), -30), to: moved(near.slice(0, 10), 121) } : { from: undefined, to: undefined };
		const ask = (name, params) => ctx.figure(name, { purchase: id, from: undefined, to: undefined, ...params }, { signal: stop.signal });
		try {
			const [events, summary, alerts] = await Promise.all([
				ask("purchase", around), ask("purchase-summary").catch(() => null), ask("purchase-alerts").catch(() => null),
			]);
			if (events.rows.length === 0) {
				put(body, h("p", { class: "empty-text" }, t("transactions.gone")));
				return;
			}
			const found = alerts?.objects ?? [];
			if (found.length > 0) {
				// The words of alerts are not among the first.
				const [{ reasons }] = await Promise.all([import("./phrases.js"), more()]);
				for (const one of found) one.said = reasons(one.reasons)[0] ?? "";
			}
			put(body, content(ctx, events.objects, summary?.objects[0] ?? null, found, () => panel.close()));
		} catch (err) {
			if (err.kind !== "aborted") put(body, failure(err, { retry: load }));
		}
	}
	load();
	return panel;
}

function content(ctx, events, summary, alerts, close) {
	const first = events[0];
	const away = (path, text) => h("a", { href: ctx.href(path), on: { click: close } }, text);
	const purchase = summary?.status ?? (events.some((e) => e.approved) ? "authorized" : "declined");
	return [
		h("div", { class: "purchase-head" },
			h("div", null, h("div", { class: "purchase-amount" }, fmt.money(first.amount, first.currency)),
				first.billing_currency && first.billing_currency !== first.currency && h("div", { class: "faint" }, t("transactions.billed", { amount: fmt.money(first.billing_amount, first.billing_currency) }))),
			badge(t.term("status", purchase), statusTones[purchase] ?? "neutral")),
		alerts.map((a) => h("a", { class: "note note-warn purchase-alert", href: ctx.href(`/anomalies?alert=${encodeURIComponent(a.alert_id)}`), on: { click: close } },
			icon("warning"), h("div", null, h("strong", null, t.term("pattern", a.pattern)), " · ", t.term("severity", a.severity), h("br"), a.said))),
		section(t("transactions.life"), h("ol", { class: "timeline" }, events.map((e) => moment(e, first)))),
		summary && summary.event_count > 1 && section(t("transactions.money"), facts([
			[t("transactions.authorized"), fmt.money(summary.authorized_amount, summary.currency)],
			Number(summary.reversed_amount) > 0 && [t("transactions.reversed"), `− ${fmt.money(summary.reversed_amount, summary.currency)}`],
			Number(summary.cleared_amount) > 0 && [t("transactions.cleared"), fmt.money(summary.cleared_amount, summary.currency)],
			Number(summary.refunded_amount) > 0 && [t("transactions.refunded"), `− ${fmt.money(summary.refunded_amount, summary.currency)}`],
			Number(summary.charged_back_amount) > 0 && [t("transactions.chargedBack"), `− ${fmt.money(summary.charged_back_amount, summary.currency)}`],
			[t("transactions.net"), h("strong", null, fmt.money(summary.net_amount, summary.currency))],
		])),
		section(t("transactions.where"), facts([
			[t("transactions.merchant"), away(`/merchants?merchant=${encodeURIComponent(first.merchant_id)}`, first.merchant_name || first.merchant_id)],
			[t("transactions.category"), fmt.mcc(first.mcc)],
			[t("transactions.place"), [first.merchant_city, fmt.country(first.merchant_country)].filter(Boolean).join(", ")],
			[t("transactions.terminal"), first.terminal_id && h("span", { class: "mono" }, first.terminal_id)],
			[t("transactions.acquirer"), first.acquirer_id && h("span", { class: "mono" }, first.acquirer_id)],
		])),
		section(t("transactions.card"), facts([
			[t("transactions.card"), first.last4 ? h("span", { class: "card-number" }, fmt.card(first.last4), " ", h("span", { class: "faint" }, [t.term("network", first.network), t.term("product", first.product)].join(" · "))) : [t.term("network", first.network), t.term("product", first.product)].join(" · ")],
			first.bin && [t("transactions.bin"), h("span", { class: "mono" }, first.bin)],
			first.card_token && [t("transactions.token"), h("span", { class: "with-copy" }, button(fmt.token(first.card_token), { kind: "quiet", small: true, class: "mono", title: t("transactions.openCard"), onClick: () => { close(); ctx.memory.set("card", first.card_token); ctx.go("/cards"); } }), copyButton(first.card_token))],
			first.customer_id && [t("transactions.customer"), h("span", { class: "mono" }, first.customer_id)],
		])),
		section(t("transactions.how"), facts([
			[t("transactions.channel"), t.term("channel", first.channel)],
			[t("transactions.entry"), t.term("entry", first.entry_mode)],
			[t("transactions.present"), first.card_present === null ? null : t(first.card_present ? "app.yes" : "app.no")],
			first.wallet && [t("transactions.wallet"), first.wallet],
			first.eci && [t("transactions.eci"), first.eci],
			first.cvv_result && [t("transactions.cvv"), first.cvv_result],
			first.avs_result && [t("transactions.avs"), first.avs_result],
			first.pin_verified !== null && first.pin_verified !== undefined && [t("transactions.pin"), t(first.pin_verified ? "transactions.pinRight" : "transactions.pinWrong")],
			[t("transactions.latency"), fmt.duration(first.latency_us / 1e6)],
		])),
	];
}

// moment is one event in the life of a purchase.
function moment(e, first) {
	const tone = outcomeTone(e);
	const day = fmt.day(e.event_time) !== fmt.day(first.event_time);
	return h("li", { class: ["moment", `moment-${tone}`] },
		h("span", { class: "moment-mark" }, icon(e.approved ? shapes[e.event_type] ?? "check" : "close", { size: 14 })),
		h("div", { class: "moment-body" },
			h("div", { class: "moment-head" }, h("strong", null, t.term("type", e.event_type)), badge(t(e.approved ? "transactions.approved" : "transactions.declined"), e.approved ? tone : "bad"),
				h("span", { class: "moment-money num" }, fmt.money(e.amount, e.currency))),
			h("div", { class: "moment-text" }, h("time", { datetime: e.event_time }, fmt.instant(e.event_time, { seconds: true })),
				day && h("span", null, " · ", fmt.duration((Date.parse(e.event_time) - Date.parse(first.event_time)) / 1000))),
			h("div", { class: "moment-text" }, e.approved ? e.approval_code && t("transactions.approvalCode", { code: e.approval_code }) : [reasonText(e), e.response_code && ` (${e.response_code})`])));
}
