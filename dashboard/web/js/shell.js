// What is around every page: the sidebar, the bar at the top, and the freshness of the data.

import { api } from "./api.js";
import { clear, h, icon, put, svg } from "./dom.js";
import { fmt } from "./format.js";
import { language, languages, setLanguage, t } from "./i18n.js";
import { live } from "./live.js";
import { menu, popover } from "./overlay.js";
import { rangePicker } from "./range.js";
import { groups } from "./router.js";
import { savedMenu, share } from "./saved.js";
import { session } from "./session.js";
import { badge, button, facts } from "./ui.js";

// staleAfter is how old data may be, in milliseconds, before the page warns.
const staleAfter = 5 * 60e3;
// askEvery is how often the state is asked for where no live connection tells of it.
const askEvery = 20e3;

// logo is the mark: a card on water.
export function logo(size = 28) {
	return svg("svg", { class: "logo", viewBox: "0 0 32 32", width: size, height: size, "aria-hidden": "true", focusable: "false" },
		svg("rect", { class: "logo-ground", x: 0, y: 0, width: 32, height: 32, rx: 8 }),
		svg("path", { class: "logo-card", d: "M7.500 8.500h17a2 2 0 0 1 2 2v4.200c-1.800 0-2.700 1.300-5.200 1.300s-3.500-1.300-5.300-1.300-2.800 1.300-5.300 1.300-3.400-1.300-5.200-1.300v-4.200a2 2 0 0 1 2-2z" }),
		svg("path", { class: "logo-wave", d: "M5.500 19c1.800 0 2.700 1.300 5.200 1.300S14.200 19 16 19s2.800 1.300 5.300 1.300S24.700 19 26.500 19M5.500 23.500c1.800 0 2.700 1.300 5.200 1.300s3.500-1.300 5.300-1.300 2.800 1.300 5.300 1.300 3.400-1.300 5.200-1.300" }));
}

// Shell is the frame, with a place for the page in it.
export class Shell {
	constructor({ me, tenants, notice, version }) {
		Object.assign(this, { me, tenants, version, router: null, where: null, title: "", state: null, stateError: null });
		this.main = h("main", { id: "main", class: "main", tabindex: "-1" });
		this.nav = h("nav", { class: "nav", "aria-label": t("app.navigation") });
		this.controls = h("div", { class: "controls" });
		this.tools = h("div", { class: "tools" });
		this.chip = h("span", { class: "chip-text" });
		this.chipButton = h("button", { class: "chip", type: "button" }, h("span", { class: "chip-dot" }), this.chip);
		this.chipBox = popover(this.chipButton, () => this.stateFacts(), { label: t("app.fresh.title") });
		this.sidebar = h("aside", { class: "sidebar", id: "sidebar" },
			h("div", { class: "sidebar-head" }, h("a", { class: "brand", href: "/", "aria-label": "cardlake" }, logo(), h("span", { class: "brand-name" }, "cardlake")),
				button(t("app.closeMenu"), { icon: "close", iconOnly: true, kind: "quiet", class: "only-phone", onClick: () => this.fold(true) })),
			this.nav,
			h("div", { class: "sidebar-foot" },
				button(t("app.foldMenu"), { icon: "panel", iconOnly: true, kind: "quiet", class: "fold", onClick: () => this.toggleNarrow() }),
				h("span", { class: "version faint" }, version)));
		this.opener = button(t("app.openMenu"), { icon: "menu", iconOnly: true, kind: "quiet", class: "only-phone", onClick: () => this.fold(false), "aria-controls": "sidebar", "aria-expanded": "false" });
		this.node = h("div", { class: "app" },
			h("a", { class: "skip", href: "#main", on: { click: (e) => { e.preventDefault(); this.main.focus(); } } }, t("app.skip")),
			this.sidebar,
			h("div", { class: "scrim", on: { click: () => this.fold(true) } }),
			h("div", { class: "column" },
				notice && h("aside", { class: "notice", "aria-label": t("app.notice") }, icon("warning", { size: 15 }), h("span", null, notice)),
				h("header", { class: "topbar" }, this.opener, this.controls, h("div", { class: "topbar-space" }), this.chipBox, this.tools),
				this.main));
		document.addEventListener("keydown", (e) => {
			if (e.key === "Escape" && this.node.classList.contains("nav-open")) this.fold(true);
		});
		try {
			this.node.classList.toggle("nav-narrow", localStorage.getItem("cardlake.nav") === "narrow");
		} catch {
			// It begins wide.
		}
		this.saved = savedMenu({ at: () => ({ page: this.where.page, title: this.title }), go: (path) => this.router.go(path) });
		this.tool();
	}

	// follow begins to show how fresh the data is, until the signal ends it.
	follow(signal) {
		live.subscribe((event) => {
			if (event.type === "snapshot") this.askState();
			if (event.type !== "seconds") this.showState();
		}, { signal });
		const asking = setInterval(() => {
			if (!document.hidden && live.status !== "live" && this.stateError?.status !== 403) this.askState();
		}, askEvery);
		const ticking = setInterval(() => this.showState(), 1000);
		signal.addEventListener("abort", () => {
			clearInterval(asking);
			clearInterval(ticking);
		});
	}

	fold(closed) {
		this.node.classList.toggle("nav-open", !closed);
		this.opener.setAttribute("aria-expanded", String(!closed));
		if (closed) this.opener.focus();
		else this.nav.querySelector("[aria-current]")?.focus();
	}

	toggleNarrow() {
		const narrow = this.node.classList.toggle("nav-narrow");
		try {
			localStorage.setItem("cardlake.nav", narrow ? "narrow" : "wide");
		} catch {
			// It holds for this tab.
		}
		window.dispatchEvent(new Event("resize"));
	}

	// changed is told by the router of each page.
	changed(where, uses, title) {
		const other = this.where?.record?.name !== where.record?.name;
		const drawn = JSON.stringify([where.page, where.asked, where.record?.name, where.range, uses, location.search, language()]);
		this.where = where;
		this.title = title;
		if (drawn !== this.drawn) {
			this.drawn = drawn;
			this.drawNav();
			this.drawControls(uses);
		}
		this.node.classList.remove("nav-open");
		this.chipBox.hidden = !uses.tenant || !where.record || !this.router.reads;
		if (other || !this.state && !this.asking) {
			this.state = this.stateError = null;
			this.showState();
			this.askState();
		}
	}

	drawNav() {
		const allowed = this.router.allowed;
		put(this.nav, groups.map((g) => {
			const offered = g.pages.filter((p) => allowed.includes(p));
			return offered.length > 0 && h("div", { class: "nav-group" }, h("h2", { class: "nav-heading" }, t(`app.nav.${g.name}`)),
				h("ul", null, offered.map((p) => h("li", null, h("a", {
					class: "nav-link", href: this.router.href(`/${p}`), title: t(`${p}.title`), "aria-current": p === this.where.page ? "page" : null,
				}, icon(p), h("span", { class: "nav-text" }, t(`${p}.title`)))))));
		}));
	}

	drawControls(uses) {
		const { record, asked, range } = this.where;
		clear(this.controls);
		if (uses.tenant) this.controls.append(this.tenantPicker(record, asked));
		if (uses.range) {
			this.controls.append(rangePicker(range, (key) => this.router.choose({ range: key })));
			if (uses.compare) {
				this.controls.append(button(t("app.compare.label"), {
					icon: "compare", pressed: range.compare, class: "compare", busyWhile: false,
					title: t("app.compare.title", { range: fmt.range(range.before.from, range.before.to) }),
					onClick: () => this.router.choose({ compare: range.compare ? null : "1" }),
				}));
			}
		}
	}

	tenantPicker(record, asked) {
		const name = record?.name ?? asked ?? t("app.noTenant.short");
		const label = h("span", { class: "picker-text" }, name);
		if (this.tenants.length <= 1 && record) return h("span", { class: "picker picker-fixed" }, icon("bank", { size: 16 }), label);
		const trigger = h("button", { class: "button button-default picker picker-tenant", type: "button", "aria-label": t("app.tenant.label", { tenant: name }) },
			icon("bank", { size: 16 }), label, icon("chevron", { size: 14 }));
		return menu(trigger, () => [
			{ heading: t("app.tenant.menu") },
			...this.tenants.map((r) => ({
				label: r.name, checked: r.name === record?.name, hint: [r.country, r.currency].filter(Boolean).join(" · "),
				onSelect: () => this.router.choose({ tenant: r.name }),
			})),
		], { align: "start", label: t("app.tenant.menu") });
	}

	tool() {
		const theme = () => document.documentElement.dataset.theme;
		const themeButton = button(t("app.theme.menu"), { icon: theme() === "dark" ? "moon" : "sun", iconOnly: true, kind: "quiet", class: "wide-only" });
		const who = session.who;
		const themes = () => {
			let chosen = null;
			try {
				chosen = localStorage.getItem("cardlake.theme");
			} catch {
				chosen = null;
			}
			return ["system", "light", "dark"].map((name) => ({ label: t(`app.theme.${name}`), checked: (chosen ?? "system") === name, onSelect: () => chooseTheme(name) }));
		};
		const tongues = () => Object.entries(languages).map(([tag, name]) => ({ label: name, checked: tag === language(), onSelect: () => setLanguage(tag) }));
		window.addEventListener("cardlake:theme", () => put(themeButton, icon(theme() === "dark" ? "moon" : "sun", { size: 16 })));
		const name = who?.name || who?.principal || "";
		const userButton = h("button", { class: "button button-quiet user", type: "button", "aria-label": t("app.user.menu", { name }) }, h("span", { class: "avatar", "aria-hidden": "true" }, initials(name)));
		put(this.tools,
			button(t("app.share.action"), { icon: "share", iconOnly: true, kind: "quiet", onClick: () => share(this.where.record?.name) }),
			this.saved,
			h("span", { class: "wide-only" }, menu(button(t("app.language"), { icon: "globe", iconOnly: true, kind: "quiet" }), tongues, { label: t("app.language") })),
			h("span", { class: "wide-only" }, menu(themeButton, themes, { label: t("app.theme.menu") })),
			menu(userButton, () => [
				{ node: h("div", { class: "who" }, h("strong", null, name), who?.principal !== name && h("span", null, who.principal),
					h("span", { class: "who-badges" }, badge(t.term("kind", this.me.kind ?? who?.kind), "neutral"), this.me.mfa ?? who?.mfa ? badge(t("app.user.mfa"), "good", { icon: "lock" }) : badge(t("app.user.noMfa"), "warn", { icon: "warning" }))) },
				{ separator: true },
				...(matchMedia("(max-width: 719px)").matches ? [{ heading: t("app.language") }, ...tongues(), { heading: t("app.theme.menu") }, ...themes(), { separator: true }] : []),
				{ label: t("app.signOut"), icon: "sign-out", onSelect: () => session.signOut() },
			], { label: t("app.user.menu", { name }) }));
	}

	async askState() {
		const tenant = this.where?.record?.name;
		if (!tenant || this.chipBox.hidden || this.asking || this.askedOf === tenant && Date.now() - this.askedAt < 1500) return;
		this.asking = true;
		[this.askedOf, this.askedAt] = [tenant, Date.now()];
		try {
			const state = await api.state(tenant, { background: true, quiet: true });
			if (this.where?.record?.name === tenant) [this.state, this.stateError] = [state, null];
		} catch (err) {
			this.stateError = err;
		} finally {
			this.asking = false;
			this.showState();
		}
	}

	// freshness says what the chip shows: its tone, and its words.
	freshness() {
		const s = this.state;
		if (!navigator.onLine || this.stateError?.kind === "offline") return { tone: "bad", text: t("app.fresh.offline") };
		if (this.stateError && !s) return { tone: "warn", text: t("app.fresh.unknown") };
		if (!s) return { tone: "wait", text: t("app.fresh.loading") };
		if (!s.as_of) return { tone: "warn", text: t("app.fresh.none") };
		const age = Date.now() - Date.parse(s.as_of);
		const time = age < 86400e3 ? fmt.time(s.as_of, { seconds: true }) : fmt.instant(s.as_of);
		const ago = `, ${fmt.ago(s.as_of)}`;
		if (s.partial) return { tone: "warn", text: t("app.fresh.partial", { time }), ago };
		return { tone: age > staleAfter ? "warn" : live.status === "live" ? "live" : "good", text: t("app.fresh.asOf", { time }), ago };
	}

	showState() {
		const { tone, text, ago = "" } = this.freshness();
		if (this.chip.textContent !== text + ago) put(this.chip, text, ago && h("span", { class: "chip-ago" }, ago));
		const classes = `chip chip-${tone}`;
		if (this.chipButton.className !== classes) this.chipButton.className = classes;
	}

	stateFacts() {
		const s = this.state;
		return h("div", { class: "state" }, h("h2", null, t("app.fresh.title")),
			s ? facts([
				[t("app.fresh.newest"), fmt.instant(s.as_of, { seconds: true })],
				[t("app.fresh.committed"), fmt.instant(s.committed_at, { seconds: true })],
				[t("app.fresh.complete"), s.complete_until ? fmt.instant(s.complete_until) : t("app.fresh.notChecked")],
				[t("app.fresh.rows"), fmt.count(s.rows)],
				[t("app.fresh.files"), fmt.count(s.files)],
				[t("app.fresh.live"), t(`app.live.${live.status}`)],
			]) : h("p", null, this.freshness().text),
			s?.partial && h("p", { class: "state-note" }, t("app.fresh.partialText")),
			h("p", { class: "faint" }, t("app.fresh.zone", { zone: fmt.zone() })));
	}
}

function initials(name) {
	const parts = String(name).replace(/@.*$/, "").replace(/^[^/]*\//, "").split(/[\s._-]+/).filter(Boolean);
	return ((parts[0]?.[0] ?? "?") + (parts[1]?.[0] ?? "")).toUpperCase();
}

// chooseTheme keeps the choice, unless it is the system's, and shows it.
function chooseTheme(name) {
	try {
		if (name === "system") localStorage.removeItem("cardlake.theme");
		else localStorage.setItem("cardlake.theme", name);
	} catch {
		// It holds for this tab.
	}
	applyTheme(name);
}

export function applyTheme(name) {
	const dark = name === "dark" || (name !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
	document.documentElement.dataset.theme = dark ? "dark" : "light";
	window.dispatchEvent(new Event("cardlake:theme"));
}
