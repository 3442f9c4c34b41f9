// The parts that pages are made of. All are elements; none keeps state but what it shows.

import { clear, debounce, h, icon, newID, put, svg } from "./dom.js";
import { t } from "./i18n.js";
import { announce, confirm, dialog, drawer, menu, toast } from "./overlay.js";
import { table } from "./table.js";

export { announce, clear, confirm, debounce, dialog, drawer, h, icon, menu, newID, put, svg, table, toast };

function heading(level, { title, subtitle, actions = [] }, id) {
	if (!title && actions.length === 0) return null;
	return h("header", { class: "head" },
		h("div", { class: "head-text" }, title && h(`h${level}`, { id, tabindex: level === 1 ? "-1" : null }, title), subtitle && h("p", { class: "subtitle" }, subtitle)),
		actions.length > 0 && h("div", { class: "head-actions" }, actions));
}

// page is what a page's render returns.
export function page({ title, subtitle, actions, lead }, ...sections) {
	return h("div", { class: "page" }, heading(1, { title, subtitle, actions }), lead && h("p", { class: "lead" }, lead), sections);
}

// section is a part of a page with a heading of its own.
export function section(options, ...children) {
	const o = typeof options === "string" ? { title: options } : options ?? {};
	const id = newID("section");
	return h("section", { class: ["section", o.class], "aria-labelledby": o.title ? id : null }, heading(2, o, id), children);
}

// grid lays cards side by side, and below each other where there is no room.
export function grid(options, ...cards) {
	if (options instanceof Node) return h("div", { class: "grid grid-2" }, options, cards);
	return h("div", { class: ["grid", `grid-${options?.columns ?? 2}`, options?.class] }, cards);
}

// card is a surface with a title. flush leaves out the padding, for tables.
export function card(options, ...children) {
	const o = options ?? {};
	const id = newID("card");
	return h("article", { class: ["card", o.flush && "card-flush", o.class], "aria-labelledby": o.title ? id : null },
		heading(2, o, id), h("div", { class: "card-body" }, children), o.footer && h("footer", { class: "card-foot" }, o.footer));
}

// kpi is one number that matters, and how it moved.
export function kpi({ label, value, delta, hint, figure, href, actions, live = false }) {
	return h("article", { class: ["card", "kpi", live && "kpi-live"] },
		h("div", { class: "kpi-label" }, href ? link(href, label) : h("span", null, label), actions && h("span", { class: "kpi-actions" }, actions)),
		h("div", { class: "kpi-value" }, value ?? "–"),
		(delta || hint || figure) && h("div", { class: "kpi-foot" }, delta && change(delta), hint && h("span", { class: "kpi-hint" }, hint), figure && h("div", { class: "kpi-figure" }, figure)));
}

// change shows a delta of format.js: a sign and an arrow, so that nothing rests on colour.
export function change(delta) {
	const arrows = { up: "arrow-up", down: "arrow-down" };
	return h("span", { class: ["delta", `delta-${delta.tone ?? "neutral"}`], title: delta.title },
		arrows[delta.direction] && icon(arrows[delta.direction], { size: 12 }),
		h("span", null, delta.text), delta.title && h("span", { class: "sr-only" }, delta.title));
}

// facts are names with their values.
export function facts(pairs, { columns = 1 } = {}) {
	return h("dl", { class: ["facts", columns > 1 && "facts-wide"] }, pairs.filter(Boolean).map(([label, value]) =>
		h("div", { class: "fact" }, h("dt", null, label), h("dd", null, value ?? "–"))));
}

// badge is a short word in a tone: neutral, good, bad, warn, info or accent.
export function badge(text, tone = "neutral", { icon: shape } = {}) {
	return h("span", { class: ["badge", `badge-${tone}`] }, shape && icon(shape, { size: 12 }), text);
}

// button calls onClick, and is disabled while the promise that it returns is open.
export function button(label, { onClick, kind = "default", icon: shape, iconOnly = false, disabled, type = "button", pressed, small, title, busyWhile = true, class: extra, ...rest } = {}) {
	return h("button", {
		class: ["button", `button-${kind}`, iconOnly && "button-icon", small && "button-small", extra], type, disabled,
		"aria-label": iconOnly ? label : null, title: title ?? (iconOnly ? label : null),
		"aria-pressed": pressed === undefined ? null : String(Boolean(pressed)),
		on: {
			click: async (e) => {
				const node = e.currentTarget;
				const result = onClick?.(e);
				if (!busyWhile || !(result instanceof Promise)) return;
				node.disabled = true;
				node.setAttribute("aria-busy", "true");
				try {
					await result;
				} catch (err) {
					if (err?.kind !== "aborted") toast(explain(err).title, { tone: "bad" });
				} finally {
					node.disabled = false;
					node.removeAttribute("aria-busy");
				}
			},
		},
		...rest,
	}, shape && icon(shape, { size: small ? 14 : 16 }), !iconOnly && h("span", null, label));
}

// link leads to a page of the dashboard, or, if it begins with https://, away from it.
export function link(path, text, props = {}) {
	const away = /^https?:\/\//.test(path);
	return h("a", { href: path, ...(away ? { target: "_blank", rel: "noopener noreferrer" } : {}), ...props }, text, away && icon("external", { size: 13, label: t("app.opensApart") }));
}

// tabs shows one of several panels. Arrow keys move between them.
export function tabs({ label, items, selected, onChange }) {
	const group = newID("tab");
	const panel = h("div", { class: "tab-panel", role: "tabpanel", tabindex: "0", id: `${group}-panel` });
	const buttons = items.map((item) => h("button", {
		class: "tab", type: "button", role: "tab", id: `${group}-${item.id}`, "aria-controls": `${group}-panel`,
		on: { click: () => choose(item.id, true) },
	}, item.label, item.count !== undefined && h("span", { class: "tab-count" }, String(item.count))));
	function choose(id, told) {
		items.forEach((item, i) => {
			const on = item.id === id;
			buttons[i].setAttribute("aria-selected", String(on));
			buttons[i].tabIndex = on ? 0 : -1;
			if (on) {
				panel.setAttribute("aria-labelledby", `${group}-${id}`);
				put(panel, item.render());
			}
		});
		if (told) onChange?.(id);
	}
	const list = h("div", {
		class: "tab-list", role: "tablist", "aria-label": label,
		on: {
			keydown: (e) => {
				const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
				const at = buttons.indexOf(document.activeElement);
				const next = e.key === "Home" ? 0 : e.key === "End" ? buttons.length - 1 : step ? (at + step + buttons.length) % buttons.length : -1;
				if (next < 0) return;
				e.preventDefault();
				buttons[next].focus();
				choose(items[next].id, true);
			},
		},
	}, buttons);
	choose(items.some((i) => i.id === selected) ? selected : items[0]?.id, false);
	return h("div", { class: "tabs" }, list, panel);
}

// field gives an input its label, and says what is expected of it and what is wrong.
export function field({ label, hint, error, control, optional = false }) {
	// A select and a search are in a box of their own, which no label can name.
	const target = control.matches("input,select,textarea") ? control : control.querySelector("input,select,textarea") ?? control;
	const id = target.id || (target.id = newID("field"));
	const notes = [];
	if (hint) notes.push(h("span", { class: "field-hint", id: `${id}-hint` }, hint));
	if (error) {
		notes.push(h("span", { class: "field-error", id: `${id}-error`, role: "alert" }, icon("error", { size: 14 }), error));
		target.setAttribute("aria-invalid", "true");
	}
	if (notes.length > 0) target.setAttribute("aria-describedby", notes.map((n) => n.id).join(" "));
	return h("div", { class: "field" }, h("label", { for: id }, label, optional && h("span", { class: "field-optional" }, t("app.optional"))), control, notes);
}

// input is one line of text; label names it where there is no field around it.
export function input({ label, onInput, onChange, type = "text", ...rest } = {}) {
	return h("input", {
		class: "input", type, "aria-label": label, autocomplete: "off", ...rest,
		on: { input: onInput && ((e) => onInput(e.target.value)), change: onChange && ((e) => onChange(e.target.value)) },
	});
}

export function textarea({ label, onInput, value = "", ...rest } = {}) {
	return h("textarea", { class: "input textarea", "aria-label": label, ...rest, value, on: { input: onInput && ((e) => onInput(e.target.value)) } });
}

export function select({ name, value, options, onChange, label, ...rest }) {
	const one = (o) => h("option", { value: o.value, disabled: o.disabled }, o.label);
	return h("span", { class: "select" }, h("select", {
		class: "input", name, "aria-label": label, ...rest, value: value ?? "",
		on: { change: onChange && ((e) => onChange(e.target.value)) },
	}, options.map((o) => o.heading ? h("optgroup", { label: o.heading }, o.options.map(one)) : one(o))), icon("chevron", { size: 14 }));
}

export function search({ value = "", placeholder, label, onInput, onSubmit, ...rest }) {
	const later = debounce((v) => onInput?.(v), 250);
	return h("span", { class: "search" }, icon("search", { size: 16 }), h("input", {
		class: "input", type: "search", "aria-label": label ?? placeholder, placeholder, autocomplete: "off", spellcheck: "false", maxlength: 200, ...rest, value,
		on: {
			input: (e) => later(e.target.value),
			keydown: (e) => {
				if (e.key === "Enter") onSubmit?.(e.target.value);
			},
		},
	}));
}

export function checkbox({ label, checked = false, onChange, ...rest }) {
	return h("label", { class: "checkbox" }, h("input", { type: "checkbox", checked, ...rest, on: { change: (e) => onChange?.(e.target.checked) } }), h("span", null, label));
}

// segmented is a choice of a few, all of which are seen.
export function segmented({ label, options, value, onChange }) {
	const name = newID("segmented");
	return h("div", { class: "segmented", role: "radiogroup", "aria-label": label }, options.map((o) =>
		h("label", null, h("input", { type: "radio", name, value: o.value, checked: o.value === value, on: { change: () => onChange?.(o.value) } }), h("span", null, o.label))));
}

// empty says that there is nothing, why, and what to do. heading: it is all that the page says.
export function empty({ icon: shape = "info", title, text, action, command, compact = false, heading: alone = false }) {
	return h("div", { class: ["empty", compact && "empty-compact"] }, h("div", { class: "empty-icon" }, icon(shape, { size: compact ? 20 : 26 })),
		h(alone ? "h1" : "p", { class: "empty-title", tabindex: alone ? "-1" : null }, title), text && h("p", { class: "empty-text" }, text), command && code(command),
		action && h("div", { class: "empty-actions" }, action));
}

// kinds of ApiError that have words of their own.
const known = new Set([
	"offline", "unavailable", "refused", "not-permitted", "not-found", "rate", "busy", "timeout", "not-signed-in",
	"statement", "parameter", "not-offered", "too-large", "tenant-unavailable", "unrecorded",
]);
// telling are those whose detail, in the server's words, says more than ours.
const telling = new Set(["refused", "not-permitted", "statement", "parameter", "too-large", "tenant-unavailable", "not-found"]);
const byStatus = { 400: "parameter", 401: "not-signed-in", 403: "not-permitted", 404: "not-found", 408: "timeout", 413: "too-large", 422: "parameter", 429: "rate", 502: "unavailable", 503: "unavailable", 504: "timeout" };
// aliases are the server's kinds that need no words of their own.
const aliases = {
	"invalid-request": "parameter", "too-many-requests": "rate", "out-of-time": "timeout", "too-many-rows": "too-large", "answer-too-large": "too-large",
	"audit-unavailable": "unrecorded", "sign-in-unavailable": "unavailable", "no-such-table": "not-found", "no-such-query": "not-found",
};

// explain turns an error into what a person needs: what happened, and what to do.
export function explain(error) {
	const named = aliases[error?.kind] ?? error?.kind;
	let kind = known.has(named) ? named : byStatus[error?.status] ?? (error?.status >= 500 ? "unavailable" : error?.status ? "refused" : "page");
	if (error?.status === 404 && /offer/i.test(error.detail ?? "")) kind = "not-offered";
	return {
		kind, title: t(`app.error.${kind}.title`), text: t(`app.error.${kind}.text`),
		detail: telling.has(kind) ? [error.detail, error.hint].filter(Boolean).join(" ") : "",
		request: error?.request ?? "", after: error?.retryAfter ?? 0,
	};
}

// failure shows an error where the content would be.
export function failure(error, { retry, compact = false } = {}) {
	const e = explain(error);
	const shapes = { offline: "globe", "not-permitted": "lock", "not-signed-in": "lock", "not-found": "search", rate: "clock", busy: "clock", timeout: "clock" };
	return h("div", { class: ["empty", "failure", compact && "empty-compact"], role: "alert" },
		h("div", { class: "empty-icon" }, icon(shapes[e.kind] ?? "warning", { size: compact ? 20 : 26 })),
		h("p", { class: "empty-title" }, e.title), h("p", { class: "empty-text" }, e.text),
		e.detail && h("p", { class: "failure-detail" }, e.detail),
		retry && h("div", { class: "empty-actions" }, button(t("app.retry"), { icon: "refresh", onClick: retry, small: compact })),
		e.request && h("p", { class: "failure-request" }, t("app.requestId"), " ", h("code", null, e.request)));
}

// skeleton holds the place of what is being loaded.
export function skeleton(kind = "text", { height } = {}) {
	const bar = (cls) => h("div", { class: ["bone", cls] });
	const inside = {
		text: () => [bar("bone-wide"), bar("bone-mid"), bar("bone-short")],
		kpi: () => [bar("bone-label"), bar("bone-value")],
		chart: () => [bar("bone-chart")],
		table: () => Array.from({ length: 6 }, () => bar("bone-row")),
		list: () => Array.from({ length: 4 }, () => bar("bone-row")),
		page: () => [bar("bone-title"), h("div", { class: "grid grid-kpi" }, Array.from({ length: 4 }, () => h("div", { class: "card kpi" }, bar("bone-label"), bar("bone-value")))), h("div", { class: "card" }, bar("bone-chart"))],
	}[kind]?.() ?? [bar("bone-wide")];
	return h("div", { class: ["skeleton", `skeleton-${kind}`], "aria-hidden": "true", style: height ? { minHeight: `${height}px` } : null }, inside);
}

export function progress({ value, max = 1, label }) {
	return h("progress", { class: "progress", max, "aria-label": label, ...(value === undefined || value === null ? {} : { value }) });
}

// bar is a share of something, drawn beside its number.
export function bar(fraction, { label, tone = "accent" } = {}) {
	const share = Math.max(0, Math.min(1, Number(fraction) || 0));
	return h("span", { class: ["bar", `bar-${tone}`], ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }) },
		h("span", { class: "bar-fill", style: { width: `${(share * 100).toFixed(1)}%` } }));
}

export function copyButton(text, label = t("app.copy")) {
	return button(label, {
		icon: "copy", iconOnly: true, kind: "quiet", small: true,
		onClick: async () => {
			try {
				await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
				toast(t("app.copied"), { tone: "good", seconds: 3 });
			} catch {
				toast(t("app.copyFailed"), { tone: "warn" });
			}
		},
	});
}

export function code(text, { copy = true, label } = {}) {
	return h("div", { class: "code" }, h("pre", { tabindex: "0", "aria-label": label ?? t("app.code") }, h("code", null, text)), copy && copyButton(text));
}

export function note(content, tone = "info") {
	const shapes = { info: "info", warn: "warning", bad: "error", good: "check" };
	return h("div", { class: ["note", `note-${tone}`], role: tone === "bad" ? "alert" : "note" }, icon(shapes[tone] ?? "info"), h("div", null, content));
}

// download gives the browser a file that the page made.
export function download(name, content, type = "text/plain;charset=utf-8") {
	const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
	const a = h("a", { href: url, download: name });
	document.body.append(a);
	a.click();
	a.remove();
	setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
