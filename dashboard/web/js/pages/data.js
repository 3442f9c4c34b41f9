// The data page: what there is, and how it is taken away.

import { failure, page, put, skeleton, tabs, h } from "../ui.js";

// panels are loaded when they are looked at.
const panels = {
	products: () => import("../data/products.js"),
	dictionary: () => import("../data/dictionary.js"),
	exports: () => import("../data/exports.js"),
	notify: () => import("../data/notify.js"),
	keys: () => import("../data/keys.js"),
	connect: () => import("../data/connect.js"),
};

export default {
	name: "data",
	title: "data.title",
	uses: { tenant: true, range: false, compare: false },

	async render(ctx) {
		const { t } = ctx;
		let shown = new AbortController();
		const show = (id) => {
			shown.abort();
			shown = new AbortController();
			const inner = { ...ctx, signal: AbortSignal.any([ctx.signal, shown.signal]) };
			const place = h("div", { class: "data-panel", "aria-busy": "true" }, skeleton("list"));
			const load = async () => {
				try {
					const panel = await (await panels[id]()).default(inner);
					if (!inner.signal.aborted) put(place, panel);
				} catch (err) {
					if (!inner.signal.aborted) put(place, failure(err, { retry: load }));
				} finally {
					place.removeAttribute("aria-busy");
				}
			};
			load();
			return place;
		};
		const selected = ctx.params.get("tab") in panels ? ctx.params.get("tab") : "products";
		return {
			node: page({ title: t("data.title"), subtitle: t("data.subtitle") }, tabs({
				label: t("data.title"), selected,
				items: Object.keys(panels).map((id) => ({ id, label: t(`data.tab.${id}`), render: () => show(id) })),
				onChange: (id) => ctx.setParams({ tab: id, name: null }),
			})),
			dispose: () => shown.abort(),
		};
	},
};
