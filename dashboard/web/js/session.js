// Who is signed in, and until when. The session itself is on the server; the page knows its
// name, its ends, and a token against forged requests.

import { api } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { dialog } from "./overlay.js";

// warnBefore is how long before the session ends for want of activity the page says so.
const warnBefore = 120_000;
// touchEvery is how often, at most, using the page without asking the server anything is told it.
const touchEvery = 120_000;

const channel = "BroadcastChannel" in window ? new BroadcastChannel("cardlake.session") : null;

let timer = 0;
let warning = null;
let gone = null;
let skew = 0; // the server's clock less ours
let lastTouch = 0;
let told = false; // of the end that nothing puts off

export const session = {
	who: null,

	// load asks who is signed in: null if nobody is. An error is that the server can't say.
	async load({ active = false } = {}) {
		let who = null;
		try {
			const response = await api.raw("/auth/session", { background: !active, quiet: true });
			who = await response.json();
			skew = (Date.parse(response.headers.get("Date")) || Date.now()) - Date.now();
		} catch (err) {
			if (err.status !== 401) throw err;
			if (this.who) {
				this.expired();
				return null;
			}
		}
		this.who = who;
		lastTouch = active ? Date.now() : lastTouch;
		schedule();
		return who;
	},

	// touched is told of every request that counts as activity.
	touched() {
		lastTouch = Date.now();
	},

	// expired shows, once, that the session ended. The page stays as it is.
	expired() {
		if (gone || !this.who) return;
		clearTimeout(timer);
		warning?.close("out");
		gone = dialog({
			title: t("app.session.expired"), closable: false, role: "alertdialog",
			body: h("div", null, h("p", null, t("app.session.expiredText"))),
			actions: [
				{ label: t("app.session.leave"), closes: false, onClick: () => location.assign("/?signin=expired") },
				{ label: t("app.session.signInAgain"), kind: "primary", autofocus: true, closes: false, onClick: () => window.open("/auth/sign-in?to=%2F%3Fsignin%3Dreturned", "_blank", "noopener") },
			],
			onClose: () => (gone = null),
		}).open();
	},

	// returned tells the other tabs that somebody signed in.
	returned() {
		channel?.postMessage("signed-in");
	},

	// signOut ends the session everywhere.
	async signOut() {
		let to = "/?signin=signed_out";
		try {
			const answer = await api.post("/auth/sign-out", {}, { quiet: true });
			const next = answer?.to && new URL(answer.to, location.origin);
			if (next && /^https?:$/.test(next.protocol)) to = next.href;
		} catch (err) {
			if (err.status !== 401) throw err;
		}
		api.forget();
		channel?.postMessage("signed-out");
		location.assign(to);
	},

	// signInAddress is where to sign in, and then come back to a path of the page.
	signInAddress(path = location.pathname + location.search) {
		return `/auth/sign-in?to=${encodeURIComponent(path)}`;
	},
};

function left() {
	const who = session.who;
	const ends = [who?.idle_ends_at, who?.ends_at].filter(Boolean).map((at) => Date.parse(at));
	return ends.length === 0 ? Infinity : Math.min(...ends) - (Date.now() + skew);
}

function schedule() {
	clearTimeout(timer);
	if (!session.who || left() === Infinity) return;
	timer = setTimeout(check, Math.max(1000, Math.min(left() - warnBefore, 2 ** 31 - 1)));
}

// check asks the server before it warns: another tab may have been used.
async function check() {
	try {
		if (!(await session.load())) return;
	} catch {
		timer = setTimeout(check, 15_000);
		return;
	}
	if (left() > warnBefore + 2000) {
		warning?.close("elsewhere");
	} else if (told && isAbsolute()) {
		clearTimeout(timer);
		timer = setTimeout(check, Math.max(1000, left()));
	} else {
		warn();
	}
}

// isAbsolute reports whether the session ends whatever is done.
function isAbsolute() {
	return Date.parse(session.who?.ends_at ?? "") <= Date.parse(session.who?.idle_ends_at ?? "");
}

function warn() {
	clearTimeout(timer);
	if (warning) {
		timer = setTimeout(check, 15_000);
		return;
	}
	const absolute = isAbsolute();
	const clock = h("strong", { class: "countdown", role: "timer" });
	const tick = () => {
		const seconds = Math.max(0, Math.round(left() / 1000));
		clock.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
		if (seconds === 0) check();
	};
	const ticking = setInterval(tick, 1000);
	tick();
	timer = setTimeout(check, 15_000);
	warning = dialog({
		title: t("app.session.ending"), role: "alertdialog",
		body: h("div", null, h("p", null, t(absolute ? "app.session.endingAbsolute" : "app.session.endingIdle")), h("p", null, clock)),
		actions: [
			{ label: t("app.signOut"), value: "out", onClick: () => session.signOut() },
			{ label: t(absolute ? "app.ok" : "app.session.stay"), kind: "primary", autofocus: true },
		],
		onClose: (how) => {
			clearInterval(ticking);
			warning = null;
			if (how === "out" || how === "elsewhere" || gone) return;
			told = absolute;
			// Whoever closes it is there. If the server can't be asked, the next check finds out.
			session.load({ active: !absolute }).catch(() => {});
		},
	}).open();
}

// used tells the server that a person is there, who reads and points without asking for anything.
function used() {
	if (!session.who || gone || warning || Date.now() - lastTouch < touchEvery) return;
	lastTouch = Date.now();
	session.load({ active: true }).catch(() => {}); // the next request tells what is wrong
}

for (const type of ["pointerdown", "keydown", "wheel"]) window.addEventListener(type, used, { passive: true });

channel?.addEventListener("message", async (e) => {
	if (e.data === "signed-out") {
		session.who = null;
		location.assign("/?signin=signed_out");
	}
	if (e.data === "signed-in" && session.who) {
		const before = session.who.principal;
		const who = await session.load().catch(() => null);
		if (!who) return;
		if (before && who.principal !== before) {
			location.reload(); // what is shown is another's
			return;
		}
		gone?.close();
		window.dispatchEvent(new Event("cardlake:signed-in"));
	}
});
