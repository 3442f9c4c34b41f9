// What lies over the page: menus, dialogs, the side panel, and short messages.

import { h, icon, newID, put } from "./dom.js";
import { t } from "./i18n.js";

// menu opens a list of things to do below a button. Arrow keys, Home, End and letters move in
// it; Esc closes it and gives the focus back.
export function menu(button, items, { align = "end", label } = {}) {
	const id = newID("menu");
	const list = h("div", { class: "menu", id, role: "menu", popover: "auto", "aria-label": label ?? button.getAttribute("aria-label") ?? button.textContent });
	button.setAttribute("aria-haspopup", "menu");
	button.setAttribute("aria-expanded", "false");
	button.setAttribute("aria-controls", id);

	const entries = () => [...list.querySelectorAll("[role^=menuitem]:not([aria-disabled=true])")];
	const close = () => list.hidePopover();

	function entry(item) {
		if (item.separator) return h("hr", { class: "menu-separator", role: "separator" });
		if (item.heading) return h("div", { class: "menu-heading", role: "presentation" }, item.heading);
		if (item.node) return h("div", { class: "menu-node", role: "presentation" }, item.node);
		const radio = item.checked !== undefined;
		const inside = [
			radio ? h("span", { class: "menu-check" }, item.checked && icon("check", { size: 16 })) : item.icon && icon(item.icon, { size: 16 }),
			h("span", { class: "menu-label" }, item.label, item.detail && h("span", { class: "menu-detail" }, item.detail)),
			item.hint && h("span", { class: "menu-hint" }, item.hint),
		];
		const props = {
			class: ["menu-item", item.danger && "menu-danger"], role: radio ? "menuitemradio" : "menuitem", tabindex: "-1",
			"aria-checked": radio ? String(Boolean(item.checked)) : null, "aria-disabled": item.disabled ? "true" : null,
			title: item.title,
		};
		if (item.href && !item.disabled) return h("a", { ...props, href: item.href, on: { click: close } }, inside);
		return h("button", {
			...props, type: "button",
			on: {
				click: () => {
					if (item.disabled) return;
					close();
					item.onSelect?.();
				},
			},
		}, inside);
	}

	function place() {
		const at = button.getBoundingClientRect();
		const width = list.offsetWidth, height = list.offsetHeight;
		const left = align === "end" ? at.right - width : at.left;
		list.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
		const below = at.bottom + 6;
		list.style.top = `${below + height > innerHeight - 8 && at.top > height + 14 ? at.top - height - 6 : Math.max(8, Math.min(below, innerHeight - height - 8))}px`;
	}

	function open(focus = "first") {
		put(list, (typeof items === "function" ? items() : items).filter(Boolean).map(entry));
		list.showPopover();
		place();
		const all = entries();
		const chosen = all.find((e) => e.getAttribute("aria-checked") === "true");
		(focus === "last" ? all.at(-1) : chosen ?? all[0])?.focus();
	}

	let closedAt = 0;
	list.addEventListener("toggle", (e) => {
		const now = e.newState === "open";
		button.setAttribute("aria-expanded", String(now));
		if (!now) {
			closedAt = performance.now();
			if (list.contains(document.activeElement) || document.activeElement === document.body) button.focus();
		}
	});
	// The browser closes the list at the press of a mouse button, before the click arrives:
	// that click closes and does not open again.
	button.addEventListener("click", () => {
		if (list.matches(":popover-open")) close();
		else if (performance.now() - closedAt > 250) open();
	});
	button.addEventListener("keydown", (e) => {
		if (e.key === "ArrowDown" || e.key === "ArrowUp") {
			e.preventDefault();
			open(e.key === "ArrowUp" ? "last" : "first");
		}
	});
	list.addEventListener("keydown", (e) => {
		const all = entries();
		const at = all.indexOf(document.activeElement);
		const move = (n) => {
			e.preventDefault();
			all[(n + all.length) % all.length]?.focus();
		};
		if (e.key === "ArrowDown") move(at + 1);
		else if (e.key === "ArrowUp") move(at - 1);
		else if (e.key === "Home") move(0);
		else if (e.key === "End") move(all.length - 1);
		else if (e.key === "Tab") close();
		else if (e.key === " " && document.activeElement?.tagName === "A") {
			e.preventDefault();
			document.activeElement.click();
		} else if (e.key.length === 1 && /\S/.test(e.key) && !e.ctrlKey && !e.metaKey && e.target.tagName !== "INPUT") {
			const begins = (n) => n.textContent.trim().toLowerCase().startsWith(e.key.toLowerCase());
			(all.slice(at + 1).find(begins) ?? all.find(begins))?.focus();
		}
	});
	const wrapper = h("div", { class: "menu-anchor" }, button, list);
	wrapper.openMenu = open;
	wrapper.closeMenu = () => list.matches(":popover-open") && close();
	return wrapper;
}

// makeButton is button of ui.js, which this file can't import: it is imported by it.
function makeButton(one, close) {
	if (one instanceof Node) return one;
	return h("button", {
		class: ["button", `button-${one.kind ?? "default"}`], type: "button", autofocus: one.autofocus,
		on: {
			click: async (e) => {
				const at = e.currentTarget;
				at.disabled = true;
				try {
					if (await one.onClick?.() === false) return;
				} finally {
					at.disabled = false;
				}
				if (one.closes !== false) close(one.value);
			},
		},
	}, one.label);
}

function overlay(kind, { title, subtitle, body, actions = [], wide = false, onClose, role, closable = true }) {
	const id = newID("dialog");
	let before = null;
	const close = (value) => {
		element.returnValue = value === undefined ? "" : String(value);
		result = value;
		element.close();
	};
	let result;
	const content = h("div", { class: "dialog-body" }, typeof body === "string" ? h("p", null, body) : body);
	const element = h("dialog", {
		class: [kind, wide && "dialog-wide"], "aria-labelledby": id, role,
		on: {
			close: () => {
				element.remove();
				if (before?.isConnected) before.focus();
				onClose?.(result);
			},
			cancel: (e) => {
				if (!closable) e.preventDefault();
			},
			click: (e) => {
				if (e.target === element && closable) close();
			},
		},
	}, h("div", { class: "dialog-frame" },
		h("div", { class: "dialog-head" },
			h("div", null, h("h2", { id, tabindex: "-1" }, title), subtitle && h("p", { class: "dialog-subtitle" }, subtitle)),
			closable && h("button", { class: "button button-quiet button-icon", type: "button", "aria-label": t("app.close"), on: { click: () => close() } }, icon("close"))),
		content,
		actions.length > 0 && h("div", { class: "dialog-foot" }, actions.map((a) => makeButton(a, close)))));
	return {
		element, body: content,
		open() {
			before = document.activeElement;
			document.body.append(element);
			element.showModal();
			if (!element.contains(document.activeElement) || !element.querySelector("[autofocus]")) element.querySelector("h2").focus();
			return this;
		},
		close,
	};
}

// dialog is modal: the focus stays in it, and goes back where it was.
export const dialog = (options) => overlay("dialog", options);

// drawer is a dialog at the right side, for the details of one thing.
export const drawer = (options) => overlay("drawer", options);

// confirm asks before something that can't be taken back.
export function confirm({ title, text, action, danger = false }) {
	return new Promise((resolve) => {
		dialog({
			title, body: text, role: "alertdialog", onClose: (v) => resolve(v === true),
			actions: [{ label: t("app.cancel"), autofocus: true }, { label: action ?? t("app.ok"), kind: danger ? "danger" : "primary", value: true }],
		}).open();
	});
}

let polite, assertive, toasts;

// announce tells screen readers what changed, without moving the focus.
export function announce(text, { assertive: now = false } = {}) {
	polite ??= document.body.appendChild(h("div", { class: "sr-only", role: "status", "aria-live": "polite" }));
	assertive ??= document.body.appendChild(h("div", { class: "sr-only", role: "alert", "aria-live": "assertive" }));
	const region = now ? assertive : polite;
	region.textContent = "";
	// The same text twice is said twice only if it went away in between.
	setTimeout(() => (region.textContent = text), 60);
}

// toast shows a short message at the foot of the page.
export function toast(text, { tone = "info", action, seconds = 6 } = {}) {
	toasts ??= document.body.appendChild(h("div", { class: "toasts", role: "region", "aria-label": t("app.messages") }));
	const shapes = { info: "info", good: "check", warn: "warning", bad: "error" };
	const remove = () => node.remove();
	const node = h("div", { class: ["toast", `toast-${tone}`], role: tone === "bad" ? "alert" : "status" },
		icon(shapes[tone] ?? "info"), h("span", { class: "toast-text" }, text),
		action && h("button", { class: "button button-quiet button-small", type: "button", on: { click: () => { remove(); action.onClick(); } } }, action.label),
		h("button", { class: "button button-quiet button-icon button-small", type: "button", "aria-label": t("app.close"), on: { click: remove } }, icon("close", { size: 14 })));
	toasts.append(node);
	let timer = setTimeout(remove, seconds * 1000);
	node.addEventListener("pointerenter", () => clearTimeout(timer));
	node.addEventListener("focusin", () => clearTimeout(timer));
	node.addEventListener("pointerleave", () => (timer = setTimeout(remove, seconds * 1000)));
	return remove;
}

// popover shows something to read below a button: Esc and a press elsewhere close it.
export function popover(button, content, { align = "end", label } = {}) {
	const id = newID("popover");
	const box = h("div", { class: "popover", id, popover: "auto", role: "dialog", "aria-label": label, tabindex: "-1" });
	button.setAttribute("aria-haspopup", "dialog");
	button.setAttribute("aria-expanded", "false");
	button.setAttribute("popovertarget", id);
	box.addEventListener("beforetoggle", (e) => {
		if (e.newState === "open") put(box, content());
	});
	box.addEventListener("toggle", (e) => {
		const open = e.newState === "open";
		button.setAttribute("aria-expanded", String(open));
		if (!open) return;
		const at = button.getBoundingClientRect();
		const left = align === "end" ? at.right - box.offsetWidth : at.left;
		box.style.left = `${Math.max(8, Math.min(left, innerWidth - box.offsetWidth - 8))}px`;
		box.style.top = `${at.bottom + 6}px`;
		box.focus();
	});
	return h("div", { class: "menu-anchor" }, button, box);
}
