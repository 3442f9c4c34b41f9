// The stream of what happens now: one for the tab, closed while the tab is hidden, opened anew
// when it breaks.

import { number } from "./chartspec.js";

const kept = 900; // seconds, as the server keeps them
const listeners = new Set();
const seconds = new Map(); // by instant
let source = null, tenant = "", again = 0, tries = 0;

export const live = {
	status: "off", reason: "", snapshot: null, asOf: null, partial: false, seconds: [], watch, subscribe, window: over,
	get tenant() {
		return tenant;
	},
};

function tell(event) {
	for (const fn of [...listeners]) fn(event);
}

function become(status, reason = "") {
	if (live.status === status && live.reason === reason) return;
	live.status = status;
	live.reason = reason;
	tell({ type: "status" });
}

// watch follows a tenant from now on; "" follows none.
function watch(name) {
	if (name === tenant && live.status !== "ended") return;
	tenant = name;
	seconds.clear();
	live.seconds = [];
	live.snapshot = null;
	tries = 0;
	open();
}

// subscribe calls fn at each event, until the signal or what it returns ends it.
function subscribe(fn, { signal } = {}) {
	if (signal?.aborted) return () => {};
	listeners.add(fn);
	const end = () => listeners.delete(fn);
	signal?.addEventListener("abort", end, { once: true });
	return end;
}

function close() {
	clearTimeout(again);
	source?.close();
	source = null;
}

function open() {
	close();
	if (tenant === "") return become("off");
	if (document.hidden) return become("paused");
	become(tries === 0 ? "connecting" : "lost");
	const mine = source = new EventSource(`/v1/live?${new URLSearchParams({ tenant })}`);
	const on = (type, take) => mine.addEventListener(type, (e) => {
		if (mine !== source) return;
		let data;
		try {
			data = JSON.parse(e.data);
		} catch {
			return; // a message cut short: the next one has the numbers anew
		}
		tries = 0;
		take(data);
	});
	on("seconds", (data) => {
		const changed = data.seconds ?? [];
		live.asOf = instant(data.as_of);
		live.partial = Boolean(data.partial);
		for (const s of changed) seconds.set(s.at, s);
		arrange();
		become(data.live === false ? "delayed" : "live");
		if (changed.length > 0) tell({ type: "seconds", changed });
	});
	on("snapshot", (data) => {
		const before = live.snapshot;
		live.snapshot = { id: data.id, committedAt: instant(data.committed_at), asOf: instant(data.as_of) };
		become(data.live === false ? "delayed" : "live");
		if (data.id !== before?.id) tell({ type: "snapshot", snapshot: live.snapshot, first: !before });
	});
	on("end", (data) => {
		close();
		if (data.reason === "too_slow" || data.reason === "ending") return retry(data.reason);
		become("ended", data.reason ?? "");
	});
	mine.onerror = () => {
		if (mine !== source) return;
		// The browser tries again by itself unless the answer was no stream at all.
		if (mine.readyState === EventSource.CLOSED) retry("");
		else become("lost");
	};
}

function retry(reason) {
	close();
	become("lost", reason);
	again = setTimeout(open, Math.min(60e3, 2000 * 2 ** tries++) * (0.75 + Math.random() / 2));
}

function instant(v) {
	return v ? new Date(v) : null;
}

function arrange() {
	const sorted = [...seconds.values()].sort((a, b) => a.at < b.at ? -1 : 1);
	for (const s of sorted.slice(0, Math.max(0, sorted.length - kept))) seconds.delete(s.at);
	live.seconds = sorted.slice(-kept);
}

// over sums the last n seconds up to the newest one; perSecond has a number for each of them.
function over(n) {
	const last = live.seconds.at(-1);
	const sum = { requests: 0, approved: 0, declined: 0, perSecond: Array(n).fill(last ? 0 : null) };
	if (!last) return sum;
	const end = Date.parse(last.at);
	for (const s of live.seconds) {
		const back = Math.round((end - Date.parse(s.at)) / 1000);
		if (back >= n) continue;
		sum.requests += s.requests;
		sum.approved += s.approved ?? 0;
		sum.declined += s.declined ?? 0;
		sum.perSecond[n - 1 - back] = number(s.requests) ?? 0;
	}
	return sum;
}

document.addEventListener("visibilitychange", () => {
	if (live.status === "ended") return;
	tries = 0;
	open();
});
