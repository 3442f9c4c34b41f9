// What the dashboard draws with: bars, lines, points, heat maps and flows on a canvas. Tooltips,
// legends and descriptions are elements of the page (js/chart.js), so ECharts' own are left out.
import { init, use } from "echarts/core";
import { BarChart, HeatmapChart, LineChart, SankeyChart, ScatterChart } from "echarts/charts";
import { GridSimpleComponent } from "echarts/components";
import { CanvasRenderer } from "echarts/renderers";

use([BarChart, HeatmapChart, LineChart, SankeyChart, ScatterChart, GridSimpleComponent, CanvasRenderer]);

export { init };
