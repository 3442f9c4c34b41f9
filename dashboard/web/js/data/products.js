// Data products: what is offered of the lake, whether it keeps what it promises, and how to have it.

import { badge, button, checkbox, drawer, empty, facts, failure, field, grid, h, icon, input, note, put, section, skeleton, table, textarea, toast } from "../ui.js";
import { actionName, columnsTable, headerText, offered, tagName } from "./parts.js";

const statusTone = { draft: "neutral", published: "good", deprecated: "warn", withdrawn: "bad" };
export const stateTone = { requested: ["clock", "info"], approved: ["check", "good"], rejected: ["error", "bad"], revoked: ["error", "bad"], expired: ["clock", "neutral"] };

// state is a subscription's state as a badge.
export const state = (t, name) => badge(t(`data.subscription.${name}`), stateTone[name]?.[1] ?? "neutral", { icon: stateTone[name]?.[0] });

export default async function products(ctx) {
	const { t, api, signal, me } = ctx;
	const { products: all } = await offered(api.get("/products", { signal }), { products: [] });
	if (all.length === 0) return empty({ icon: "data", title: t("data.products.none"), text: t("data.products.none.text"), command: "cardlake products init" });
	const { subscriptions } = await api.get("/subscriptions", { signal });
	const mine = subscriptions.filter((s) => s.subscriber === me.principal);
	const open = (p) => show(ctx, p, mine.filter((s) => s.product === p.name));
	const wanted = all.find((p) => p.name === ctx.params.get("name"));
	if (wanted) queueMicrotask(() => open(wanted));
	return h("div", { class: "stack" },
		grid({ columns: 2 }, all.map((p) => product(ctx, p, mine, open))),
		mine.length > 0 && section({ title: t("data.subscriptions.mine"), subtitle: t("data.subscriptions.mine.text") }, own(ctx, mine)));
}

function product(ctx, p, mine, open) {
	const { t, api, signal } = ctx;
	const health = h("div", { class: "product-health" }, skeleton("text", { height: 24 }));
	api.get(`/products/${encodeURIComponent(p.name)}`, { signal }).then((c) => put(health, promises(ctx, c.health, c.product)), () => put(health));
	const live = mine.find((s) => s.product === p.name && (s.state === "approved" || s.state === "requested"));
	return h("article", { class: "card product" },
		h("header", { class: "product-head" },
			h("h2", null, p.title),
			h("span", { class: "product-badges" }, badge(t(`data.product.${p.status}`), statusTone[p.status]), live && state(t, live.state))),
		h("p", { class: "product-text" }, p.description),
		h("ul", { class: "chips", "aria-label": t("data.product.relations") }, p.relations.map((r) => h("li", null, h("code", null, r)))),
		health,
		h("footer", { class: "product-foot" },
			h("span", { class: "faint" }, t("data.product.version", { version: p.version })),
			button(t("data.product.open"), { kind: live || p.status !== "published" ? "default" : "primary", small: true, onClick: () => open(p), title: p.title })));
}

// promises says whether a product keeps what it promises.
function promises({ t, fmt }, health, p) {
	const say = (ok, kept, broken) => badge(ok ? kept : broken, ok ? "good" : "bad", { icon: ok ? "check" : "warning" });
	return [
		health.as_of ? h("span", { class: "faint" }, t("data.product.asof", { at: fmt.ago(health.as_of) })) : h("span", { class: "faint" }, t("data.product.asof.none")),
		health.is_fresh === undefined ? null : say(health.is_fresh, t("data.product.fresh", { age: p.promise.fresh }), t("data.product.stale", { age: p.promise.fresh })),
		health.is_good === undefined ? null : say(health.is_good, t("data.product.quality", { share: fmt.percent(health.quality / 100) }), t("data.product.quality.bad", { share: fmt.percent(health.quality / 100), least: fmt.percent(p.promise.quality / 100, 0) })),
	];
}

async function show(ctx, listed, mine) {
	const { t, fmt, api, signal } = ctx;
	const body = h("div", { class: "stack" }, skeleton("list"));
	const panel = drawer({ title: listed.title, subtitle: t("data.product.title"), body, onClose: () => ctx.setParams({ name: null }) });
	ctx.setParams({ name: listed.name });
	panel.open();
	let card;
	try {
		card = await api.get(`/products/${encodeURIComponent(listed.name)}`, { signal });
	} catch (err) {
		put(body, failure(err));
		return;
	}
	const p = card.product;
	const words = card.words ?? [];
	put(body,
		h("p", null, p.description),
		p.status === "deprecated" && note(p.instead ? t("data.product.instead", { name: p.instead }) : t("data.product.deprecated.text"), "warn"),
		h("div", { class: "product-health" }, promises(ctx, card.health, p)),
		facts([
			[t("data.product.owner"), p.owner],
			[t("data.product.versionLabel"), p.version],
			[t("data.product.gives"), h("span", { class: "chips" }, p.terms.clear.map((tag) => badge(tagName(t, tag), "good", { icon: "check" })), (p.terms.masked ?? []).map((tag) => badge(t("data.masked", { tag: tagName(t, tag) }), "warn", { icon: "lock" })))],
			[t("data.product.actions"), (p.terms.actions ?? ["query"]).map((a) => actionName(t, a)).join(", ")],
			[t("data.product.days"), t("data.days", { n: p.terms.days || 90 })],
			[t("data.product.promise"), [p.promise?.fresh && t("data.product.fresh", { age: p.promise.fresh }), p.promise?.quality && t("data.product.quality.least", { share: fmt.percent(p.promise.quality / 100, 0) })].filter(Boolean).join(" · ")],
		]),
		mine.length > 0 && section(t("data.subscriptions.mine"), own(ctx, mine)),
		p.status === "published" && subscribe(ctx, p, panel),
		section(t("data.product.schema"), (card.schema ?? []).map((r) => h("details", { class: "schema" }, h("summary", null, h("code", null, r.name), h("span", { class: "faint" }, t("data.columns", { n: r.columns.length }))), h("p", { class: "faint" }, r.doc),
			columnsTable(ctx, r.columns.map((c) => ({ ...c, about: c.doc })), r.name)))),
		words.length > 0 && section(t("data.product.words"), facts(words.map((w) => [w.name, [w.short, w.long].filter(Boolean).join(" ")]))));
}

// subscribe asks for a product. Why is part of the request: those who decide read it.
function subscribe(ctx, p, panel) {
	const { t, api, tenants } = ctx;
	const reason = textarea({ rows: 3, maxlength: 500, required: true, minlength: 10, name: "reason" });
	const days = input({ type: "number", min: 1, max: p.terms.days || 90, value: String(Math.min(30, p.terms.days || 90)), name: "days", inputmode: "numeric" });
	const chosen = new Set();
	const several = tenants.length > 1;
	const fault = h("div", { role: "alert" });
	const form = h("form", {
		class: "stack", on: {
			submit: async (e) => {
				e.preventDefault();
				put(fault);
				if (!form.reportValidity()) return;
				try {
					await api.raw(`/products/${encodeURIComponent(p.name)}/subscriptions`, {
						method: "POST", body: { tenants: [...chosen], days: Number(days.value) },
						headers: { "Cardlake-Reason": headerText(reason.value) },
					});
					panel.close();
					toast(t("data.subscribe.done"), { tone: "good" });
					ctx.go("/data?tab=products", { replace: true });
				} catch (err) {
					const why = err.status === 403 && /^not permitted$/i.test(err.detail) ? t("data.subscribe.refused") : err.detail;
					put(fault, [400, 403, 409].includes(err.status) ? note(why, "bad") : failure(err, { compact: true }));
				}
			},
		},
	},
	field({ label: t("data.subscribe.reason"), hint: t("data.subscribe.reason.hint"), control: reason }),
	field({ label: t("data.subscribe.days"), hint: t("data.subscribe.days.hint", { n: p.terms.days || 90 }), control: days }),
	several && h("fieldset", { class: "choices" }, h("legend", null, t("data.subscribe.tenants")), h("p", { class: "field-hint" }, t("data.subscribe.tenants.hint")),
		tenants.map((r) => checkbox({ label: r.name, onChange: (on) => (on ? chosen.add(r.name) : chosen.delete(r.name)) }))),
	fault,
	h("div", null, button(t("data.subscribe"), { kind: "primary", type: "submit", icon: "plus" })));
	return section({ title: t("data.subscribe.title"), subtitle: t("data.subscribe.text") }, form);
}

function own(ctx, list) {
	const { t, fmt } = ctx;
	return table({
		caption: t("data.list", { title: t("data.subscriptions.mine") }), dense: true, rows: list,
		columns: [
			{ key: "product", label: t("data.product.title"), format: (v) => h("strong", null, v) },
			{ key: "state", label: t("data.state"), format: (v) => state(t, v) },
			{ key: "requested_at", label: t("data.subscription.asked"), format: fmt.instant },
			{ key: "until", label: t("data.subscription.until"), format: (v) => (v ? fmt.instant(v) : "–") },
			{ key: "reason", label: t("data.subscribe.reason") },
			{ key: "decided_by", label: t("data.subscription.by"), format: (v, row) => (v ? [v, row.note && h("div", { class: "faint" }, row.note)] : "–") },
		],
	});
}
