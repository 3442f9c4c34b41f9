// Connecting programs: what to install and to write, with this server's addresses in it.

import { card, code, copyButton, facts, h, link, note, tabs } from "../ui.js";
import { flight, origin, snippets } from "./snippets.js";

export default async function connect(ctx) {
	const { t, me } = ctx;
	const f = flight(me);
	const address = (text) => h("span", { class: "address" }, h("code", null, text), copyButton(text));
	const all = snippets(me);
	return h("div", { class: "stack" },
		card({ title: t("data.connect.addresses") },
			facts([
				["HTTP", address(origin())],
				["Arrow Flight SQL", [address(f.url), !f.isTold && h("span", { class: "faint" }, t("data.connect.flight.guess"))]],
				["JDBC", address(`jdbc:arrow-flight-sql://${f.host}`)],
				["OpenAPI", h("a", { href: "/v1/openapi.json", download: "cardlake-openapi.json" }, `${origin()}/v1/openapi.json`)],
			])),
		note([t("data.connect.token"), " ", link(ctx.href("/data?tab=keys"), t("data.tab.keys"))], "info"),
		card(null, tabs({
			label: t("data.tab.connect"), selected: all[0].id,
			items: all.map((s) => ({
				id: s.id, label: t(`data.connect.${s.id}`), render: () => h("div", { class: "stack" },
					h("p", null, t(`data.connect.${s.id}.text`)),
					s.packages && code(s.packages, { label: t("data.connect.install") }),
					code(s.code, { label: t(`data.connect.${s.id}`) })),
			})),
		})));
}
