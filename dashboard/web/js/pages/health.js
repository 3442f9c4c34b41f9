// The health page: how the lake is, for who keeps it running, and what to do where it is not well.

import { badge, bar, button, card, empty, facts, grid, h, icon, kpi, note, page, put, table } from "../ui.js";

const refreshEvery = 15_000; // milliseconds

// looks are a condition's icon and tone: no condition is told by its colour alone.
const looks = { ok: ["check", "good"], unknown: ["info", "neutral"], attention: ["warning", "warn"], failing: ["error", "bad"] };
const order = ["failing", "attention", "unknown", "ok"];

// runbooks are what to follow, in docs/runbooks, by part.
const runbooks = {
	tables: "many-small-files", stream: "worker-does-not-commit", workers: "worker-does-not-commit", reconciliation: "worker-does-not-commit",
	rejected: "records-are-rejected", keys: "keys-are-due", audit: "audit-log-is-broken",
};
const parts = ["stream", "workers", "tables", "reconciliation", "rejected", "keys", "jobs", "maintenance", "audit", "engine"];

export default {
	name: "health",
	title: "health.title",
	uses: { tenant: false, range: false, compare: false },

	async render(ctx) {
		const { t, fmt, api, signal } = ctx;
		const body = h("div", { class: "stack health" });
		const looked = h("span", { class: "faint", role: "status" });
		let timer = 0;
		let last = "";
		async function load(background) {
			clearTimeout(timer);
			try {
				const health = await api.get("/health", { signal, background });
				const text = JSON.stringify({ ...health, at: "" });
				if (text !== last && !body.contains(document.activeElement)) put(body, content(ctx, health));
				last = text;
				put(looked, t("health.looked", { at: fmt.time(health.at, { seconds: true }), zone: fmt.zone() }));
			} catch (err) {
				if (!background) throw err;
				put(looked, t("health.lost"));
			}
			if (!signal.aborted) timer = setTimeout(() => (document.hidden ? (timer = setTimeout(() => load(true), refreshEvery)) : load(true)), refreshEvery);
		}
		await load(false);
		return {
			node: page({ title: t("health.title"), subtitle: t("health.subtitle"), actions: [looked, button(t("health.refresh"), { icon: "refresh", small: true, onClick: () => { last = ""; return load(false); } })] }, body),
			dispose: () => clearTimeout(timer),
		};
	},
};

const condition = (t, status) => badge(t(`health.${status}`), looks[status]?.[1] ?? "neutral", { icon: looks[status]?.[0] });

function content(ctx, x) {
	const { t } = ctx;
	return [summary(ctx, x), figures(ctx, x), grid({ columns: 2 },
		part(ctx, x, "stream", stream), part(ctx, x, "reconciliation", reconciliation),
		part(ctx, x, "workers", workers), part(ctx, x, "rejected", rejected)),
	part(ctx, x, "tables", tables),
	grid({ columns: 2 }, part(ctx, x, "jobs", jobs), part(ctx, x, "maintenance", maintenance)),
	part(ctx, x, "keys", keys),
	grid({ columns: 2 }, part(ctx, x, "audit", audit), part(ctx, x, "engine", engine))];
}

// words of a note: those of the user's language, if the code has any.
const words = (t, n) => (t.has(`health.note.${n.code}`) ? t(`health.note.${n.code}`, { subject: n.subject ?? "", n: n.count ?? 0 }) : n.text);

// grouped joins notes that say the same of several subjects.
function grouped(t, notes) {
	const out = new Map();
	for (const n of notes) {
		const subject = t.has(`health.task.${n.subject}`) ? t(`health.task.${n.subject}`) : n.subject;
		const key = n.count ? `${n.code} ${subject}` : n.code;
		const before = out.get(key);
		out.set(key, before ? { ...before, subject: `${before.subject}, ${subject}` } : { ...n, subject });
	}
	return [...out.values()];
}

// summary says what to do first.
function summary({ t }, x) {
	const todo = parts.flatMap((name) => {
		const one = x[name];
		const notes = grouped(t, one.notes ?? []).map((n) => ({ name, status: one.status, text: words(t, n) }));
		return one.error ? [{ name, status: "unknown", text: t("health.part.error", { error: one.error }) }, ...notes] : notes;
	}).sort((a, b) => order.indexOf(a.status) - order.indexOf(b.status));
	const [shape, tone] = looks[x.status];
	return h("section", { class: ["card", "health-summary", `health-${tone}`], "aria-label": t("health.summary") },
		h("div", { class: "health-verdict" }, icon(shape, { size: 28 }), h("div", null, h("h2", null, t(`health.verdict.${x.status}`)), h("p", { class: "faint" }, t(`health.verdict.${x.status}.text`)))),
		todo.length > 0 && h("ol", { class: "health-todo" }, todo.map((one) => h("li", null,
			h("a", { href: `#health-${one.name}`, on: { click: (e) => { e.preventDefault(); document.getElementById(`health-${one.name}`)?.scrollIntoView({ block: "start" }); } } }, t(`health.part.${one.name}`)),
			h("span", null, one.text),
			one.status === "unknown" ? null : runbook(t, one.name)))));
}

const runbook = (t, name) => runbooks[name] && h("span", { class: "faint runbook" }, t("health.runbook"), " ", h("code", null, `docs/runbooks/${runbooks[name]}.md`));

function figures({ t, fmt }, x) {
	const due = x.keys.keys?.filter((k) => k.due).length ?? 0;
	const failing = x.jobs.jobs?.filter((j) => j.failures > 0).length ?? 0;
	const say = (status) => t(`health.${status}`);
	const one = (name, label, value, hint) => kpi({ label, value, hint: h("span", { class: `health-hint health-${looks[x[name].status][1]}` }, icon(looks[x[name].status][0], { size: 13 }), hint ?? say(x[name].status)) });
	return grid({ columns: "kpi" },
		one("stream", t("health.lag"), x.stream.lag_ms === undefined ? "–" : duration(fmt, x.stream.lag_ms), x.stream.lag_ms === undefined ? t("health.lag.unknown") : undefined),
		one("reconciliation", t("health.complete"), x.reconciliation.complete_until ? fmt.time(x.reconciliation.complete_until) : "–", x.reconciliation.complete_until ? fmt.ago(x.reconciliation.complete_until) : t("health.complete.unknown")),
		one("rejected", t("health.rejected"), fmt.count(x.rejected.total)),
		one("keys", t("health.keys.due"), fmt.count(due)),
		one("jobs", t("health.jobs.failing"), fmt.count(failing)));
}

const duration = (fmt, ms) => (ms < 1000 ? `${fmt.count(Math.round(ms))} ms` : fmt.duration(ms / 1000));

// part is a card with the part's state and what it consists of. What is to be done is in the summary.
function part(ctx, x, name, draw) {
	const { t } = ctx;
	const one = x[name];
	const made = card({ title: t(`health.part.${name}`), subtitle: t(`health.part.${name}.text`), actions: [condition(t, one.status)] },
		one.error && note(t("health.part.error", { error: one.error }), "warn"),
		draw(ctx, one));
	made.id = `health-${name}`;
	return made;
}

const none = (t, text, shape = "info") => empty({ icon: shape, title: text, compact: true });
const at = (fmt, v) => (v ? h("span", { title: fmt.instant(v, { seconds: true }) }, fmt.ago(v)) : "–");

function stream({ t, fmt }, one) {
	return [
		facts([[t("health.lag"), one.lag_ms === undefined ? "–" : duration(fmt, one.lag_ms)], [t("health.delay"), one.delay_ms === undefined ? "–" : duration(fmt, one.delay_ms)], [t("health.uncommitted"), fmt.count(one.uncommitted)]], { columns: 3 }),
		one.partitions.length === 0 ? none(t, t("health.stream.none")) : table({
			caption: t("health.part.stream"), dense: true, rows: one.partitions,
			columns: [
				{ key: "partition", label: t("health.partition"), format: (v, r) => h("code", null, `${r.stream}/${v}`) },
				{ key: "committed", label: t("health.committed"), align: "end", format: (v) => fmt.count(v) },
				{ key: "seen", label: t("health.behind"), align: "end", format: (v, r) => fmt.count(Math.max(0, v - r.committed)) },
				{ key: "covered", label: t("health.covered"), format: (v) => (v ? badge(t("app.yes"), "good", { icon: "check" }) : badge(t("app.no"), "warn", { icon: "warning" })) },
				{ key: "event_at", label: t("health.newest"), align: "end", format: (v) => at(fmt, v) },
			],
		})];
}

function workers({ t, fmt }, one) {
	return facts([
		[t("health.workers.answered"), one.answered_at ? fmt.ago(one.answered_at) : t("health.workers.never")],
		[t("health.workers.events"), fmt.count(one.events)], [t("health.workers.late"), fmt.count(one.late)], [t("health.workers.ahead"), fmt.count(one.ahead)],
		[t("health.workers.skipped"), fmt.count(one.skipped)], [t("health.workers.failed"), fmt.count(one.failed)],
	], { columns: 2 });
}

function tables({ t, fmt }, one) {
	return table({
		caption: t("health.part.tables"), dense: true, rows: one.tables,
		columns: [
			{ key: "table", label: t("data.table"), format: (v, r) => h("div", null, h("code", null, v), r.error && h("p", { class: "export-error" }, r.error)) },
			{ key: "rows", label: t("health.rows"), align: "end", format: (v) => fmt.count(v) },
			{ key: "bytes", label: t("health.bytes"), align: "end", format: (v) => fmt.bytes(v) },
			{ key: "files", label: t("health.files"), align: "end", format: (v) => fmt.count(v) },
			{ key: "small_files", label: t("health.small"), align: "end", format: (v) => fmt.count(v) },
			{ key: "partitions", label: t("health.days"), align: "end", format: (v) => fmt.count(v) },
			{ key: "snapshots", label: t("health.snapshots"), align: "end", format: (v) => fmt.count(v) },
			{ key: "committed_at", label: t("health.committedAt"), align: "end", format: (v) => at(fmt, v) },
		],
	});
}

function reconciliation({ t, fmt }, one) {
	return [
		one.at && h("p", { class: "faint" }, t("health.reconciled", { at: fmt.ago(one.at), since: fmt.instant(one.since) })),
		one.tenants.length === 0 ? none(t, t("health.reconciliation.none")) : table({
			caption: t("health.part.reconciliation"), dense: true, rows: [...one.tenants].sort((a, b) => b.wrong + b.late + b.gaps - a.wrong - a.late - a.gaps),
			columns: [
				{ key: "tenant", label: t("data.tenant") },
				{ key: "state", label: t("data.state"), format: (_, r) => (r.wrong + r.gaps > 0 ? badge(t("health.minutes.wrong", { n: r.wrong + r.gaps }), "bad", { icon: "error" }) : r.late > 0 ? badge(t("health.minutes.late", { n: r.late }), "warn", { icon: "clock" }) : badge(t("health.minutes.complete"), "good", { icon: "check" })) },
				{ key: "rows", label: t("health.rows"), align: "end", format: (v) => fmt.count(v) },
				{ key: "counted", label: t("health.counted"), align: "end", format: (v, r) => h("span", null, fmt.count(v), v !== r.rows && h("span", { class: "difference" }, ` (${v > r.rows ? "+" : "−"}${fmt.count(Math.abs(v - r.rows))})`)) },
				{ key: "complete_until", label: t("health.complete"), align: "end", format: (v) => at(fmt, v) },
			],
		})];
}

function rejected({ t, fmt }, one) {
	if (one.total === 0) return one.error ? null : none(t, t("health.rejected.none"), "check");
	return table({
		caption: t("health.part.rejected"), dense: true, rows: one.reasons,
		columns: [
			{ key: "reason", label: t("health.reason"), format: (v) => (t.has(`health.rejection.${v}`) ? t(`health.rejection.${v}`) : v) },
			{ key: "count", label: t("health.count"), align: "end", format: (v) => fmt.count(v) },
			{ key: "newest_at", label: t("health.newest"), align: "end", format: (v) => at(fmt, v) },
		],
	});
}

function keys({ t, fmt }, one) {
	if (one.keys.length === 0) return one.error ? null : none(t, t("health.keys.none"));
	const rows = [...one.keys].sort((a, b) => Number(b.due) - Number(a.due) || (a.tenant ?? "").localeCompare(b.tenant ?? "") || a.purpose.localeCompare(b.purpose));
	return table({
		caption: t("health.part.keys"), dense: true, rows,
		columns: [
			{ key: "tenant", label: t("health.key.of"), format: (v, k) => v || (k.owner === "lake" ? t("health.key.lake") : k.owner) },
			{ key: "purpose", label: t("health.key.purpose"), format: (v) => h("code", null, v) },
			{ key: "version", label: t("health.key.version"), align: "end" },
			{ key: "due", label: t("data.state"), format: (v, k) => (v ? badge(t("health.key.due"), "warn", { icon: "clock" }) : badge(t.has(`health.key.${k.state}`) ? t(`health.key.${k.state}`) : k.state, "good", { icon: "check" })) },
			{ key: "age_days", label: t("health.key.age"), align: "end", format: (v) => t("data.days", { n: v }) },
			{ key: "rotate_by", label: t("health.key.rotate"), align: "end", format: (v) => (v ? fmt.day(v.slice(0, 10)) : "–") },
			{ key: "custody", label: t("health.key.custody"), class: "wrap" },
		],
	});
}

function jobs({ t, fmt }, one) {
	return [
		h("p", { class: "faint" }, one.schedule_alive_at ? t("health.jobs.alive", { at: fmt.ago(one.schedule_alive_at) }) : t("health.jobs.dead")),
		one.jobs.length === 0 ? none(t, t("health.jobs.none")) : table({
			caption: t("health.part.jobs"), dense: true, rows: one.jobs,
			columns: [
				{ key: "job", label: t("health.job"), format: (v) => (t.has(`health.jobs.name.${v}`) ? t(`health.jobs.name.${v}`) : v) },
				{ key: "failures", label: t("data.state"), format: (v, j) => (v > 0 ? h("div", null, badge(t("health.job.failed", { n: v }), "bad", { icon: "error" }), j.failure && h("p", { class: "export-error" }, j.failure)) : j.published_at ? badge(t("health.ok"), "good", { icon: "check" }) : badge(t("health.job.never"), "neutral", { icon: "info" })) },
				{ key: "tenants", label: t("health.job.tenants"), align: "end", format: (v) => fmt.count(v) },
				{ key: "published_at", label: t("health.job.published"), align: "end", format: (v) => at(fmt, v) },
				{ key: "due_at", label: t("health.job.due"), align: "end", format: (v) => (v ? fmt.instant(v) : "–") },
			],
		})];
}

function maintenance({ t, fmt }, one) {
	return table({
		caption: t("health.part.maintenance"), dense: true, rows: one.tasks,
		columns: [
			{ key: "task", label: t("health.task"), format: (v) => (t.has(`health.task.${v}`) ? t(`health.task.${v}`) : v) },
			{ key: "due", label: t("data.state"), format: (v) => (v ? badge(t("health.task.due"), "warn", { icon: "clock" }) : badge(t("health.ok"), "good", { icon: "check" })) },
			{ key: "last_at", label: t("health.task.last"), align: "end", format: (v, r) => (v ? h("span", { title: r.by }, fmt.ago(v)) : t("health.task.never")) },
			{ key: "due_at", label: t("health.task.by"), align: "end", format: (v) => (v ? fmt.instant(v) : "–") },
		],
	});
}

function audit({ t, fmt }, one) {
	return [
		one.break && note(one.break, "bad"),
		facts([
			[t("health.audit.line"), fmt.count(one.line)], [t("health.audit.anchored"), fmt.count(one.anchored)],
			[t("health.audit.verified"), one.verified_at ? fmt.ago(one.verified_at) : "–"], [t("health.audit.newest"), one.line_at ? fmt.ago(one.line_at) : "–"],
			[t("health.audit.segments"), fmt.count(one.segments)], [t("health.audit.unsigned"), fmt.count(one.unsigned)],
		], { columns: 2 })];
}

function engine({ t, fmt }, one) {
	const asked = one.cache_hits + one.cache_misses;
	const share = (part, all) => (all > 0 ? part / all : 0);
	return facts([
		[t("health.engine.running"), h("span", { class: "with-bar" }, t("health.of", { n: one.running, all: one.max_running }), bar(share(one.running, one.max_running)))],
		[t("health.engine.cache"), h("span", { class: "with-bar" }, t("health.of.bytes", { n: fmt.bytes(one.cache_bytes), all: fmt.bytes(one.cache_limit) }), bar(share(one.cache_bytes, one.cache_limit)))],
		[t("health.engine.hits"), asked > 0 ? h("span", { class: "with-bar" }, fmt.percent(share(one.cache_hits, asked)), bar(share(one.cache_hits, asked), { tone: "good" })) : "–"],
	]);
}
