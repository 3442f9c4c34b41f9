// Anomalies: the queue of alerts, why each is one, and what the tenant says of it.

import { buckets } from "../chart.js";
import { figure } from "../figure.js";
import { insights, numbered, parsed } from "../insights.js";
import { feature, featureValue, reasons } from "../phrases.js";
import { announce, badge, bar, button, checkbox, copyButton, dialog, drawer, empty, facts, failure, field, grid, h, icon, kpi, link, note, put, segmented, select, skeleton, textarea, toast } from "../ui.js";

const severities = ["critical", "high", "medium", "low"];
const patterns = ["stolen_card", "impossible_travel", "card_testing", "compromised_terminal", "unusual"];
const statuses = ["open", "confirmed", "dismissed"];
const tones = { critical: "bad", high: "bad", medium: "warn", low: "neutral" };
const drawn = { critical: "bad", high: "2", medium: "4", low: "muted" };
const decided = { open: "info", confirmed: "bad", dismissed: "neutral" };

export default { name: "anomalies", title: "anomalies.title", uses: { compare: false }, render: (ctx) => insights("anomaly", ctx, (run) => new Anomalies(ctx, run).parts()) };

class Anomalies {
	constructor(ctx, run) {
		const p = ctx.params;
		const one = (name, values, fallback) => values.includes(p.get(name)) ? p.get(name) : fallback;
		Object.assign(this, { ctx, run, rows: [], next: null, shown: p.get("alert") ?? "", panel: h("div", { class: "alert-panel" }) });
		this.filter = {
			status: p.get("status") === "all" ? "" : one("status", statuses, "open"), severity: one("severity", severities, ""),
			pattern: one("pattern", patterns, ""), sort: one("sort", ["newest", "score"], "score"),
		};
		this.mayReview = (ctx.me.actions?.review ?? []).includes(ctx.tenant);
		document.addEventListener("keydown", (e) => this.press(e), { signal: ctx.signal });
	}

	parts() {
		const { ctx } = this;
		const { t } = ctx;
		put(this.panel, this.nothing());
		this.totals = figure({ name: "alert-totals", title: t("anomalies.totals"), bare: true, level: 2, content: (data) => this.numbers(data.objects), isEmpty: () => false }, ctx);
		this.queue = figure({
			name: "alerts", title: t("anomalies.queue"), params: { ...this.filter, limit: 50 }, live: false, isEmpty: () => false,
			content: (data) => this.list(data), onData: (data) => this.take(data),
		}, ctx);
		this.queue.classList.add("alert-queue");
		this.charts = grid({ columns: 2 }, this.byDay(), this.byPattern(), this.precision(), this.reviews());
		return {
			content: [this.totals, this.filters(), h("div", { class: "alerts" }, this.queue, h("section", { class: "card alert-detail", "aria-label": t("anomalies.detail"), tabindex: "-1" }, this.panel)), this.charts],
		};
	}

	// numbers are what matters of all alerts in the range.
	numbers(rows) {
		const { t, fmt, record } = this.ctx;
		const sum = (field, keep) => rows.filter(keep).reduce((a, r) => a + Number(r[field] ?? 0), 0);
		const open = sum("alerts", (r) => r.status === "open");
		const urgent = sum("alerts", (r) => r.status === "open" && (r.severity === "critical" || r.severity === "high"));
		const confirmed = sum("alerts", (r) => r.status === "confirmed"), dismissed = sum("alerts", (r) => r.status === "dismissed");
		const own = sum("approved_amount", (r) => r.status === "open" && r.currency === record.currency);
		const others = new Set(rows.filter((r) => r.status === "open" && Number(r.approved_amount) > 0 && r.currency !== record.currency).map((r) => r.currency));
		return grid({ columns: "kpi" },
			kpi({ label: t("anomalies.open"), value: fmt.count(open), hint: t("anomalies.urgent", { n: urgent }) }),
			kpi({ label: t("anomalies.atRisk"), value: fmt.money(own, record.currency), hint: others.size > 0 ? t("anomalies.atRiskOthers", { list: [...others].join(", ") }) : t("anomalies.atRiskHint") }),
			kpi({ label: t("anomalies.reviewed"), value: fmt.count(confirmed + dismissed), hint: t("anomalies.reviewedHint", { confirmed, dismissed }) }),
			kpi({
				label: t("anomalies.precision"), value: confirmed + dismissed > 0 ? fmt.percent(confirmed / (confirmed + dismissed), 0) : "–",
				hint: confirmed + dismissed > 0 ? t("anomalies.precisionHint") : t("anomalies.precisionNone"),
			}));
	}

	filters() {
		const { t } = this.ctx;
		const choose = (name, fallback) => (value) => {
			this.filter[name] = value;
			this.ctx.setParams({ [name]: value === "" && name === "status" ? "all" : value === fallback ? null : value, alert: null });
			this.shown = "";
			this.queue.reload(this.filter);
		};
		const all = (key, prefix, values) => [{ value: "", label: t(key) }, ...values.map((v) => ({ value: v, label: t(`${prefix}.${v}`) }))];
		return h("div", { class: "filters", role: "group", "aria-label": t("anomalies.filters") },
			segmented({ label: t("anomalies.status"), value: this.filter.status, options: [...statuses.map((v) => ({ value: v, label: t(`anomalies.statuses.${v}`) })), { value: "", label: t("anomalies.statuses.all") }], onChange: choose("status", "open") }),
			select({ name: "severity", label: t("anomalies.severity"), value: this.filter.severity, options: all("anomalies.everySeverity", "anomalies.severities", severities), onChange: choose("severity", "") }),
			select({ name: "pattern", label: t("anomalies.pattern"), value: this.filter.pattern, options: all("anomalies.everyPattern", "anomalies.patterns", patterns), onChange: choose("pattern", "") }),
			select({ name: "sort", label: t("anomalies.sort"), value: this.filter.sort, options: ["score", "newest"].map((v) => ({ value: v, label: t(`anomalies.sorts.${v}`) })), onChange: choose("sort", "score") }),
			h("div", { class: "keys" }, checkbox({ label: t("anomalies.keys"), checked: !this.ctx.memory.get("keys off"), onChange: (on) => this.ctx.memory.set("keys off", !on) }),
				(this.mayReview ? [["j", "k", "anomalies.keys.move"], ["c", "anomalies.keys.confirm"], ["d", "anomalies.keys.dismiss"]] : [["j", "k", "anomalies.keys.move"]]).map(keyHint(t))));
	}

	take(data) {
		this.rows = data.objects;
		this.next = data.next;
		if (!this.rows.some((r) => r.alert_id === this.shown) && !this.shown) this.shown = this.rows[0]?.alert_id ?? "";
		queueMicrotask(() => this.look(this.shown, { quiet: true }));
	}

	list() {
		const { ctx } = this;
		const { t } = ctx;
		if (this.rows.length === 0) {
			return empty({
				icon: "check", compact: true, title: t("anomalies.none"), text: t(this.filter.status === "open" ? "anomalies.noneOpen" : "anomalies.noneSo"),
				action: button(t("anomalies.longer"), { small: true, onClick: () => ctx.go("/anomalies?range=90d&status=all") }),
			});
		}
		this.items = h("ul", { class: "alert-list" }, this.rows.map((r) => this.item(r)));
		const more = h("div", { class: "table-foot" });
		const offer = () => put(more, this.next && button(t("app.more"), {
			kind: "quiet",
			onClick: async () => {
				const data = await ctx.figure("alerts", { ...this.filter, limit: 50, cursor: this.next });
				this.next = data.next;
				this.rows.push(...data.objects);
				this.items.append(...data.objects.map((r) => this.item(r)));
				offer();
			},
		}));
		offer();
		return h("div", null, this.items, more);
	}

	item(r) {
		const { t, fmt } = this.ctx;
		return h("li", null, h("button", {
			class: "alert-item", type: "button", dataset: { alert: r.alert_id }, "aria-current": r.alert_id === this.shown ? "true" : null,
			on: { click: () => this.look(r.alert_id) },
		},
		h("span", { class: "alert-top" }, severity(r, t), h("span", { class: "alert-pattern" }, t(`anomalies.patterns.${r.pattern}`)), r.status !== "open" && badge(t(`anomalies.state.${r.status}`), decided[r.status]), h("span", { class: "alert-amount" }, fmt.money(r.amount, r.currency))),
		h("span", { class: "alert-why" }, reasons(r.reasons)[0]),
		h("span", { class: "alert-sub" }, h("span", null, fmt.instant(r.event_time)), h("span", null, r.merchant_country ? fmt.country(r.merchant_country) : fmt.mcc(r.mcc)), h("span", { class: "mono" }, fmt.token(r.card_token)), h("span", { class: "alert-score" }, t("anomalies.scored", { score: fmt.percent(r.score, 2) })))));
	}

	nothing() {
		const { t } = this.ctx;
		return empty({ icon: "anomalies", compact: true, title: t("anomalies.choose"), text: t("anomalies.chooseText") });
	}

	// look shows an alert beside the queue, or above it where there is no room.
	look(id, { quiet = false } = {}) {
		const { ctx } = this;
		const { t } = ctx;
		for (const b of this.items?.querySelectorAll(".alert-item") ?? []) {
			if (b.dataset.alert === id) b.setAttribute("aria-current", "true");
			else b.removeAttribute("aria-current");
		}
		this.shown = id;
		if (!id) {
			put(this.panel, this.nothing());
			return;
		}
		if (!quiet) ctx.setParams({ alert: id });
		const narrow = matchMedia("(max-width: 1080px)").matches;
		if (narrow && quiet) return;
		this.ending?.abort();
		this.ending = new AbortController();
		ctx.signal.addEventListener("abort", () => this.ending.abort(), { once: true });
		const within = { ...ctx, signal: this.ending.signal };
		const body = h("div", { class: "alert-body" }, skeleton("list"));
		if (narrow) {
			this.sheet?.close();
			this.sheet = drawer({ title: t("anomalies.detail"), body, onClose: () => (this.sheet = null) });
			this.sheet.open();
		} else {
			put(this.panel, body);
		}
		this.fill(body, id, within).catch((err) => {
			if (err.kind !== "aborted") put(body, failure(err, { compact: true, retry: () => this.look(id) }));
		});
	}

	async fill(body, id, ctx) {
		const { t, fmt } = ctx;
		const known = this.rows.find((r) => r.alert_id === id);
		if (known) put(body, this.head(known), this.reasons(known));
		const r = (await ctx.figure("alert", { alert: id }, { signal: ctx.signal })).objects[0];
		if (!r) return put(body, empty({ icon: "search", compact: true, title: t("anomalies.gone"), text: t("anomalies.goneText") }));
		const days = 86400e3, at = Date.parse(r.event_time);
		put(body, this.head(r), this.reasons(r), this.features(r),
			figure({
				name: "alert-events", title: t("anomalies.around"), bare: true, params: { card: r.card_token, at: r.event_time, limit: 100 }, live: false,
				range: { from: new Date(at - 7 * days).toISOString().slice(0, 10), to: new Date(at + 2 * days).toISOString().slice(0, 10) },
				table: () => ({
					dense: true, selectedKey: r.event_id, rowKey: (e) => e.event_id, columns: [
						{ key: "event_time", label: t("anomalies.when"), format: (v) => fmt.instant(v) },
						{ key: "merchant_name", label: t("anomalies.merchant"), class: "wrap", format: (v, e) => h("span", null, v ?? e.merchant_id, h("span", { class: "alert-under" }, [t.term("channel", e.channel), e.merchant_country && fmt.country(e.merchant_country)].filter(Boolean).join(" · "))) },
						{ key: "amount", label: t("anomalies.amount"), align: "end", format: (v, e) => fmt.money(v, e.currency) },
						{ key: "approved", label: t("anomalies.answer"), format: (v) => v ? badge(t("anomalies.approved"), "good") : badge(t("anomalies.declined"), "bad") },
					],
				}),
			}, ctx), this.history(r));
	}

	head(r) {
		const { t, fmt, href } = this.ctx;
		return h("div", { class: "alert-head" },
			h("div", { class: "alert-title" }, severity(r, t), h("h2", null, t(`anomalies.patterns.${r.pattern}`)), badge(t(`anomalies.state.${r.status}`), decided[r.status])),
			h("p", { class: "alert-money" }, h("strong", null, fmt.money(r.amount, r.currency)), " ", r.approved ? badge(t("anomalies.approved"), "good", { icon: "check" }) : badge(t("anomalies.declined"), "bad", { icon: "close" })),
			this.actions(r),
			facts([
				[t("anomalies.when"), `${fmt.instant(r.event_time, { seconds: true })} ${fmt.zone(r.event_time)}`],
				[t("anomalies.score"), [t("anomalies.scoreText", { score: fmt.percent(r.score, 2) }), r.probability !== null && r.probability !== undefined && ` · ${t("anomalies.probability", { p: fmt.percent(r.probability, 0) })}`]],
				[t("anomalies.card"), h("span", { class: "token" }, h("span", { class: "mono" }, fmt.token(r.card_token)), copyButton(r.card_token, t("anomalies.copyCard")))],
				[t("anomalies.merchant"), r.merchant_id ? link(href(`/merchants?merchant=${encodeURIComponent(r.merchant_id)}`), r.merchant_id) : null],
				[t("anomalies.category"), fmt.mcc(r.mcc)],
				[t("anomalies.place"), [t.term("channel", r.channel), r.merchant_country && ` · ${fmt.country(r.merchant_country)}`]],
				[t("anomalies.purchase"), link(href(`/transactions?purchase=${encodeURIComponent(r.transaction_id)}`), t("anomalies.openPurchase"))],
			], { columns: 2 }));
	}

	actions(r) {
		const { t } = this.ctx;
		if (!this.mayReview) return note(t("anomalies.mayNot"));
		return h("div", { class: "alert-actions" },
			button(t("anomalies.confirm"), { kind: r.status === "confirmed" ? "default" : "danger", icon: "warning", disabled: r.status === "confirmed", onClick: () => this.review(r, "confirm", "") }),
			button(t("anomalies.dismiss"), { icon: "close", disabled: r.status === "dismissed", busyWhile: false, onClick: () => this.dismiss(r) }));
	}

	reasons(r) {
		const { t } = this.ctx;
		return h("div", { class: "alert-part" }, h("h3", null, t("anomalies.why")), h("ol", { class: "alert-reasons" }, reasons(r.reasons).map((s) => h("li", null, s))));
	}

	// features are bars of how much each has added.
	features(r) {
		const { t, fmt } = this.ctx;
		const list = parsed(r.features, []).filter((f) => f.weight > 0);
		if (list.length === 0) return null;
		const most = Math.max(...list.map((f) => f.weight));
		return h("div", { class: "alert-part" }, h("h3", null, t("anomalies.features")),
			h("ul", { class: "alert-features" }, list.map((f) => h("li", null,
				h("span", { class: "alert-feature" }, feature(f.name)), h("span", { class: "num" }, featureValue(f.name, f.value, r.currency)), bar(f.weight / most, { label: t("anomalies.weight", { weight: fmt.number(f.weight, 2) }) })))),
			h("p", { class: "figure-note" }, t("anomalies.featuresNote")));
	}

	history(r) {
		const { t, fmt } = this.ctx;
		return h("div", { class: "alert-part" }, h("h3", null, t("anomalies.history")),
			h("ul", { class: "alert-history" },
				r.reviewed_at && h("li", null, badge(t(`anomalies.state.${r.status}`), decided[r.status]), h("span", null, t("anomalies.by", { who: r.reviewer ?? "–", at: fmt.instant(r.reviewed_at) }), r.note && h("q", null, r.note))),
				h("li", null, badge(t("anomalies.raised"), "neutral"), h("span", null, t("anomalies.raisedBy", { at: fmt.instant(this.run.published_at) })))));
	}

	async review(r, decision, text) {
		const { ctx } = this;
		const { t } = ctx;
		this.busy = true;
		try {
			await ctx.api.post(`/alerts/${encodeURIComponent(r.alert_id)}/review`, { tenant: ctx.tenant, decision, note: text }, { signal: ctx.signal });
		} finally {
			this.busy = false;
		}
		const said = t(decision === "confirm" ? "anomalies.confirmed" : "anomalies.dismissed");
		toast(said, { tone: "good", seconds: 4 });
		announce(said);
		const at = this.rows.findIndex((x) => x.alert_id === r.alert_id);
		const next = this.rows.slice(at + 1).find((x) => x.status === "open") ?? this.rows.slice(0, Math.max(0, at)).find((x) => x.status === "open");
		const stays = this.filter.status === "" || !next;
		this.shown = stays ? r.alert_id : next.alert_id;
		this.sheet?.close();
		ctx.setParams({ alert: this.shown });
		await Promise.all([this.queue, this.totals, ...this.charts.children].map((f) => f.reload?.()));
	}

	dismiss(r) {
		const { t } = this.ctx;
		const text = textarea({ name: "note", rows: 3, maxlength: 500, required: true });
		const fault = h("p", { class: "field-error", role: "alert" });
		const send = async () => {
			if (text.value.trim() === "") {
				put(fault, icon("error", { size: 14 }), t("anomalies.noteNeeded"));
				text.focus();
				return false;
			}
			if (numbered(text.value)) {
				put(fault, icon("error", { size: 14 }), t("insights.noNumbers"));
				text.focus();
				return false;
			}
			try {
				await this.review(r, "dismiss", text.value.trim());
			} catch (err) {
				put(fault, icon("error", { size: 14 }), err.status === 400 || err.status === 422 ? err.detail : t("anomalies.failed"));
				return false;
			}
		};
		dialog({
			title: t("anomalies.dismissTitle"),
			body: h("div", null, h("p", null, t("anomalies.dismissText")),
				h("div", { class: "alert-quick" }, ["cardholder", "merchant", "travel"].map((k) => button(t(`anomalies.because.${k}`), {
					small: true,
					onClick: () => {
						text.value = t(`anomalies.because.${k}`);
						text.focus();
					},
				}))), field({ label: t("anomalies.note"), hint: t("anomalies.noteHint"), control: text }), fault),
			actions: [{ label: t("app.cancel") }, { label: t("anomalies.dismiss"), kind: "primary", onClick: send }],
		}).open();
		text.focus();
	}

	press(e) {
		// Who speaks to the computer wants single keys off (WCAG 2.2, 2.1.4).
		if (this.ctx.memory.get("keys off") || e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || e.target.closest?.("input,select,textarea,[role=menu],[contenteditable=true],.chart-plot")) return;
		const modal = document.querySelector("dialog[open]");
		if (modal && modal !== this.sheet?.element) return;
		const at = this.rows.findIndex((r) => r.alert_id === this.shown);
		const step = { j: 1, k: -1 }[e.key];
		if (step) {
			const to = this.rows[Math.max(0, Math.min(this.rows.length - 1, at + step))];
			if (!to) return;
			e.preventDefault();
			this.look(to.alert_id);
			const b = this.items.querySelector(`[data-alert="${to.alert_id}"]`);
			b?.focus({ preventScroll: true });
			b?.scrollIntoView({ block: "nearest" });
			return;
		}
		// A key that is held down decides nothing.
		const r = this.rows[at];
		if (!r || !this.mayReview || this.busy || e.repeat) return;
		if (e.key === "c" && r.status !== "confirmed") {
			e.preventDefault();
			this.review(r, "confirm", "").catch((err) => err.kind === "aborted" || toast(this.ctx.t("anomalies.failed"), { tone: "bad" }));
		} else if (e.key === "d" && r.status !== "dismissed") {
			e.preventDefault();
			this.dismiss(r);
		}
	}

	byDay() {
		const { ctx } = this;
		const { t } = ctx;
		return figure({
			name: "alerts-by-day", title: t("anomalies.byDay"), height: 220, empty: t("anomalies.noneSo"),
			chart: (data) => {
				const range = { ...ctx.range, grain: "day" };
				const of = (s) => {
					const byDay = new Map();
					for (const r of data.objects) if (r.severity === s) byDay.set(r.day, (byDay.get(r.day) ?? 0) + Number(r.alerts));
					return buckets(range, [...byDay].map(([day, alerts]) => ({ day, alerts })), "day", { missing: 0 });
				};
				const all = severities.filter((s) => data.objects.some((r) => r.severity === s));
				return {
					type: "bars", stacked: true, x: { values: of(all[0]).at, kind: "day" }, y: { format: ctx.fmt.count },
					series: all.reverse().map((s) => ({ name: t(`anomalies.severities.${s}`), values: of(s).of("alerts"), tone: drawn[s] })),
				};
			},
		}, ctx);
	}

	byPattern() {
		const { ctx } = this;
		const { t } = ctx;
		return figure({
			name: "alerts-by-pattern", title: t("anomalies.byPattern"), empty: t("anomalies.noneSo"),
			chart: (data) => ({
				type: "bars", horizontal: true, stacked: true, x: { values: data.objects.map((r) => t(`anomalies.patterns.${r.pattern}`)), kind: "text", label: t("anomalies.pattern") }, y: {},
				series: [["open", "accent"], ["confirmed", "bad"], ["dismissed", "muted"]].map(([s, tone]) => ({ name: t(`anomalies.statuses.${s}`), tone, values: data.objects.map((r) => r[s]) })),
			}),
		}, ctx);
	}

	precision() {
		const { ctx } = this;
		const { t, fmt } = ctx;
		return figure({
			name: "alerts-by-pattern", title: t("anomalies.precisionBy"), subtitle: t("anomalies.precisionText"),
			isEmpty: (data) => !data.objects.some((r) => r.precision !== null && r.precision !== undefined), empty: { title: t("anomalies.noReviews"), text: t("anomalies.noReviewsText") },
			chart: (data) => {
				const rows = data.objects.filter((r) => r.precision !== null && r.precision !== undefined);
				const reviewed = (r) => Number(r.confirmed) + Number(r.dismissed);
				return {
					type: "bars", horizontal: true, x: { values: rows.map((r) => `${t(`anomalies.patterns.${r.pattern}`)} (${fmt.count(reviewed(r))})`), kind: "text", label: t("anomalies.pattern") },
					y: { percent: true, max: 1, format: (v) => fmt.percent(v, 0) }, series: [{ name: t("anomalies.precision"), values: rows.map((r) => r.precision) }],
				};
			},
		}, ctx);
	}

	reviews() {
		const { ctx } = this;
		const { t, fmt } = ctx;
		return figure({
			name: "alert-reviews", title: t("anomalies.reviews"), empty: { title: t("anomalies.noReviews"), text: t("anomalies.noReviewsText") },
			table: () => [
				{ key: "day", label: t("anomalies.day"), format: fmt.day }, { key: "reviewer", label: t("anomalies.reviewer") },
				{ key: "confirmed", label: t("anomalies.statuses.confirmed"), align: "end", format: (v) => fmt.count(v) },
				{ key: "dismissed", label: t("anomalies.statuses.dismissed"), align: "end", format: (v) => fmt.count(v) },
			],
		}, ctx);
	}
}

function severity(r, t) {
	const shapes = { critical: "error", high: "warning", medium: "warning", low: "info" };
	return badge(t(`anomalies.severities.${r.severity}`), tones[r.severity] ?? "neutral", { icon: shapes[r.severity] ?? "info" });
}

const keyHint = (t) => (keys) => h("span", null, keys.slice(0, -1).map((k) => h("kbd", null, k)), t(keys.at(-1)));
