// Bundles entry.js; build.sh calls it where the packages are. Two things differ from the packages:
// modules that nothing reaches with the options that js/chart.js sets are left out, and the
// renderer empties its element without innerHTML, which a page under require-trusted-types-for
// 'script' may not set.
const { readFileSync } = require("node:fs");
const { build } = require("esbuild");

const nothing = "export default function () {}";
const leftOut = {
  "echarts/lib/i18n/langZH.js": "export default {}", // the locale is given as EN, and not shown
  "echarts/lib/theme/dark.js": "export default {}", // colours are the page's
  "echarts/lib/preprocessor/backwardCompat.js": nothing, // options of ECharts 2 to 4
  "echarts/lib/loading/default.js": nothing,
  "echarts/lib/component/tooltip/seriesFormatTooltip.js": "export function defaultSeriesFormatTooltip() {}",
  "echarts/lib/data/helper/transform.js": // transforms of data sets
    "export function registerExternalTransform() {} export function applyDataTransform() {}",
  "echarts/lib/chart/helper/LargeSymbolDraw.js": nothing, // scatter with large: true
  "echarts/lib/chart/heatmap/HeatmapLayer.js": nothing, // heat maps on a geographic map
};
const replaced = {
  "echarts/lib/core/echarts.js": [ // of pictures in SVG, for which the renderer is not here
    ["zr_1.painter.getSvgRoot().innerHTML = content_1;", ""],
  ],
  "zrender/lib/canvas/Painter.js": [
    ["root.innerHTML = '';\n        }\n        this.storage", "root.textContent = '';\n        }\n        this.storage"],
    ["this.root.innerHTML = '';", "this.root.textContent = '';"],
  ],
};

const done = new Set();
const leaner = {
  name: "leaner",
  setup(b) {
    b.onLoad({ filter: /\.js$/ }, ({ path }) => {
      const name = path.split("/node_modules/").pop();
      if (name in leftOut) {
        done.add(name);
        return { contents: leftOut[name] };
      }
      if (name in replaced) {
        done.add(name);
        let contents = readFileSync(path, "utf8");
        for (const [from, to] of replaced[name]) {
          if (contents.split(from).length !== 2) throw new Error(`${name}: not once there: ${from}`);
          contents = contents.replace(from, to);
        }
        return { contents };
      }
    });
  },
};

const [entry, out] = process.argv.slice(2);
build({
  entryPoints: [entry],
  outfile: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  define: { "process.env.NODE_ENV": '"production"' },
  banner: { js: "// Apache ECharts 6.1.0 and zrender, modified: see README.md, LICENSE, NOTICE and LICENSE-zrender beside this file." },
  plugins: [leaner],
}).then(() => {
  for (const name of [...Object.keys(leftOut), ...Object.keys(replaced)]) {
    if (!done.has(name)) throw new Error(`${name} was not met`);
  }
}).catch((err) => {
  console.error(err.message);
  process.exit(1);
});
