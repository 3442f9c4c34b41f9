// Which page an address is of, and what the page is given. A page is a module of its own, which
// is loaded when it is first gone to.

import { api } from "./api.js";
import { fmt, setCurrency, setZone, zoneOf } from "./format.js";
import { more, setCountry, t } from "./i18n.js";
import { live } from "./live.js";
import { readRange } from "./range.js";
import { announce, button, empty, failure, h, put, skeleton } from "./ui.js";

// groups are the pages as the sidebar shows them.
export const groups = [
	{ name: "monitor", pages: ["overview", "transactions", "declines", "cards", "merchants"] },
	{ name: "insights", pages: ["anomalies", "segments", "predictions", "recommendations"] },
	{ name: "data", pages: ["data", "sql"] },
	{ name: "control", pages: ["access", "health"] },
];

const pages = groups.flatMap((g) => g.pages);

// general are the parameters that are not a page's own.
const general = ["tenant", "range", "compare"];
// unspoken are parameters that never go into an address, because they tell of a card.
const unspoken = new Set(["bin", "last4", "card", "pan"]);

// ids are what has many digits and is no card number: days, and the ids of events.
const ids = /\d{4}-\d{2}-\d{2}(\.\.\d{4}-\d{2}-\d{2})?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi;

// cardLike reports whether a text has as many digits in a row as a card number, however they
// are set apart.
export function cardLike(text) {
	return /(?:\d[ .\-_/]?){12,}\d/.test(String(text ?? "").replace(ids, " "));
}

let styles = null;

// rest loads the words and the styles of the pages that few begin with.
function rest() {
	styles ??= new Promise((done) => {
		const settled = () => done();
		const sheet = h("link", { rel: "stylesheet", href: new URL("../css/more.css", import.meta.url).pathname, on: { load: settled, error: settled } });
		document.querySelector("link[rel=stylesheet]").after(sheet);
	});
	return Promise.all([more(), styles]);
}

// renewed loads the document anew, once, if the server has others by now: a tab that was open
// while the server was replaced looks for modules that are gone.
async function renewed() {
	if (history.state?.renewed) return false;
	const own = new URL("../", import.meta.url).pathname;
	const text = await fetch(location.pathname, { cache: "no-store" }).then((r) => r.text(), () => own);
	if (text.includes(own)) return false;
	history.replaceState({ renewed: true }, "");
	location.reload();
	return true;
}

// Router shows pages in a node. tenants and me are of who is signed in; changed is told of every
// page that begins to be shown.
export class Router {
	constructor({ main, me, tenants, changed }) {
		Object.assign(this, { main, me, tenants, changed, memory: new Map(), leave: null, module: null, count: 0 });
	}

	// allowed are the pages that make sense for who is signed in.
	get allowed() {
		const offered = this.me.pages;
		return Array.isArray(offered) ? pages.filter((p) => offered.includes(p)) : pages;
	}

	// reads reports whether there are transactions that who is signed in may read.
	get reads() {
		return !this.me.grants || this.me.grants.some((g) => g.table === "cards.transactions" && g.action === "query");
	}

	// start shows the page of the address, and those that are gone to, until the signal.
	start(signal) {
		window.addEventListener("popstate", () => this.show(), { signal });
		document.addEventListener("click", (e) => {
			const a = e.target.closest?.("a[href]");
			if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey || a.target || a.hasAttribute("download")) return;
			const url = new URL(a.href);
			if (url.origin !== location.origin || /^\/(auth|v1|assets|development)\//.test(url.pathname)) return;
			if (url.pathname === location.pathname && url.search === location.search && url.hash) return;
			e.preventDefault();
			this.go(url.pathname + url.search + url.hash);
		}, { signal });
		this.show({ first: true });
	}

	// href completes a path with what is chosen: tenant, range and comparison.
	href(path) {
		const url = new URL(path, location.origin);
		const now = new URLSearchParams(location.search);
		for (const name of general) {
			if (!url.searchParams.has(name) && now.has(name)) url.searchParams.set(name, now.get(name));
		}
		for (const name of unspoken) url.searchParams.delete(name);
		return url.pathname + tidy(url.searchParams) + url.hash;
	}

	go(path, { replace = false } = {}) {
		const to = this.href(path);
		if (replace) history.replaceState(null, "", to);
		else if (to !== location.pathname + location.search) history.pushState(null, "", to);
		return this.show();
	}

	// choose changes one of the general parameters, and stays on the page.
	choose(values) {
		const params = new URLSearchParams(location.search);
		for (const [name, value] of Object.entries(values)) value ? params.set(name, value) : params.delete(name);
		history.pushState(null, "", location.pathname + tidy(params));
		return this.show({ keepFocus: true });
	}

	// at is the page of the address: "" if there is none.
	at() {
		const name = location.pathname.replace(/^\/|\/$/g, "");
		return name === "" ? this.allowed[0] ?? "overview" : pages.includes(name) ? name : "";
	}

	// where is what the address says: page, tenant, range and the page's own parameters.
	where() {
		const params = new URLSearchParams(location.search);
		const asked = params.get("tenant");
		let remembered = null;
		try {
			remembered = sessionStorage.getItem("cardlake.tenant");
		} catch {
			remembered = null; // then the first one
		}
		const mine = (name) => this.tenants.find((r) => r.name === name);
		const record = asked ? mine(asked) ?? null : mine(remembered) ?? this.tenants[0] ?? null;
		const own = new URLSearchParams(params);
		for (const name of [...general, "signin"]) own.delete(name);
		return { page: this.at(), asked, record, range: readRange(params), params: own };
	}

	// silence takes out of the address what must not be in one, whoever wrote it.
	silence() {
		const params = new URLSearchParams(location.search);
		const before = params.size;
		for (const [name, value] of [...params]) if (unspoken.has(name) || cardLike(value)) params.delete(name);
		if (params.size !== before) history.replaceState(null, "", location.pathname + tidy(params) + location.hash);
	}

	async show({ first = false, keepFocus = false } = {}) {
		const number = ++this.count;
		this.leave?.();
		const controller = new AbortController();
		let dispose = null;
		this.leave = () => {
			controller.abort();
			try {
				dispose?.();
			} catch (err) {
				console.error(err);
			}
			dispose = null;
		};
		this.silence();
		const where = this.where();
		const { page, record } = where;
		setZone(zoneOf(record?.country));
		setCurrency(record?.currency);
		setCountry(record?.country);
		if (record) {
			try {
				sessionStorage.setItem("cardlake.tenant", record.name);
			} catch {
				// It is chosen again in each tab.
			}
		}
		const title = page && t.has(`${page}.title`) ? t(`${page}.title`) : t("app.notFound.title");
		document.title = `${title} · cardlake`;
		this.uses = { tenant: true, range: true, compare: true };
		this.changed(where, this.uses, title);
		const settle = (node, said) => {
			if (number !== this.count) return;
			put(this.main, node);
			this.main.removeAttribute("aria-busy");
			if (!keepFocus) {
				if (!first) {
					window.scrollTo(0, 0);
					(this.main.querySelector("h1") ?? this.main).focus({ preventScroll: true });
				}
				announce(said ?? title);
			}
		};
		this.main.setAttribute("aria-busy", "true");
		if (!keepFocus || !this.main.firstChild) put(this.main, skeleton("page"));

		if (!page) return settle(empty({ heading: true, icon: "search", title: t("app.notFound.title"), text: t("app.notFound.text"), action: button(t("app.notFound.action"), { kind: "primary", onClick: () => void this.go("/") }) }));
		if (!this.allowed.includes(page)) return settle(empty({ heading: true, icon: "lock", title: t("app.notYours.pageTitle"), text: t("app.notYours.pageText"), action: this.home() }), t("app.notYours.pageTitle"));
		try {
			const [{ default: module }] = await Promise.all([import(`./pages/${page}.js`), groups[0].pages.includes(page) ? null : rest()]);
			if (number !== this.count) return;
			this.uses = { tenant: true, range: true, compare: true, ...module.uses };
			this.changed(where, this.uses, title);
			if (this.uses.tenant && where.asked && !record) {
				live.watch("");
				return settle(empty({ heading: true, icon: "lock", title: t("app.notYours.title"), text: t("app.notYours.text", { tenant: where.asked }), action: this.home() }), t("app.notYours.title"));
			}
			if (this.uses.tenant && !record) {
				live.watch("");
				return settle(empty({ heading: true, icon: "building", title: t("app.noTenant.title"), text: t("app.noTenant.text"), action: this.home() }), t("app.noTenant.title"));
			}
			if (this.uses.tenant && !where.asked) {
				// So that the address, given to somebody else, is of the same rows.
				const params = new URLSearchParams(location.search);
				params.set("tenant", record.name);
				history.replaceState(null, "", (location.pathname === "/" ? `/${page}` : location.pathname) + tidy(params));
			}
			live.watch(this.uses.tenant && this.reads ? record.name : "");
			const shown = await module.render(this.context(where, controller.signal));
			if (number !== this.count) return void (shown?.dispose?.());
			dispose = shown instanceof Node ? null : shown?.dispose?.bind(shown);
			settle(shown instanceof Node ? shown : shown.node);
		} catch (err) {
			if (number !== this.count || err?.kind === "aborted") return;
			if (err?.name !== "ApiError" && await renewed()) return;
			if (err?.name !== "ApiError") console.error(err);
			settle(failure(err, { retry: () => this.show() }), t("app.error.page.title"));
		}
	}

	home() {
		return button(t("app.notYours.action"), {
			kind: "primary",
			onClick: () => {
				history.pushState(null, "", `/${this.allowed[0] ?? ""}`);
				this.show();
			},
		});
	}

	context(where, signal) {
		const router = this;
		const tenant = where.record?.name ?? "";
		return {
			page: where.page, tenant, record: where.record, tenants: this.tenants, me: this.me, range: where.range,
			params: where.params, memory: this.memory, signal, api, t, fmt, live,
			setParams(values, { push = false, render = false } = {}) {
				const params = new URLSearchParams(location.search);
				for (const [name, value] of Object.entries(values)) {
					if (general.includes(name)) continue;
					const spoken = value !== null && value !== undefined && value !== "" && !unspoken.has(name) && !cardLike(value);
					spoken ? params.set(name, value) : params.delete(name);
					spoken ? where.params.set(name, value) : where.params.delete(name);
				}
				history[push ? "pushState" : "replaceState"](null, "", location.pathname + tidy(params));
				if (render) router.show({ keepFocus: true });
			},
			go: (path, options) => void router.go(path, options),
			href: (path) => router.href(path),
			may: (name) => router.allowed.includes(name),
			figure: (name, params = {}, options = {}) => api.figure(name, { tenant, from: where.range.from, to: where.range.to, ...params }, { signal, ...options }),
		};
	}
}

function tidy(params) {
	params.delete("signin");
	const text = params.toString().replaceAll("%2C", ",");
	return text ? `?${text}` : "";
}
