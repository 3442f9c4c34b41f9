// Events as rows of a table, as the pages of transactions and of one card show them.

import { fmt } from "./format.js";
import { t } from "./i18n.js";
import { clip, reasonText } from "./parts.js";
import { badge, h } from "./ui.js";

// eventColumns are those of a list of events.
export function eventColumns({ card = true } = {}) {
	return [
		{ key: "event_time", label: t("transactions.time"), format: (v) => h("time", { datetime: v, class: "when" }, h("span", null, fmt.time(v, { seconds: true })), h("span", { class: "faint" }, fmt.date(v))) },
		{ key: "merchant_name", label: t("transactions.merchant"), format: (v, row) => h("span", { class: "two-lines" }, clip(v || row.merchant_id), h("span", { class: "faint" }, [fmt.mcc(row.mcc), row.merchant_country].filter(Boolean).join(" · "))) },
		{ key: "amount", label: t("transactions.amount"), align: "end", format: (v, row) => h("span", { class: "two-lines" }, h("span", { class: "num amount" }, fmt.money(v, row.currency)), row.billing_currency && row.billing_currency !== row.currency && h("span", { class: "faint num" }, fmt.money(row.billing_amount, row.billing_currency))) },
		{ key: "approved", label: t("transactions.outcome"), format: (v, row) => h("span", { class: "two-lines" }, h("span", null, badge(t(v ? "transactions.approved" : "transactions.declined"), v ? "good" : "bad", { icon: v ? "check" : "close" })), !v && h("span", { class: "faint" }, reasonText(row))) },
		{ key: "event_type", label: t("transactions.type"), format: (v) => t.term("type", v) },
		{ key: "channel", label: t("transactions.channel"), format: (v, row) => h("span", { class: "two-lines" }, h("span", null, t.term("channel", v)), row.entry_mode !== v && h("span", { class: "faint" }, t.term("entry", row.entry_mode))) },
		card && { key: "last4", label: t("transactions.card"), format: (v, row) => h("span", { class: "two-lines" }, h("span", { class: "card-number" }, v ? fmt.card(v) : fmt.token(row.card_token)), h("span", { class: "faint" }, t.term("network", row.network))) },
	].filter(Boolean);
}

// eventLabel names an event for screen readers.
export const eventLabel = (row) => t("transactions.rowLabel", { merchant: row.merchant_name || row.merchant_id || "", amount: fmt.money(row.amount, row.currency), time: fmt.instant(row.event_time) });
