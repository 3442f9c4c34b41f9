// Elements, made by calls: text is text, and nothing is ever parsed as HTML.

const svgNamespace = "http://www.w3.org/2000/svg";
const properties = new Set(["value", "checked", "disabled", "selected", "indeterminate", "open"]);
const refused = new Set(["innerHTML", "outerHTML", "srcdoc"]);

function add(node, children) {
	for (const child of children) {
		if (child === null || child === undefined || child === false || child === true) continue;
		if (Array.isArray(child)) add(node, child);
		else node.append(child instanceof Node ? child : String(child));
	}
	return node;
}

function set(node, props) {
	for (const [name, value] of Object.entries(props ?? {})) {
		if (value === null || value === undefined || value === false) {
			if (name === "disabled") node.disabled = false;
			continue;
		}
		if (refused.has(name) || /^on/i.test(name) && name !== "on") throw new Error(`h: ${name} is not set this way`);
		if (name === "class") {
			const names = (Array.isArray(value) ? value : [value]).filter(Boolean).join(" ");
			if (names) node.setAttribute("class", names);
		} else if (name === "on") {
			for (const [type, listener] of Object.entries(value)) if (listener) node.addEventListener(type, listener);
		} else if (name === "dataset") {
			for (const [k, v] of Object.entries(value)) if (v !== null && v !== undefined) node.dataset[k] = v;
		} else if (name === "style") {
			if (typeof value === "string") throw new Error("h: style is an object, because the policy refuses style attributes");
			for (const [k, v] of Object.entries(value)) k.startsWith("--") ? node.style.setProperty(k, v) : (node.style[k] = v);
		} else if (properties.has(name) && !(node instanceof SVGElement)) {
			node[name] = value;
		} else if ((name === "href" || name === "src") && /^\s*(javascript|vbscript|data:text)/i.test(String(value))) {
			throw new Error(`h: ${name} is no address of a page`);
		} else {
			node.setAttribute(name, value === true ? "" : String(value));
		}
	}
	return node;
}

// h makes an element: props are attributes, but for class, dataset, style (an object) and on
// (listeners by type). Children are nodes and text; null and false are left out.
export function h(tag, props, ...children) {
	const node = add(document.createElement(tag), children);
	return set(node, props); // after the children: a select's value is one of its options
}

// svg is h for drawings.
export function svg(tag, props, ...children) {
	return set(add(document.createElementNS(svgNamespace, tag), children), props);
}

// clear takes all children away.
export function clear(node) {
	node.replaceChildren();
	return node;
}

// put replaces the children.
export function put(node, ...children) {
	node.replaceChildren();
	return add(node, children);
}

// debounce calls fn once nothing was asked of it for ms.
export function debounce(fn, ms = 250) {
	let timer = 0;
	return (...args) => {
		clearTimeout(timer);
		timer = setTimeout(() => fn(...args), ms);
	};
}

let drawn = 0;

// newID returns an id that no other element has.
export function newID(prefix = "id") {
	return `${prefix}-${++drawn}`;
}

// shapes are paths in a square of 24, drawn with a stroke of 1.75.
const shapes = {
	overview: "M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-3H4zM14 7h6V4h-6z",
	transactions: "M4 8h13M14 5l3 3-3 3M20 16H7M10 13l-3 3 3 3",
	declines: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM5.7 5.7l12.6 12.6",
	cards: "M4.5 5h15A1.5 1.5 0 0 1 21 6.500v11a1.5 1.5 0 0 1-1.500 1.500h-15A1.500 1.500 0 0 1 3 17.500v-11A1.500 1.500 0 0 1 4.500 5zM3 10h18M7 15h3",
	merchants: "M4 10v9.500h16V10M3 7l1.500-3h15L21 7v1a2.500 2.500 0 0 1-4.500 1.500 2.700 2.700 0 0 1-4.500 0 2.700 2.700 0 0 1-4.500 0A2.500 2.500 0 0 1 3 8zM9.500 19.500V14h5v5.500",
	anomalies: "M12 4 2.800 19.500h18.400zM12 10v4.500M12 17v.1",
	segments: "M12 3v9l6.400 6.400A9 9 0 1 1 12 3zM16 3.700A9 9 0 0 1 20.900 10H16z",
	predictions: "M3 17l5.500-6 4 3.500L21 6M15.500 6H21v5.500",
	recommendations: "M12 3.500l2.600 5.400 5.900.8-4.300 4.100 1.100 5.900L12 16.900l-5.300 2.800 1.100-5.900-4.300-4.100 5.900-.8z",
	sql: "M4 5h16v14H4zM8 9.500l2.500 2.500L8 14.500M13 15h3.500",
	data: "M12 3c4.400 0 8 1.300 8 3v12c0 1.700-3.600 3-8 3s-8-1.300-8-3V6c0-1.700 3.600-3 8-3zM4 6c0 1.700 3.600 3 8 3s8-1.300 8-3M4 12c0 1.700 3.600 3 8 3s8-1.300 8-3",
	access: "M12 3l7.500 2.800v5.400c0 4.600-3.100 8-7.500 9.800-4.400-1.800-7.500-5.200-7.500-9.800V5.800zM9 12l2.200 2.200L15.200 10",
	health: "M3 12h4l2.500-6.500 4.500 13L16.500 12H21",
	search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4",
	filter: "M4 5h16l-6.300 7.300V19l-3.400-2v-4.700z",
	menu: "M4 7h16M4 12h16M4 17h16",
	close: "M6 6l12 12M18 6L6 18",
	chevron: "M6 9l6 6 6-6", down: "M6 9l6 6 6-6", "chevron-right": "M9 6l6 6-6 6", "chevron-left": "M15 6l-6 6 6 6", up: "M6 15l6-6 6 6",
	check: "M5 12.500l4.500 4.500L19 7.500",
	copy: "M9 9h11v11H9zM15 9V4H4v11h5",
	share: "M12 15V4M8 7.500L12 3.500l4 4M5 12v8h14v-8",
	save: "M6 4h12v16l-6-4.500L6 20z",
	more: "M5.500 12h.1M12 12h.1M18.500 12h.1",
	download: "M12 4v11M7.500 11l4.500 4.500 4.500-4.500M5 20h14",
	refresh: "M20 11a8 8 0 0 0-14.300-4L4 9M4 4v5h5M4 13a8 8 0 0 0 14.300 4L20 15M20 20v-5h-5",
	sun: "M12 16.500a4.500 4.500 0 1 0 0-9 4.500 4.500 0 0 0 0 9zM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M5.300 18.700l1.400-1.400M17.300 6.700l1.400-1.400",
	moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z",
	screen: "M3.500 5h17v11.500h-17zM9 20.500h6M12 16.500v4",
	globe: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM3 12h18M12 3c2.500 2.500 3.700 5.500 3.700 9s-1.200 6.500-3.700 9c-2.500-2.500-3.700-5.500-3.700-9S9.500 5.500 12 3z",
	user: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.500 20.500c.8-4 3.700-6 7.500-6s6.700 2 7.500 6",
	"sign-out": "M10 4H5v16h5M15 8l4 4-4 4M19 12H9.500",
	clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5.200l3.300 2",
	history: "M4 5v4.500h4.500M4.500 9.500A8 8 0 1 1 4 13M12 8v4.300l3 1.800",
	warning: "M12 4 2.800 19.500h18.400zM12 10v4.500M12 17v.1",
	info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5.500M12 7.800v.1",
	error: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7.500v5.500M12 16.200v.1",
	external: "M13.500 4.500H19.500V10.500M19 5l-8 8M17 14v5.500H4.500V7H10",
	key: "M8 19a4.500 4.500 0 1 0 0-9 4.500 4.500 0 0 0 0 9zM11.200 11.300L19.500 3M16 6.500l3 3",
	plus: "M12 5v14M5 12h14", minus: "M5 12h14",
	trash: "M4 7h16M9 7V4h6v3M6.500 7l1 13h9l1-13M10 11v5.500M14 11v5.500",
	play: "M7 4.500v15l12-7.500z", pause: "M8 5v14M16 5v14",
	table: "M4 5h16v14H4zM4 10h16M4 14.500h16M10 10v9",
	image: "M4 5h16v14H4zM4 16l4.500-4.500 4 4L15 13l5 4.500M15.500 9v.1",
	calendar: "M4 6h16v14H4zM4 10.500h16M8.500 3.500V8M15.500 3.500V8",
	lock: "M5.500 11h13v9.500h-13zM8 11V7.500a4 4 0 0 1 8 0V11",
	building: "M5 20.500v-17h9v17M14 9h5v11.500M3 20.500h18M8.500 7.500h2M8.500 11.500h2M8.500 15.500h2",
	"arrow-up": "M12 19V5M6 11l6-6 6 6", "arrow-down": "M12 5v14M6 13l6 6 6-6", "arrow-right": "M5 12h14M13 6l6 6-6 6", "arrow-left": "M19 12H5M11 6l-6 6 6 6",
	bell: "M6 16.500V11a6 6 0 0 1 12 0v5.500l1.500 1.500h-15zM10 20.500h4",
	live: "M12 13.200a1.200 1.200 0 1 0 0-2.400 1.200 1.200 0 0 0 0 2.400zM8.100 15.900a5.500 5.500 0 0 1 0-7.800M15.900 8.100a5.500 5.500 0 0 1 0 7.800M5.300 18.700a9.500 9.500 0 0 1 0-13.400M18.700 5.300a9.500 9.500 0 0 1 0 13.400",
	compare: "M4 17l5-6 4 3 6.500-8M4 20.500h16",
	panel: "M4 5h16v14H4zM9.500 5v14",
	phone: "M6.500 3.500H10l1.500 4.500-2 1.500a11 11 0 0 0 5 5l1.500-2 4.500 1.500v3.500a2 2 0 0 1-2 2A15.500 15.500 0 0 1 4.500 5.500a2 2 0 0 1 2-2z",
	bank: "M3.500 9.500L12 4l8.500 5.500zM5.500 9.500V18M10 9.500V18M14 9.500V18M18.500 9.500V18M3.500 20.500h17",
};

// icon draws a shape. Without a label it is decoration, which screen readers pass over.
export function icon(name, { size = 18, label } = {}) {
	return svg("svg", {
		class: `icon icon-${name}`, viewBox: "0 0 24 24", width: size, height: size, fill: "none", focusable: "false",
		...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }),
	}, svg("path", { d: shapes[name] ?? shapes.info }));
}
