// The words of the page, in the user's language. Dictionaries are flat: "overview.title" and its
// text, in a subset of ICU MessageFormat: {name}, {n, plural, one {…} other {…}} and
// {kind, select, a {…} other {…}}; # in a plural is its number.

export const languages = { en: "English", es: "Español", "pt-BR": "Português" };

// locales are how Intl writes in a language: as in Latin America, not as in Spain.
const locales = { en: "en-GB", es: "es-419", "pt-BR": "pt-BR" };
// spanish are the countries whose own way to write numbers a page in Spanish follows: thousands
// are 1,000 in Mexico and 1.000 in Argentina.
const spanish = new Set(["AR", "BO", "CL", "CO", "CR", "DO", "EC", "GT", "HN", "MX", "NI", "PA", "PE", "PY", "SV", "UY", "VE"]);
let country = "";

const kept = "cardlake.language";
const missing = "–";

let current = "en";
let words = {};
let rest = null; // the promise of the words beyond the first
const parsed = new Map();

// language returns the language of the page: a key of languages.
export function language() {
	return current;
}

// locale returns the language as Intl has it, for the country.
export function locale() {
	return current === "es" && spanish.has(country) ? `es-${country}` : locales[current];
}

// setCountry says whose way to write numbers and days it is: the tenant's.
export function setCountry(code) {
	country = code ?? "";
}

// preferred returns the language that was chosen, else the browser's, else English.
export function preferred() {
	let chosen = null;
	try {
		chosen = localStorage.getItem(kept);
	} catch {
		// A browser that keeps nothing has its own languages.
	}
	for (const tag of [chosen, ...(navigator.languages ?? [])]) {
		if (!tag) continue;
		if (tag in languages) return tag;
		const base = tag.toLowerCase().split("-")[0];
		if (base === "pt") return "pt-BR";
		if (base in languages) return base;
	}
	return "en";
}

async function fetched(name) {
	const response = await fetch(new URL(`../i18n/${name}.json`, import.meta.url));
	if (!response.ok) throw new Error("the page's words can't be loaded");
	return response.json();
}

// load fetches the first words of a language, and makes it the page's.
export async function load(lang) {
	words = await fetched(lang);
	current = lang;
	rest = null;
	parsed.clear();
	document.documentElement.lang = lang;
}

// more fetches the words of the pages that few begin with, once.
export function more() {
	const lang = current;
	rest ??= fetched(`${lang}-more`).then((fetching) => {
		if (lang === current) Object.assign(words, fetching);
	}, (err) => {
		rest = null;
		throw err;
	});
	return rest;
}

// setLanguage keeps the choice, loads the words, and tells the page to render anew.
export async function setLanguage(lang) {
	await load(lang);
	try {
		localStorage.setItem(kept, lang);
	} catch {
		// Then it holds for this tab.
	}
	window.dispatchEvent(new Event("cardlake:language"));
}

// t returns the text of a key with its arguments. A key that is not there is itself, so that a
// person has something to name; a test sees to it that there is none.
export function t(key, args) {
	const text = words[key];
	if (text === undefined) return key;
	let message = parsed.get(key);
	if (!message) parsed.set(key, (message = parse(text)));
	return write(message, args ?? {}, null);
}

// t.has reports whether there is a text of the key.
t.has = (key) => key in words;

// t.term returns the word for a code, such as ("channel", "pos"), and the code where there is none.
t.term = (kind, code) => {
	if (code === null || code === undefined || code === "") return missing;
	const key = `terms.${kind}.${code}`;
	return key in words ? t(key) : String(code);
};

function write(message, args, number) {
	let out = "";
	for (const part of message) {
		if (typeof part === "string") {
			out += part;
		} else if (part.kind === "number") {
			out += counted(number);
		} else if (part.kind === "value") {
			const v = args[part.name];
			out += typeof v === "number" ? counted(v) : (v ?? "");
		} else if (part.kind === "plural") {
			const n = Number(args[part.name]);
			const form = part.forms[`=${n}`] ?? part.forms[new Intl.PluralRules(locale()).select(n)] ?? part.forms.other;
			out += write(form, args, n);
		} else {
			out += write(part.forms[args[part.name]] ?? part.forms.other, args, number);
		}
	}
	return out;
}

function counted(n) {
	return new Intl.NumberFormat(locale()).format(n);
}

// parse reads a message. It is forgiving: what is no argument is text. The strict reader is the
// test's.
export function parse(text) {
	let at = 0;

	function message(inside) {
		const parts = [];
		let plain = "";
		const flush = () => {
			if (plain) parts.push(plain);
			plain = "";
		};
		while (at < text.length) {
			const c = text[at];
			if (c === "}" && inside) break;
			if (c === "'" && (text[at + 1] === "{" || text[at + 1] === "}" || text[at + 1] === "'")) {
				if (text[at + 1] === "'") {
					plain += "'";
					at += 2;
					continue;
				}
				const end = text.indexOf("'", at + 2);
				const stop = end < 0 ? text.length : end;
				plain += text.slice(at + 1, stop);
				at = stop + 1;
			} else if (c === "{") {
				flush();
				at++;
				parts.push(argument());
			} else if (c === "#" && inside) {
				flush();
				at++;
				parts.push({ kind: "number" });
			} else {
				plain += c;
				at++;
			}
		}
		flush();
		return parts;
	}

	function word() {
		while (/\s/.test(text[at] ?? "")) at++;
		const begin = at;
		while (at < text.length && !/[\s,{}]/.test(text[at])) at++;
		const end = at;
		while (/\s/.test(text[at] ?? "")) at++;
		return text.slice(begin, end);
	}

	function argument() {
		const name = word();
		if (text[at] !== ",") {
			at++;
			return { kind: "value", name };
		}
		at++;
		const kind = word();
		at++;
		const forms = {};
		for (let form = word(); form !== "" && text[at] === "{"; form = word()) {
			at++;
			forms[form] = message(true);
			at++;
		}
		at++;
		return { kind, name, forms };
	}

	return message(false);
}
