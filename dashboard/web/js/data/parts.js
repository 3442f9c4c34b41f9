// What the panels of the data and access pages have in common.

import { badge, h, table } from "../ui.js";

// headerText is a text as a header carries it: a browser sends one byte a character, and the
// server reads UTF-8.
export const headerText = (text) => String.fromCharCode(...new TextEncoder().encode(text.trim().replace(/\s+/g, " ")));

const tagTone = { public: "neutral", identifier: "info", truncated_pan: "warn", money: "accent", lineage: "neutral", sealed: "bad" };

// tag is what kind of data a column has.
export const tag = (t, name) => badge(tagName(t, name), tagTone[name] ?? "neutral");

// tagName, kindName are words for codes, and the code where there is none.
export const tagName = (t, name) => (t.has(`data.tags.${name}`) ? t(`data.tags.${name}`) : name);
export const kindName = (t, name) => (t.has(`access.kinds.${name}`) ? t(`access.kinds.${name}`) : name);
export const actionName = (t, name) => (t.has(`data.action.${name}`) ? t(`data.action.${name}`) : name);

// access is how a column is given to the caller.
export const access = (t, how) =>
	how === "masked" ? badge(t("data.access.masked"), "warn", { icon: "lock" })
		: how === "clear" ? badge(t("data.access.clear"), "good", { icon: "check" })
			: h("span", { class: "faint" }, t("data.access.view"));

// columnsTable lists the columns of a table or view.
export function columnsTable({ t }, columns, name) {
	const hasAccess = columns.some((c) => c.access);
	return table({
		caption: t("data.columns.of", { name }), dense: true, rows: columns,
		columns: [
			{ key: "name", label: t("data.column"), format: (v, c) => h("div", null, h("code", null, v), h("div", { class: "about-small", "aria-hidden": "true" }, c.about)) },
			{ key: "type", label: t("data.type"), format: (v) => h("code", { class: "faint" }, v) },
			{ key: "tag", label: t("data.tag"), format: (v) => tag(t, v) },
			hasAccess && { key: "access", label: t("data.access"), format: (v) => access(t, v) },
			{ key: "about", label: t("data.about"), class: "wrap cell-about" },
		].filter(Boolean),
	});
}

// letters draws a key of so many letters: nothing in it can be taken for a card number.
export const letters = (n) => Array.from(crypto.getRandomValues(new Uint8Array(n)), (b) => String.fromCharCode(97 + (b & 15))).join("");

// copy puts a text on the clipboard and says so.
export async function copy(t, text, toast) {
	try {
		await navigator.clipboard.writeText(text);
		toast(t("app.copied"), { tone: "good", seconds: 3 });
	} catch {
		toast(t("app.copyFailed"), { tone: "warn" });
	}
}

// offered waits for an answer, and has another where the server does not offer what is asked.
export async function offered(asked, otherwise) {
	try {
		return await asked;
	} catch (err) {
		if (err.status === 404) return otherwise;
		throw err;
	}
}
