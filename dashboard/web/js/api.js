// Calls of the server's API. What is answered stays in memory: nothing of it is kept on disk.

import { session } from "./session.js";

const base = "/v1";

// ApiError is a call that was not answered as asked. kind is the last part of the problem's
// type (RFC 9457), or "offline" where the server was not reached and "aborted" where the page
// gave the call up.
export class ApiError extends Error {
	constructor({ status = 0, kind = "unavailable", title = "", detail = "", hint = "", request = "", retryAfter = 0, offset = null }) {
		super(detail || title || kind);
		this.name = "ApiError";
		Object.assign(this, { status, kind, title, detail, hint, request, retryAfter, offset });
	}
}

function address(path, params) {
	const url = new URL(path.startsWith("/v1/") || path.startsWith("/auth/") ? path : base + (path.startsWith("/") ? path : `/${path}`), location.origin);
	for (const [name, value] of Object.entries(params ?? {})) {
		for (const one of Array.isArray(value) ? value : [value]) {
			if (one !== null && one !== undefined && one !== "") url.searchParams.append(name, one);
		}
	}
	return url;
}

async function problemOf(response) {
	const error = {
		status: response.status,
		request: response.headers.get("X-Request-Id") ?? "",
		retryAfter: Number(response.headers.get("Retry-After")) || 0,
	};
	if ((response.headers.get("Content-Type") ?? "").includes("json")) {
		try {
			const body = await response.json();
			error.kind = String(body.type ?? "").split(/[/:#]/).filter(Boolean).pop();
			if (!error.kind || error.kind === "blank") error.kind = undefined;
			error.title = body.title;
			error.detail = body.detail;
			error.hint = body.hint;
			error.offset = body.offset ?? null;
			error.request = body.request ?? body.request_id ?? error.request;
		} catch {
			// A body that is cut has a status all the same.
		}
	}
	error.kind ??= response.status >= 500 ? "unavailable" : "refused";
	return new ApiError(error);
}

async function raw(path, { method = "GET", body, headers = {}, params, signal, background = false, quiet = false } = {}) {
	const all = new Headers(headers);
	if (!all.has("Accept")) all.set("Accept", "application/json");
	if (background) all.set("Cardlake-Background", "yes");
	if (method !== "GET" && method !== "HEAD") all.set("X-CSRF-Token", session.who?.csrf ?? "");
	let payload = body;
	if (body !== undefined && typeof body !== "string" && !(body instanceof Blob)) {
		payload = JSON.stringify(body);
		all.set("Content-Type", "application/json");
	}
	let response;
	try {
		response = await fetch(address(path, params), {
			method, body: payload, headers: all, signal, cache: "no-store", credentials: "same-origin", redirect: "error", referrerPolicy: "no-referrer",
		});
	} catch (err) {
		if (signal?.aborted || err?.name === "AbortError") throw new ApiError({ kind: "aborted" });
		throw new ApiError({ kind: "offline" });
	}
	if (response.ok || response.status === 304) {
		if (!background) session.touched();
		return response;
	}
	const error = await problemOf(response);
	if (error.status === 401 && !quiet) session.expired();
	throw error;
}

async function json(path, options) {
	const response = await raw(path, options);
	if (response.status === 204 || response.headers.get("Content-Length") === "0") return null;
	try {
		return await response.json();
	} catch (err) {
		if (options?.signal?.aborted || err?.name === "AbortError") throw new ApiError({ kind: "aborted" });
		throw new ApiError({ kind: "unavailable", status: response.status, request: response.headers.get("X-Request-Id") ?? "" });
	}
}

// answers are figures as they came, by address, the newest used last: what did not change is
// not sent again.
const answers = new Map();
const keptAnswers = 80;
// stillFresh is for how many milliseconds an answer serves two charts of one page.
const stillFresh = 1500;

// forget lets go of every answer: those of somebody who signed out, or of another tenant.
function forget() {
	answers.clear();
}

function readFigure(body, etag) {
	const columns = body.columns ?? [];
	const rows = body.rows ?? [];
	return {
		figure: body.figure, sql: body.sql, tenant: body.tenant, from: body.from, to: body.to,
		asOf: body.as_of ? new Date(body.as_of) : null,
		state: body.state ?? null, columns, rows,
		objects: rows.map((row) => Object.fromEntries(columns.map((c, i) => [c.name, row[i]]))),
		next: body.next ?? null, etag,
	};
}

// asking are the questions that are under way, by address: who asks the same waits for the same.
const asking = new Map();

async function figure(name, params = {}, { signal, background = false } = {}) {
	const path = `/figures/${encodeURIComponent(name)}`;
	const key = address(path, params).href;
	const kept = answers.get(key);
	if (kept && Date.now() - kept.at < stillFresh) return kept;
	let one = asking.get(key);
	if (!one) {
		const stop = new AbortController();
		one = { waiting: 0, stop, answer: ask(path, key, params, { signal: stop.signal, background }).finally(() => asking.get(key) === one && asking.delete(key)) };
		one.answer.catch(() => {}); // whoever waits is told
		asking.set(key, one);
	}
	one.waiting++;
	return new Promise((resolve, reject) => {
		// The last one that gives up ends the question.
		const leave = () => {
			reject(new ApiError({ kind: "aborted" }));
			if (--one.waiting > 0) return;
			if (asking.get(key) === one) asking.delete(key);
			one.stop.abort();
		};
		if (signal?.aborted) return leave();
		signal?.addEventListener("abort", leave, { once: true });
		one.answer.then(resolve, reject).finally(() => signal?.removeEventListener("abort", leave));
	});
}

async function ask(path, key, params, { signal, background }) {
	const kept = answers.get(key);
	const response = await raw(path, { params, signal, background, headers: kept ? { "If-None-Match": kept.etag } : {} });
	if (response.status === 304 && kept) {
		kept.at = Date.now();
		answers.delete(key);
		answers.set(key, kept);
		return kept;
	}
	let body;
	try {
		body = await response.json();
	} catch (err) {
		if (signal?.aborted || err?.name === "AbortError") throw new ApiError({ kind: "aborted" });
		throw new ApiError({ kind: "unavailable", request: response.headers.get("X-Request-Id") ?? "" });
	}
	const answer = readFigure(body, response.headers.get("ETag"));
	answer.at = Date.now();
	if (answer.etag) {
		answers.set(key, answer);
		if (answers.size > keptAnswers) answers.delete(answers.keys().next().value);
	}
	return answer;
}

// csv fetches a figure as a file.
async function csv(name, params = {}, { signal } = {}) {
	const response = await raw(`/figures/${encodeURIComponent(name)}`, { params, signal, headers: { Accept: "text/csv" } });
	const named = /filename="?([^";]+)"?/.exec(response.headers.get("Content-Disposition") ?? "");
	return { blob: await response.blob(), name: named ? named[1] : `${name}.csv` };
}

export const api = {
	raw, figure, csv, forget,
	get: (path, options) => json(path, options),
	post: (path, body, options) => json(path, { ...options, method: "POST", body: body ?? {} }),
	put: (path, body, options) => json(path, { ...options, method: "PUT", body: body ?? {} }),
	del: (path, options) => json(path, { ...options, method: "DELETE" }),
	state: (tenant, options) => json("/state", { ...options, params: { tenant } }),
};
