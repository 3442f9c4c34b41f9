// Before anything is painted: the theme that was chosen, else the system's. A script of its own,
// which the page waits for, because a flash of the other theme is seen.
(() => {
	let chosen = null;
	try {
		chosen = localStorage.getItem("cardlake.theme");
	} catch {
		chosen = null; // a browser that keeps nothing has the system's
	}
	const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
	document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
