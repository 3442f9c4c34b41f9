// Numbers, money, days and instants in the user's language. Instants are written in the tenant's
// time zone; days are days of UTC, as the lake has them.

import { locale, t } from "./i18n.js";

export const none = "–";

// zones are where the people of a country's card business look at a clock.
const zones = {
	AR: "America/Argentina/Buenos_Aires", BO: "America/La_Paz", BR: "America/Sao_Paulo", CL: "America/Santiago",
	CO: "America/Bogota", CR: "America/Costa_Rica", DO: "America/Santo_Domingo", EC: "America/Guayaquil",
	GT: "America/Guatemala", HN: "America/Tegucigalpa", MX: "America/Mexico_City", NI: "America/Managua",
	PA: "America/Panama", PE: "America/Lima", PY: "America/Asuncion", SV: "America/El_Salvador", US: "America/New_York",
	UY: "America/Montevideo", VE: "America/Caracas", ES: "Europe/Madrid", PT: "Europe/Lisbon",
};

let zone = "UTC";
let home = "";

// zoneOf returns the time zone of a country, UTC where none is known.
export function zoneOf(country) {
	return zones[country] ?? "UTC";
}

// setZone says in which time zone instants are written from now on.
export function setZone(name) {
	zone = name;
}

// setCurrency says which currency goes by its sign alone: the tenant's. Of the others the code is
// written, because half of Latin America's are "$".
export function setCurrency(code) {
	home = code ?? "";
}

const made = new Map();

// formatter keeps what Intl makes: making one costs more than a hundred uses.
function formatter(kind, options) {
	const key = `${kind.name}|${locale()}|${JSON.stringify(options)}`;
	let f = made.get(key);
	if (!f) made.set(key, (f = new kind(locale(), options)));
	return f;
}

const number = (options) => formatter(Intl.NumberFormat, options);
const date = (options) => formatter(Intl.DateTimeFormat, options);

function absent(v) {
	return v === null || v === undefined || v === "" || (typeof v === "number" && Number.isNaN(v));
}

// dayOf reads "2026-11-23" as that day of UTC.
function dayOf(v) {
	return v instanceof Date ? v : new Date(`${String(v).slice(0, 10)}T00:00:00Z`);
}

function instantOf(v) {
	return v instanceof Date ? v : new Date(v);
}

function wellFormed(when, write) {
	return Number.isNaN(when.getTime()) ? none : write(when);
}

function names(type, code) {
	try {
		return formatter(Intl.DisplayNames, { type, fallback: "code" }).of(code) ?? code;
	} catch {
		return code; // not a code at all
	}
}

export const fmt = {
	// money takes numbers and decimal strings, which are written exactly. Without a currency it
	// is a number.
	money(value, currency, { compact = false, digits } = {}) {
		if (absent(value)) return none;
		const options = compact
			? { notation: "compact", maximumFractionDigits: digits ?? 1, minimumFractionDigits: 0 }
			: digits === undefined ? {} : { minimumFractionDigits: digits, maximumFractionDigits: digits };
		if (!/^[A-Z]{3}$/.test(currency ?? "")) return number(options).format(value);
		return number({ style: "currency", currency, currencyDisplay: currency === home ? "narrowSymbol" : "code", ...options }).format(value);
	},
	count(n, { compact = false } = {}) {
		if (absent(n)) return none;
		return number(compact ? { notation: "compact", maximumFractionDigits: 1 } : { maximumFractionDigits: 0 }).format(n);
	},
	number(x, digits = 2) {
		return absent(x) ? none : number({ maximumFractionDigits: digits }).format(x);
	},
	percent(fraction, digits = 1) {
		if (absent(fraction)) return none;
		return number({ style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(fraction);
	},
	day: (v) => absent(v) ? none : wellFormed(dayOf(v), (d) => date({ day: "numeric", month: "short", year: "numeric", timeZone: "UTC" }).format(d)),
	dayShort: (v) => absent(v) ? none : wellFormed(dayOf(v), (d) => date({ day: "numeric", month: "short", timeZone: "UTC" }).format(d)),
	month: (v) => absent(v) ? none : wellFormed(dayOf(v), (d) => date({ month: "short", year: "numeric", timeZone: "UTC" }).format(d)),
	weekday: (v) => absent(v) ? none : wellFormed(dayOf(v), (d) => date({ weekday: "short", timeZone: "UTC" }).format(d)),
	instant(v, { seconds = false } = {}) {
		if (absent(v)) return none;
		return wellFormed(instantOf(v), (d) => date({
			day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
			...(seconds ? { second: "2-digit" } : {}), hourCycle: "h23", timeZone: zone,
		}).format(d));
	},
	time(v, { seconds = false } = {}) {
		if (absent(v)) return none;
		return wellFormed(instantOf(v), (d) => date({
			hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}), hourCycle: "h23", timeZone: zone,
		}).format(d));
	},
	// date writes the day of an instant, in the tenant's time zone, without its year.
	date: (v) => absent(v) ? none : wellFormed(instantOf(v), (d) => date({ day: "numeric", month: "short", timeZone: zone }).format(d)),
	// hour writes an hour of the day, of UTC, or an instant's.
	hour(v) {
		if (absent(v)) return none;
		const d = typeof v === "number" ? new Date(Date.UTC(2000, 0, 1, v)) : instantOf(v);
		return wellFormed(d, (at) => date({ hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "UTC" }).format(at));
	},
	ago(v, now = Date.now()) {
		if (absent(v)) return none;
		const seconds = Math.round((instantOf(v).getTime() - now) / 1000);
		const far = Math.abs(seconds);
		const f = formatter(Intl.RelativeTimeFormat, { numeric: "always", style: "short" });
		if (far < 60) return f.format(Math.min(seconds, 0), "second");
		if (far < 3600) return f.format(Math.trunc(seconds / 60), "minute");
		if (far < 86400) return f.format(Math.trunc(seconds / 3600), "hour");
		return f.format(Math.trunc(seconds / 86400), "day");
	},
	duration(seconds) {
		if (absent(seconds)) return none;
		const unit = (n, u, digits = 0) => number({ style: "unit", unit: u, unitDisplay: "short", maximumFractionDigits: digits }).format(n);
		const s = Number(seconds);
		if (s < 0.001) return unit(s * 1e6, "microsecond");
		if (s < 1) return unit(s * 1e3, "millisecond");
		if (s < 60) return unit(s, "second", s < 10 ? 1 : 0);
		if (s < 3600) return unit(Math.round(s / 60), "minute");
		if (s < 86400) return unit(s / 3600, "hour", 1);
		return unit(s / 86400, "day", 1);
	},
	bytes(n) {
		if (absent(n)) return none;
		let v = Number(n);
		const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
		let u = 0;
		while (v >= 1000 && u < units.length - 1) {
			v /= 1000;
			u++;
		}
		return number({ style: "unit", unit: units[u], unitDisplay: "short", maximumFractionDigits: v < 10 && u > 0 ? 1 : 0 }).format(v);
	},
	country: (code) => absent(code) ? none : names("region", code),
	currency: (code) => absent(code) ? none : names("currency", code),
	mcc(code) {
		if (absent(code)) return none;
		const key = `terms.mcc.${code}`;
		return t.has(key) ? t(key) : t("terms.mcc", { code: String(code) });
	},
	card: (last4) => absent(last4) ? none : `•••• ${last4}`,
	token(token) {
		if (absent(token)) return none;
		const s = String(token);
		return s.length > 16 ? `${s.slice(0, 8)}…${s.slice(-4)}` : s;
	},
	// range writes the days from `from` up to the day before `to`.
	range(from, to) {
		const last = new Date(dayOf(to).getTime() - 86400e3);
		return date({ day: "numeric", month: "short", year: "numeric", timeZone: "UTC" }).formatRange(dayOf(from), last);
	},
	// delta compares: null where there is nothing to compare with. With points both are
	// fractions, and the difference is in percentage points.
	delta(now, before, { better = "up", points = false } = {}) {
		if (absent(now) || absent(before)) return null;
		const a = Number(now), b = Number(before);
		if (!points && b === 0) return null;
		const change = points ? (a - b) * 100 : (a - b) / Math.abs(b);
		const small = Math.abs(change) < (points ? 0.05 : 0.0005);
		const direction = small ? "flat" : change > 0 ? "up" : "down";
		const tone = direction === "flat" || better === "none" ? "neutral" : direction === better ? "good" : "bad";
		const text = points
			? t("app.points", { n: number({ signDisplay: "exceptZero", minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(change) })
			: number({ style: "percent", signDisplay: "exceptZero", maximumFractionDigits: Math.abs(change) < 1 ? 1 : 0 }).format(change);
		return { text, direction, tone, change };
	},
	// zone names the time zone of instants, as people of it would: "GMT-5".
	zone(v = new Date()) {
		const part = date({ timeZoneName: "short", timeZone: zone }).formatToParts(instantOf(v)).find((p) => p.type === "timeZoneName");
		return part?.value ?? zone;
	},
};
