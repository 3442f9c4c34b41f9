// Each event, to be searched and filtered, and one purchase's life.

import { eventColumns, eventLabel } from "../events.js";
import { noData } from "../parts.js";
import { openPurchase } from "../purchase.js";
import { cardLike } from "../router.js";
import { button, card, clear, dialog, download, empty, failure, field, h, input, menu, page, put, search, select, skeleton, table, toast } from "../ui.js";

// spoken are the filters that may be in the address; bin and last4 stay in memory.
const spoken = ["text", "type", "approved", "reason", "code", "channel", "entry_mode", "country", "currency", "mcc", "network", "product", "min_amount", "max_amount", "merchant", "customer", "sort"];
const unspoken = ["bin", "last4", "card"];
const choices = {
	type: ["authorization", "reversal", "clearing", "refund", "chargeback"],
	channel: ["pos", "ecommerce", "atm", "phone"],
	entry_mode: ["chip", "contactless", "magstripe", "manual", "ecommerce", "fallback", "unknown"],
	product: ["prepaid", "debit", "credit"],
	network: ["visa", "mastercard"],
};
const terms = { type: "type", channel: "channel", entry_mode: "entry", product: "product", network: "network" };

export default {
	name: "transactions", title: "transactions.title", uses: { compare: false },
	render(ctx) {
		const { t, fmt } = ctx;
		const kept = ctx.memory.get("transactions") ?? {};
		const filters = Object.fromEntries([...spoken.map((n) => [n, ctx.params.get(n) ?? ""]), ...unspoken.map((n) => [n, kept.tenant === ctx.tenant ? kept[n] ?? "" : ""])]);
		const list = h("div"), sums = h("div", { class: "totals", role: "status" }), chips = h("div", { class: "filter-chips" });
		let turn = 0, asked = null;

		const args = (more = {}) => ({ ...filters, sort: ["largest", "smallest"].includes(filters.sort) && !filters.currency ? "" : filters.sort, ...more });

		function set(changes) {
			if (Object.values(changes).some(cardLike)) {
				toast(t("app.cardNumber"), { tone: "warn" });
				return;
			}
			Object.assign(filters, changes);
			ctx.memory.set("transactions", { tenant: ctx.tenant, ...Object.fromEntries(unspoken.map((n) => [n, filters[n]])) });
			ctx.setParams(Object.fromEntries(spoken.map((n) => [n, filters[n]])));
			bar();
			load();
		}

		async function load() {
			const mine = ++turn;
			asked?.abort();
			asked = new AbortController();
			const signal = AbortSignal.any([ctx.signal, asked.signal]);
			if (!list.firstChild) put(list, skeleton("table"));
			list.setAttribute("aria-busy", "true");
			const { sort, ...counted } = args();
			ctx.figure("transactions-total", counted, { signal }).then((data) => mine === turn && showSums(data), (err) => err.kind !== "aborted" && mine === turn && clear(sums));
			try {
				const data = await ctx.figure("transactions", args(), { signal });
				if (mine === turn) show(data);
			} catch (err) {
				if (mine === turn && err.kind !== "aborted") put(list, failure(err, { retry: load }));
			} finally {
				if (mine === turn) list.removeAttribute("aria-busy");
			}
		}

		function show(data) {
			let next = data.next;
			const filtered = [...spoken, ...unspoken].some((n) => n !== "sort" && filters[n]);
			ctx.memory.set("transactions-sql", data.sql);
			if (data.rows.length === 0) {
				put(list, filtered ? empty({ icon: "filter", title: t("app.noData.filtered"), text: t("app.noData.filteredText"), action: button(t("transactions.clear"), { onClick: () => reset() }) }) : empty(noData(ctx)));
				return;
			}
			put(list, table({
				columns: eventColumns(), rows: data.objects, caption: t("transactions.caption"), dense: true, more: Boolean(next),
				onMore: async () => {
					const more = await ctx.figure("transactions", args({ cursor: next }));
					next = more.next;
					return { rows: more.objects, more: Boolean(next) };
				},
				rowKey: (row) => row.event_id, rowLabel: eventLabel, onRow: (row) => open(row.transaction_id, row.event_time),
			}));
		}

		function showSums(data) {
			const events = data.objects.reduce((n, r) => n + r.events, 0), approved = data.objects.reduce((n, r) => n + r.approved, 0);
			const money = data.objects.slice(0, 3).filter((r) => r.approved_amount !== null).map((r) => fmt.money(r.approved_amount, r.currency, { digits: 0 })).join(" · ");
			put(sums, h("strong", { class: "num" }, t("transactions.found", { n: events })),
				events > 0 && h("span", null, t("transactions.foundApproved", { n: fmt.count(approved), share: fmt.percent(approved / events) })),
				money && h("span", { class: "num" }, t("transactions.foundMoney", { money }), data.objects.length > 3 && ` +${data.objects.length - 3}`));
		}

		function open(id, near) {
			ctx.setParams({ purchase: id });
			openPurchase(ctx, id, { near, closed: () => !ctx.signal.aborted && ctx.setParams({ purchase: null }) });
		}

		function reset() {
			set(Object.fromEntries([...spoken, ...unspoken].map((n) => [n, ""])));
			find.querySelector("input").value = "";
		}

		const find = search({ label: t("transactions.search"), placeholder: t("transactions.search"), value: filters.text, maxlength: 64, onInput: (v) => set({ text: v.trim() }) });
		const quick = h("div", { class: "filters" });

		function choice(name) {
			return select({
				label: t(`transactions.${name}`), value: filters[name], onChange: (v) => set({ [name]: v }),
				options: [{ value: "", label: t(`transactions.any.${name}`) }, ...choices[name].map((v) => ({ value: v, label: t.term(terms[name], v) }))],
			});
		}

		// bar draws the filters anew, but for the one that is being written in.
		function bar() {
			put(quick, choice("type"),
				select({ label: t("transactions.outcome"), value: filters.approved, onChange: (v) => set({ approved: v }), options: [{ value: "", label: t("transactions.any.approved") }, { value: "true", label: t("transactions.approved") }, { value: "false", label: t("transactions.declined") }] }),
				choice("channel"),
				button(t("transactions.moreFilters"), { icon: "filter", onClick: () => more(), busyWhile: false }));
			const active = [...spoken, ...unspoken].filter((n) => filters[n] && !["text", "type", "approved", "channel", "sort"].includes(n));
			put(chips, active.map((n) => h("span", { class: "filter-chip" }, h("span", { class: "faint" }, t(`transactions.filter.${n}`)), h("span", null, told(n)),
				button(t("transactions.without", { filter: t(`transactions.filter.${n}`) }), { icon: "close", iconOnly: true, kind: "quiet", small: true, onClick: () => set({ [n]: "" }) }))),
				(active.length > 0 || filters.type || filters.approved || filters.channel || filters.text) && button(t("transactions.clear"), { kind: "quiet", small: true, onClick: reset }));
		}

		function told(n) {
			const v = filters[n];
			if (terms[n]) return t.term(terms[n], v);
			if (n === "country") return fmt.country(v);
			if (n === "mcc") return fmt.mcc(v);
			if (n === "code") return t.has(`terms.code.${v}`) ? t.term("code", v) : v;
			if (n === "reason") return t.term("reason", v);
			if (n === "last4") return fmt.card(v);
			if (n === "card") return fmt.token(v);
			return v;
		}

		// more opens the filters that are needed less often.
		function more() {
			const line = (name, extra = {}) => input({ value: filters[name], name, ...extra });
			const fields = {
				min_amount: line("min_amount", { inputmode: "decimal", pattern: "[0-9]+([.][0-9]+)?", maxlength: 16 }), max_amount: line("max_amount", { inputmode: "decimal", pattern: "[0-9]+([.][0-9]+)?", maxlength: 16 }),
				currency: line("currency", { maxlength: 3, pattern: "[A-Za-z]{3}", placeholder: ctx.record?.currency ?? "USD" }), country: line("country", { maxlength: 2, pattern: "[A-Za-z]{2}", placeholder: ctx.record?.country ?? "BR" }),
				mcc: line("mcc", { maxlength: 4, inputmode: "numeric", pattern: "[0-9]{4}", placeholder: "5411" }), code: line("code", { maxlength: 3, pattern: "[0-9A-Za-z]{2,3}", placeholder: "51" }),
				bin: line("bin", { maxlength: 8, inputmode: "numeric", pattern: "[0-9]{6}|[0-9]{8}" }), last4: line("last4", { maxlength: 4, inputmode: "numeric", pattern: "[0-9]{4}" }),
			};
			const picks = Object.fromEntries(["entry_mode", "network", "product"].map((name) => [name, select({ name, value: filters[name], options: [{ value: "", label: t(`transactions.any.${name}`) }, ...choices[name].map((v) => ({ value: v, label: t.term(terms[name], v) }))] })]));
			const sort = select({ name: "sort", value: filters.sort || "newest", options: ["newest", "oldest", "largest", "smallest"].map((v) => ({ value: v, label: t(`transactions.sort.${v}`) })) });
			const row = (...names) => h("div", { class: "fields-row" }, names.map((n) => field({ label: t(`transactions.filter.${n}`), control: fields[n] ?? picks[n] ?? sort, hint: ["bin", "last4"].includes(n) ? t("transactions.notInAddress") : n === "sort" ? t("transactions.sortHint") : null })));
			const form = h("form", { class: "fields", on: { submit: (e) => { e.preventDefault(); apply() && d.close(); } } },
				row("min_amount", "max_amount", "currency"), row("country", "mcc", "code"), row("entry_mode", "network", "product"), row("bin", "last4"), row("sort"), h("button", { type: "submit", hidden: true }));
			const apply = () => {
				if (!form.reportValidity()) return false;
				const got = Object.fromEntries([...Object.entries(fields).map(([n, f]) => [n, f.value.trim()]), ...Object.entries(picks).map(([n, s]) => [n, s.querySelector("select").value])]);
				const order = sort.querySelector("select").value;
				set({ ...got, currency: got.currency.toUpperCase(), country: got.country.toUpperCase(), sort: order === "newest" ? "" : order });
				return true;
			};
			const d = dialog({ title: t("transactions.moreFilters"), wide: true, body: form, actions: [{ label: t("app.cancel") }, { label: t("app.apply"), kind: "primary", onClick: apply }] });
			d.open();
		}

		async function csv() {
			try {
				const { sort, ...rest } = args();
				const file = await ctx.api.csv("transactions", { tenant: ctx.tenant, from: ctx.range.from, to: ctx.range.to, ...rest, limit: 500 }, { signal: ctx.signal });
				download(`cardlake_${ctx.tenant}_transactions_${ctx.range.from}_${ctx.range.to}.csv`, file.blob, "text/csv");
			} catch (err) {
				if (err.kind !== "aborted") toast(t("transactions.csvFailed"), { tone: "bad" });
			}
		}

		const actions = menu(button(t("transactions.menu"), { icon: "more", iconOnly: true }), [
			{ label: t("transactions.csv"), icon: "download", onSelect: csv },
			{ label: t("transactions.export"), icon: "data", href: ctx.href("/data") },
			{ label: t("transactions.sql"), icon: "sql", onSelect: () => { ctx.memory.set("sql", { statement: ctx.memory.get("transactions-sql"), tenant: ctx.tenant, from: t("transactions.title") }); ctx.go("/sql"); } },
		]);

		bar();
		load();
		const asOf = ctx.params.get("purchase");
		if (asOf) queueMicrotask(() => open(asOf));

		// What comes in is offered, not pushed under somebody's eyes.
		const fresh = h("div", { class: "fresh", role: "status" });
		let since = 0;
		ctx.live.subscribe((event) => {
			if (event.type !== "snapshot" || !ctx.range.includesToday || ++since < 2) return;
			put(fresh, button(t("transactions.newer"), { icon: "refresh", small: true, onClick: () => { clear(fresh); return load(); } }));
		}, { signal: ctx.signal });

		return page({ title: t("transactions.title"), subtitle: t("transactions.subtitle"), actions: [fresh, actions] },
			card({ flush: true, class: "transactions" }, h("div", { class: "toolbar" }, find, quick), chips, sums, list));
	},
};
