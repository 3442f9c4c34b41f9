// API keys: the caller's own, for programs that can't sign in.

import { badge, button, code, confirm, dialog, empty, failure, field, h, input, note, put, section, select, table, toast } from "../ui.js";

const dayMS = 86_400_000;

export default async function keys(ctx) {
	const { t, api, signal } = ctx;
	const list = h("div", null);
	const refresh = async () => {
		const answer = await api.get("/keys", { signal });
		put(list, all(ctx, answer.keys, refresh));
	};
	try {
		await refresh();
	} catch (err) {
		if (err.status !== 403) throw err;
		return empty({ icon: "lock", title: t("data.keys.refused"), text: t("data.keys.refused.text") });
	}
	return h("div", { class: "stack" },
		section({
			title: t("data.keys.title"), subtitle: t("data.keys.text"),
			actions: [button(t("data.key.new"), { kind: "primary", icon: "plus", onClick: () => { create(ctx, refresh); } })],
		}, list),
		note(t("data.keys.rules"), "info"));
}

function all(ctx, list, refresh) {
	const { t, fmt, api } = ctx;
	if (list.length === 0) return empty({ icon: "key", title: t("data.keys.none"), text: t("data.keys.none.text") });
	const now = Date.now();
	const condition = (k) => (k.revoked_at ? "revoked" : Date.parse(k.expires_at) <= now ? "expired" : Date.parse(k.expires_at) - now < 7 * dayMS ? "soon" : "valid");
	const looks = { valid: ["good", "check"], soon: ["warn", "clock"], expired: ["neutral", "clock"], revoked: ["bad", "close"] };
	return table({
		caption: t("data.list", { title: t("data.keys.title") }), rows: list, rowKey: (k) => k.id,
		columns: [
			{ key: "name", label: t("data.key.name"), format: (v, k) => h("div", null, h("strong", null, v), h("div", { class: "faint" }, h("code", null, k.id))) },
			{ key: "tenant", label: t("data.key.scope"), format: (v) => v || h("span", { class: "faint" }, t("data.key.scope.all")) },
			{ key: "state", label: t("data.state"), format: (_, k) => badge(t(`data.key.${condition(k)}`), looks[condition(k)][0], { icon: looks[condition(k)][1] }) },
			{ key: "created_at", label: t("data.key.created"), format: (v) => fmt.instant(v) },
			{ key: "expires_at", label: t("data.key.expires"), format: (v) => fmt.instant(v) },
			{ key: "last_used_at", label: t("data.key.used"), format: (v) => (v ? fmt.ago(v) : h("span", { class: "faint" }, t("data.key.unused"))) },
			{
				key: "actions", label: t("data.actions"), align: "end", format: (_, k) => (["valid", "soon"].includes(condition(k)) ? button(t("data.key.revoke"), {
					small: true, icon: "trash", onClick: async () => {
						if (!await confirm({ title: t("data.key.revoke.title", { name: k.name }), text: t("data.key.revoke.text"), action: t("data.key.revoke"), danger: true })) return;
						await api.del(`/keys/${k.id}`);
						toast(t("data.key.revoked.now"), { tone: "good" });
						await refresh();
					},
				}) : null),
			},
		],
	});
}

function create(ctx, refresh) {
	const { t, api, tenants, tenant } = ctx;
	const name = input({ required: true, maxlength: 64, name: "name", placeholder: t("data.key.name.example") });
	const days = select({ name: "days", value: "30", options: [7, 30, 60, 90].map((n) => ({ value: String(n), label: t("data.days", { n }) })) });
	const scope = select({ name: "scope", value: tenants.length > 1 ? tenant : "", options: [{ value: "", label: t("data.key.scope.all") }, ...tenants.map((r) => ({ value: r.name, label: t("data.key.scope.one", { tenant: r.name }) }))] });
	const fault = h("div", { role: "alert" });
	const form = h("form", { class: "stack", on: { submit: (e) => { e.preventDefault(); send(); } } },
		field({ label: t("data.key.name"), hint: t("data.key.name.hint"), control: name }),
		field({ label: t("data.key.days"), hint: t("data.key.days.hint"), control: days }),
		tenants.length > 0 && field({ label: t("data.key.scope"), hint: t("data.key.scope.hint"), control: scope }),
		fault);
	const box = dialog({ title: t("data.key.new"), body: form, actions: [button(t("app.cancel"), { onClick: () => box.close() }), button(t("data.key.make"), { kind: "primary", icon: "key", onClick: () => send() })] });

	async function send() {
		put(fault);
		if (!form.reportValidity()) return;
		const request = { name: name.value.trim(), days: Number(days.querySelector("select").value) };
		const chosen = scope.querySelector("select").value;
		if (chosen) request.tenant = chosen;
		try {
			const made = await api.post("/keys", request);
			box.close();
			reveal(ctx, made);
			await refresh();
		} catch (err) {
			put(fault, err.status >= 400 && err.status < 500 && err.status !== 401 ? note([err.detail, err.hint].filter(Boolean).join(" "), "bad") : failure(err, { compact: true }));
		}
	}
	box.open();
}

// reveal shows the secret, this once.
function reveal({ t, fmt }, made) {
	const box = dialog({
		title: t("data.key.made"), body: h("div", { class: "stack" },
			note(t("data.key.once"), "warn"),
			code(made.secret, { label: t("data.key.secret") }),
			h("p", { class: "faint" }, t("data.key.until", { at: fmt.instant(made.expires_at) }))),
		actions: [button(t("data.key.kept"), { kind: "primary", onClick: () => box.close() })],
		onClose: () => box.element.replaceChildren(),
	});
	box.open();
}
