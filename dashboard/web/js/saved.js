// Views that a person saved: a page with its range and filters, by a name. And links to share.

import { api } from "./api.js";
import { h, icon, put } from "./dom.js";
import { fmt } from "./format.js";
import { t } from "./i18n.js";
import { confirm, dialog, menu, toast } from "./overlay.js";
import { button, empty, explain, failure, field, input, skeleton } from "./ui.js";

const pathOf = (view) => `/${encodeURIComponent(view.page)}${view.query ? `?${view.query.replace(/^\?/, "")}` : ""}`;

async function list() {
	const answer = await api.get("/saved-views", { background: true });
	return Array.isArray(answer) ? answer : answer.saved_views ?? answer.views ?? [];
}

// savedMenu is the button in the top bar. at() tells the page's name and title, and go opens a path.
export function savedMenu({ at, go }) {
	let views = [];
	const trigger = button(t("app.saved.menu"), { icon: "save", iconOnly: true, kind: "quiet" });
	const refresh = async () => {
		try {
			views = await list();
		} catch {
			views = []; // the page where they are kept says what is wrong
		}
	};
	trigger.addEventListener("pointerenter", refresh, { once: true });
	trigger.addEventListener("focus", refresh, { once: true });
	return menu(trigger, () => {
		const here = views.filter((v) => v.page === at().page);
		const others = views.filter((v) => v.page !== at().page);
		const one = (v) => ({ label: v.name, icon: "save", hint: v.page === at().page ? "" : t.has(`${v.page}.title`) ? t(`${v.page}.title`) : v.page, onSelect: () => go(pathOf(v)) });
		return [
			{ label: t("app.saved.save"), icon: "plus", onSelect: () => save(at(), refresh) },
			{ label: t("app.saved.manage"), icon: "table", onSelect: () => manage(go, refresh) },
			views.length > 0 && { separator: true },
			here.length > 0 && { heading: t("app.saved.here") }, ...here.map(one),
			others.length > 0 && { heading: t("app.saved.others") }, ...others.slice(0, 12).map(one),
		];
	}, { label: t("app.saved.menu") });
}

function save({ page, title }, saved) {
	const params = new URLSearchParams(location.search);
	params.delete("purchase"); // a panel that is open is no view
	const query = params.toString();
	const name = input({ value: title, maxlength: 80, required: true });
	const wrong = h("p", { class: "field-error", role: "alert" });
	const d = dialog({
		title: t("app.saved.save"),
		body: h("form", {
			on: {
				submit: async (e) => {
					e.preventDefault();
					if (await store()) d.close();
				},
			},
		}, field({ label: t("app.saved.name"), hint: t("app.saved.hint"), control: name }), wrong),
		actions: [{ label: t("app.cancel") }, { label: t("app.save"), kind: "primary", onClick: store }],
	});
	async function store() {
		if (!name.value.trim()) {
			wrong.textContent = t("app.saved.nameMissing");
			name.focus();
			return false;
		}
		try {
			await api.post("/saved-views", { name: name.value.trim(), page, query });
		} catch (err) {
			const e = explain(err);
			wrong.textContent = e.detail || e.title;
			return false;
		}
		toast(t("app.saved.done"), { tone: "good" });
		saved();
		return true;
	}
	d.open();
	name.focus();
	name.select();
}

function manage(go, changed) {
	const body = h("div", { class: "saved-list" }, skeleton("list"));
	const d = dialog({ title: t("app.saved.manage"), body, wide: true, onClose: changed });
	async function show() {
		try {
			const views = await list();
			put(body, views.length === 0 ? empty({ icon: "save", title: t("app.saved.empty"), text: t("app.saved.emptyText"), compact: true })
				: h("ul", null, views.map((v) => h("li", null,
					h("a", { class: "saved-name", href: pathOf(v), on: { click: (e) => { e.preventDefault(); d.close(); go(pathOf(v)); } } }, icon("save", { size: 16 }), v.name),
					h("span", { class: "saved-page" }, t.has(`${v.page}.title`) ? t(`${v.page}.title`) : v.page),
					h("span", { class: "faint" }, fmt.day(v.created_at)),
					button(t("app.saved.delete", { name: v.name }), { icon: "trash", iconOnly: true, kind: "quiet", small: true, onClick: () => remove(v) })))));
		} catch (err) {
			put(body, failure(err, { retry: show, compact: true }));
		}
	}
	async function remove(v) {
		if (!(await confirm({ title: t("app.saved.deleteTitle"), text: t("app.saved.deleteText", { name: v.name }), action: t("app.delete"), danger: true }))) return;
		await api.del(`/saved-views/${encodeURIComponent(v.id)}`);
		await show();
	}
	d.open();
	show();
}

// share copies the address of what is seen. It has no card's data in it, and opens for those
// only who may read the tenant.
export async function share(tenant) {
	const text = tenant ? t("app.share.copied", { tenant }) : t("app.share.copiedPlain");
	try {
		await navigator.clipboard.writeText(location.href);
		toast(text, { tone: "good" });
	} catch {
		const control = input({ value: location.href, readonly: true, label: t("app.share.link") });
		dialog({ title: t("app.share.link"), body: h("div", null, h("p", null, text), control), actions: [{ label: t("app.close"), kind: "primary" }] }).open();
		control.select();
	}
}
