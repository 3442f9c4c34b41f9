// The beginning: words, who is signed in, what that person may see, and then the page.

import { api } from "./api.js";
import { zoneOf } from "./format.js";
import { language, languages, load, preferred, setLanguage, t } from "./i18n.js";
import { Router } from "./router.js";
import { session } from "./session.js";
import { Shell, applyTheme, logo } from "./shell.js";
import { empty, explain, failure, h, icon, note, put, toast } from "./ui.js";

const root = document.getElementById("app");
const meta = (name) => document.querySelector(`meta[name="cardlake-${name}"]`)?.content ?? "";

let router = null;
let ending = null; // ends what the shell follows
let current = null; // what /v1/me said

async function start() {
	const [words, who] = await Promise.allSettled([load(preferred()), session.load()]);
	if (words.status === "rejected") return put(root, h("p", { class: "noscript", role: "alert" }, "cardlake could not be loaded: load the page again. · No se pudo cargar cardlake: vuelva a cargar la página. · Não foi possível carregar o cardlake: recarregue a página."));
	if (who.status === "rejected") return bare(failure(who.reason, { retry: () => location.reload() }));
	if (!session.who) return signIn();
	const asked = new URLSearchParams(location.search).get("signin");
	if (asked === "returned") {
		session.returned();
		bare(empty({ icon: "check", title: t("app.signIn.returned"), text: t("app.signIn.returnedText") }));
		window.close();
		return;
	}
	let me;
	try {
		me = await api.get("/me", { background: true, quiet: true });
	} catch (err) {
		if (err.status === 401) return signIn("expired");
		return bare(failure(err, { retry: () => location.reload() }));
	}
	show(me);
}

function show(me) {
	ending?.abort();
	router?.leave?.();
	const memory = router?.memory;
	ending = new AbortController();
	const tenants = (me.tenants ?? []).map((r) => ({ ...r, timeZone: zoneOf(r.country) }));
	const shell = new Shell({ me, tenants, notice: meta("notice"), version: meta("version") });
	router = new Router({ main: shell.main, me, tenants, changed: (...what) => shell.changed(...what) });
	if (memory) router.memory = memory;
	shell.router = router;
	put(root, shell.node);
	shell.follow(ending.signal);
	current = me;
	router.start(ending.signal);
}

// bare shows something without the frame, because there is nobody to show it to.
function bare(...content) {
	put(root, h("div", { class: "bare" }, meta("notice") && h("aside", { class: "notice", "aria-label": t("app.notice") }, icon("warning", { size: 15 }), h("span", null, meta("notice"))),
		h("main", { class: "bare-main", id: "main", tabindex: "-1" }, h("div", { class: "bare-brand" }, logo(36), h("span", { class: "brand-name" }, "cardlake")), content),
		h("footer", { class: "bare-foot" }, Object.entries(languages).map(([tag, name]) => h("button", {
			class: "button button-quiet button-small", type: "button", lang: tag, "aria-pressed": String(tag === language()),
			on: { click: () => setLanguage(tag).then(() => location.reload()) },
		}, name)))));
}

// signIn asks to sign in, and says why.
function signIn(why) {
	const params = new URLSearchParams(location.search);
	const reason = why ?? params.get("signin") ?? "";
	params.delete("signin");
	const back = location.pathname + (params.size ? `?${params}` : "");
	const said = reason && t.has(`app.signIn.${reason}`) ? t(`app.signIn.${reason}`) : reason ? t("app.signIn.failed") : "";
	const tone = reason === "signed_out" ? "good" : reason === "expired" ? "info" : "warn";
	document.title = `${t("app.signIn.title")} · cardlake`;
	bare(h("div", { class: "sign-in" },
		h("h1", { tabindex: "-1" }, t("app.signIn.title")), h("p", null, t("app.signIn.text")),
		said && note(said, tone),
		h("a", { class: "button button-primary button-large", href: session.signInAddress(back) }, icon("lock", { size: 16 }), t("app.signIn.action")),
		h("p", { class: "faint" }, t("app.signIn.idle"))));
}

window.addEventListener("cardlake:language", () => {
	if (current) show(current);
});
window.addEventListener("cardlake:signed-in", () => {
	// What somebody is writing stays; what failed has a button to try again.
	const writing = [...document.querySelectorAll("textarea,[contenteditable=true]")].some((n) => n.value || n.textContent);
	if (!writing) router?.show({ keepFocus: true });
});
window.addEventListener("offline", () => toast(t("app.error.offline.title"), { tone: "warn" }));
window.addEventListener("unhandledrejection", (e) => {
	if (e.reason?.kind === "aborted" || e.reason?.name === "AbortError") e.preventDefault();
	else if (e.reason?.name === "ApiError") {
		e.preventDefault();
		toast(explain(e.reason).title, { tone: "bad" });
	}
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
	let chosen = null;
	try {
		chosen = localStorage.getItem("cardlake.theme");
	} catch {
		chosen = null;
	}
	if (!chosen) applyTheme("system");
});

start();
