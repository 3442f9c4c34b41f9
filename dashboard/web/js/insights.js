// What the pages of the jobs share: whether a job has run for the tenant, and what to do if not.

import { fmt } from "./format.js";
import { t } from "./i18n.js";
import { badge, button, empty, h, icon, page, search, section, toast } from "./ui.js";

// insights renders a page of a job: what build makes of the newest run, or why there is nothing.
export async function insights(job, ctx, build) {
	const answer = await ctx.figure("runs", { job });
	const run = answer.objects[0];
	if (!run) {
		return page({ title: t(`${ctx.page}.title`), subtitle: t(`${ctx.page}.subtitle`) }, h("div", { class: "card" }, notRun(job, ctx)));
	}
	const parts = await build(run);
	return page({ title: t(`${ctx.page}.title`), subtitle: t(`${ctx.page}.subtitle`), actions: parts.actions }, ...parts.content, method(job, run));
}

// notRun says that the job has not run for the tenant, who can do it, and how.
export function notRun(job, ctx) {
	return empty({
		icon: "clock", title: t("insights.notRun.title"), text: `${t(`insights.notRun.${job}`)} ${t("insights.notRun.ask")}`,
		command: `cardlake job run -tenant ${ctx.tenant} ${job}`,
		action: button(t("app.retry"), { icon: "refresh", onClick: () => ctx.go(`/${ctx.page}`, { replace: true }) }),
	});
}

// method says in a sentence how the numbers come about, of which run, and where they stand.
function method(job, run) {
	return section({ class: "insights-method" }, h("p", { class: "insights-run" }, icon("clock", { size: 14 }),
		h("span", null, t("insights.run", { at: `${fmt.instant(run.as_of)} ${fmt.zone(run.as_of)}`, rows: Number(run.rows_read), published: fmt.ago(run.published_at) })),
		badge(t("insights.version", { version: run.version }))),
	h("p", null, t(`insights.method.${job}`)));
}

// parsed reads JSON that a column holds; what is not JSON is fallback.
export function parsed(text, fallback) {
	try {
		return JSON.parse(text) ?? fallback;
	} catch {
		return fallback;
	}
}

// numbered reports whether a text holds as many digits as a card number may have.
export function numbered(text) {
	return /\d(?:[ ._-]?\d){11,}/.test(text);
}

// findCustomer is a search for customers by the beginning of their id. What may be a card number
// is not asked for: it would be in an address.
export function findCustomer(label, ask, value = "") {
	return search({
		label, placeholder: label, value,
		onInput: (text) => {
			if (numbered(text)) toast(t("insights.noNumbers"), { tone: "warn" });
			else ask(text.trim().toLowerCase().replaceAll(/[^a-z0-9]/g, ""));
		},
	});
}

// tenth writes a number with one decimal, always, so that columns line up.
export function tenth(v) {
	return fmt.money(v, "", { digits: 1 });
}
