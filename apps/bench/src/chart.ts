import { init } from 'echarts';
import { type Table } from './report.js';

const ROW = 26;
const OWN = /^nestjs-result-cache|^this library|^@CacheResult/;
// Readable on a white page and on a black one.
const COLOURS = { own: '#2f81f7', other: '#8b949e', text: '#7d8590', line: '#8b949e55' };

/** A bar per contender, on a logarithmic axis: what is compared are ratios. `null` where there is nothing to compare. */
export function chart({ title, unit, rows }: Table): string | null {
  const measured = rows.filter(({ median }) => median !== null && median > 0).reverse();
  if (measured.length < 2) return null;
  const least = Math.min(...measured.map(({ median }) => median!));
  const height = measured.length * ROW + 70;
  const drawing = init(null, null, { renderer: 'svg', ssr: true, width: 860, height });
  drawing.setOption({
    animation: false,
    title: { text: `${title} (${unit})`, textStyle: { color: COLOURS.text, fontSize: 14 } },
    grid: { left: 330, right: 80, top: 34, bottom: 30 },
    xAxis: {
      type: 'log',
      min: 10 ** Math.floor(Math.log10(least) - 0.3),
      axisLabel: {
        color: COLOURS.text,
        formatter: (value: number) => value.toLocaleString('en-US', { notation: 'compact' }),
      },
      splitLine: { lineStyle: { color: COLOURS.line } },
    },
    yAxis: {
      type: 'category',
      data: measured.map(({ name }) => name),
      axisLabel: { color: COLOURS.text, width: 310, overflow: 'truncate' },
      axisTick: { show: false },
      axisLine: { lineStyle: { color: COLOURS.line } },
    },
    series: [
      {
        type: 'bar',
        data: measured.map(({ name, median }) => ({
          value: median!,
          itemStyle: { color: OWN.test(name) ? COLOURS.own : COLOURS.other },
        })),
        label: {
          show: true,
          position: 'right',
          color: COLOURS.text,
          formatter: ({ value }: { value: unknown }) =>
            Number(value).toLocaleString('en-US', { maximumFractionDigits: 2 }),
        },
      },
    ],
    aria: { enabled: true, label: { description: `${title}, in ${unit}` } },
  });
  const svg = drawing.renderToSVGString();
  drawing.dispose();
  return `${svg}\n`;
}
