// What the jobs say in English, in the user's language: reasons of alerts and recommendations,
// names and descriptions of segments, features. A sentence that is not known is left as it is.

import { fmt } from "./format.js";
import { t } from "./i18n.js";

const n = "([\\d,.]+)";

// sentences are those of queries/anomaly/features and queries/insights/recommendations, with the
// names of what stands in the brackets. A name that begins with # is a number.
const sentences = [
	["triedCards", `${n} cards tried at this merchant within 10 minutes, ${n} requests declined`, "#cards", "#declined"],
	["triedUnknown", `${n} of the numbers tried at this merchant within 10 minutes were never issued`, "#n"],
	["triedOfBIN", `${n} of the cards tried there begin with the same digits`, "#n"],
	["triedSmall", `${n} of the requests there are for very small amounts`, "#n"],
	["compromise", `${n} other cards that had been at one of this card's terminals have been used oddly elsewhere since; by chance that many would be in fewer than 1 case of ${n}`, "#n", "#cases"],
	["travel", `used in (.+) ${n} (minute|hour|day)s? after (.+): ${n} km`, "place", "#time", "unit", "before", "#km"],
	["uses", `the card's use number ${n} within an hour; it makes ${n} a day`, "#n", "#rate"],
	["rising", `amounts rise ${n} times in a row`, "#n"],
	["declinesInRow", `declined ${n} times in a row just before`, "#n"],
	["ratio", `${n} times the card's usual amount`, "#n"],
	["newPlace", `the card's first use in (.+), ${n} km from its last`, "place", "#km"],
	["newMCC", "the card's first use in this merchant category"],
	["month", "the card's first use in a month"],
	["newCountry", "the card's first use in (.+)", "country"],
	["newMerchant", "the card's first use at this merchant"],
	["stripeNever", "read by its stripe, as hardly ever before"],
	["stripe", `read by its stripe, as ${n} % of the card's uses`, "#n"],
	["amountCategory", "an amount far (above|below) those of the merchant's category", "side"],
	["amountMerchant", "an amount far (above|below) those of this merchant", "side"],
	["merchantSurge", `${n} events at this merchant within an hour; it has ${n} a day`, "#n", "#rate"],
	["merchantDeclined", `${n} % of a day's requests at this merchant declined`, "#n"],
	["unknownCard", "a card with this number was never issued"],
	["declinedHere", "a request was declined at this merchant in the 10 minutes before"],
	["seldom", `in (.+), where it is seldom used, ${n} km from its last use`, "place", "#km"],
	["hour", "at an hour when the card is hardly ever used"],
	["declined", "declined"],
	["none", "none of its figures stands out, but they rarely come together"],
	["buysHere", "you buy here"],
	["because", "because you buy at (.+)", "merchant"],
	["popularIn", "popular in (.+)", "place"],
	["popular", "popular"],
].map(([key, text, ...names]) => ({ key, names, form: new RegExp(`^${text}$`) }));

// reason translates one sentence.
export function reason(text) {
	for (const s of sentences) {
		const found = s.form.exec(text);
		if (!found) continue;
		const args = Object.fromEntries(s.names.map((name, i) => name[0] === "#" ? [name.slice(1), Number(found[i + 1].replaceAll(",", ""))] : [name, written[name]?.(found[i + 1]) ?? found[i + 1]]));
		return t(`phrases.reason.${s.key}`, args);
	}
	return text;
}

const written = { place: town, country };
let codes = null;

// country writes a country that has its English name in the user's language.
function country(name) {
	if (!codes) {
		const english = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
		const letters = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];
		codes = new Map(letters.flatMap((a) => letters.map((b) => [english.of(a + b), a + b])));
	}
	const code = codes.get(name.replace(/^the /, ""));
	return code ? fmt.country(code) : name;
}

// town writes a name that is all in capitals, as messages of cards have it, like a name.
function town(name) {
	if (name !== name.toLocaleUpperCase()) return name;
	return name.toLocaleLowerCase().replaceAll(/(^|[\s-])(\p{L})/gu, (_, before, c) => before + c.toLocaleUpperCase());
}

// reasons are the sentences of an alert, the strongest first.
export function reasons(text) {
	return String(text ?? "").split("\n").filter(Boolean).map((s) => {
		const said = reason(s);
		return said.charAt(0).toLocaleUpperCase() + said.slice(1);
	});
}

const adjectives = ["lapsed", "active", "frequent", "occasional", "high-value", "low-value", "big-ticket", "small-ticket", "often declined", "typical"];
const nouns = [
	"customers", "online shoppers", "in-store shoppers", "cash users", "night-time spenders", "daytime spenders", "weekend shoppers", "weekday shoppers",
	"travellers", "roamers", "regulars", "all-round shoppers",
];
const habits = [
	"have not bought for long", "bought lately", "buy often", "buy seldom", "spend much at a time", "spend little at a time", "spend much", "spend little",
	"are often declined", "are seldom declined", "buy online", "buy in person", "take out cash", "seldom take out cash", "buy at night", "buy by day",
	"buy at weekends", "buy on weekdays", "buy abroad", "buy at home", "buy from many merchants", "buy from few merchants",
	"buy many kinds of things", "buy few kinds of things",
];

const keyOf = (text) => text.replaceAll(/[ -]+(\w)/g, (_, c) => c.toUpperCase());

// segmentName translates a name such as "Lapsed high-value travellers", which is made of words of
// queries/segment.
export function segmentName(name) {
	const found = /^(.*?)( who (.+?))?( (\d+))?$/.exec(name ?? "");
	if (!found) return name ?? "";
	let rest = found[1].charAt(0).toLowerCase() + found[1].slice(1);
	const noun = nouns.filter((w) => rest === w || rest.endsWith(` ${w}`)).sort((a, b) => b.length - a.length)[0];
	if (!noun || (found[3] && !habits.includes(found[3]))) return name;
	rest = rest.slice(0, rest.length - noun.length).trim();
	const said = [];
	while (rest) {
		const word = adjectives.find((w) => rest === w || rest.startsWith(`${w} `));
		if (!word) return name;
		said.push(t(`phrases.adjective.${keyOf(word)}`));
		rest = rest.slice(word.length).trim();
	}
	const text = t("phrases.segment", {
		noun: t(`phrases.noun.${keyOf(noun)}`), n: said.length, first: said[0] ?? "", second: said[1] ?? "",
		does: found[3] ? ` ${t("phrases.who", { does: t(`phrases.does.${keyOf(found[3])}`) })}` : "", number: found[5] ? ` ${found[5]}` : "",
	}).trim();
	return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}

// segmentHabits are what a description says, with how far it goes: [text, deviations].
export function segmentHabits(description) {
	return [...String(description ?? "").matchAll(/(?:^They |, | and )([a-z][a-z ]*?) \(([+-][\d.]+)\)/g)].map(([, does, lean]) =>
		[habits.includes(does) ? t(`phrases.does.${keyOf(does)}`) : does, Number(lean)]);
}

const spans = { "1h": "hour", "1d": "day", "7d": "week", "30d": "month" };
const money = /_(sum|mean)_/;

// feature is what a feature of an alert is called.
export function feature(name) {
	const history = /^(card|merchant|terminal)_(?:(count|sum|mean|declined)_(1h|1d|7d|30d)|(deviation|surge|since))$/.exec(name);
	if (history) {
		return t(`phrases.history.${history[2] ?? history[4]}`, { of: history[1], span: history[3] ? t(`phrases.span.${spans[history[3]]}`) : "" });
	}
	const key = `phrases.feature.${name}`;
	return t.has(key) ? t(key) : name;
}

const yesNo = new Set(["declined", "unknown_card", "present", "by_stripe", "keyed", "cash", "night", "weekend", "new_merchant", "new_mcc", "new_country", "new_place"]);
const shares = /(_declined_\d|_share$)/;

// featureValue writes a feature's value with its unit.
export function featureValue(name, value, currency) {
	if (yesNo.has(name)) return value ? t("app.yes") : t("app.no");
	if (name === "amount") return fmt.money(Math.expm1(value), currency);
	if (/_since$/.test(name)) return fmt.duration(Math.expm1(value));
	if (money.test(name)) return fmt.money(value, currency);
	if (shares.test(name)) return fmt.percent(value, 0);
	if (/_(deviation|surge)$/.test(name)) return t("phrases.unit.deviations", { x: fmt.number(value, 1) });
	if (name === "card_ratio") return t("phrases.unit.times", { x: fmt.number(value, 1) });
	if (name === "travel_speed") return t("phrases.unit.speed", { x: fmt.number(value, 0) });
	if (name === "travel_kilometres") return t("phrases.unit.kilometres", { x: fmt.number(value, 0) });
	if (name === "travel_minutes") return fmt.duration(value * 60);
	return fmt.number(value, 1);
}
