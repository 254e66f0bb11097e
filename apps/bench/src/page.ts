import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { chart } from './chart.js';
import { type Results, type Row, type Table } from './report.js';
import { type Target } from './targets.js';

const BEGIN = '<!-- measured: written by `npm run bench -- --page` -->';
const END = '<!-- end of what was measured -->';

/** Replace what `docs/benchmarks.md` says was measured, and its charts; what is written there by hand stays. */
export async function writePage(results: Results, docs: string): Promise<void> {
  const page = join(docs, 'benchmarks.md');
  const text = readFileSync(page, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${page} has no place for what was measured: ${BEGIN} … ${END}`);
  const charts = join(docs, 'benchmarks');
  rmSync(charts, { recursive: true, force: true });
  mkdirSync(charts);
  const sections = results.tables.map((table) => {
    const svg = chart(table);
    const file = `${table.title.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.svg`;
    if (svg !== null) writeFileSync(join(charts, file), svg);
    const image = svg === null ? '' : `\n![${table.title}, in ${table.unit}](benchmarks/${file})\n`;
    return `### ${table.title}\n${image}\n${tableOf(table)}\n`;
  });
  const { cores, node } = results.machine;
  const measured = [
    `Measured on a machine with ${cores} cores, Node ${node}${results.quick ? ', with `--quick`' : ''}.\n`,
    `${targetsOf(results.targets)}\n`,
    ...sections,
  ];
  const written = `${text.slice(0, begin)}${BEGIN}\n\n${measured.join('\n')}\n${text.slice(end)}`;
  writeFileSync(page, await format(written, { ...(await resolveConfig(page)), parser: 'markdown' }));
}

function targetsOf(targets: Results['targets']): string {
  const verdict = ({ met }: { met: boolean | null }): string => (met === null ? '–' : met ? 'met' : '**missed**');
  const measured = ({ measured }: Target): string => (measured === null ? 'not measured' : measured.toFixed(2));
  return markdown(
    ['goal', 'measured', '', 'what'],
    targets.map((target) => [
      `${target.atLeast ? '≥' : '≤'} ${target.goal}`,
      measured(target),
      verdict(target),
      target.what,
    ]),
  );
}

function tableOf({ unit, rows }: Table): string {
  const further = [...new Set(rows.flatMap(({ columns }) => Object.keys(columns ?? {})))];
  const spread = ({ low, high }: Row): string => (low === undefined ? '' : `${figure(low)}–${figure(high!)}`);
  const hasSpread = rows.some(({ low }) => low !== undefined);
  return markdown(
    ['', unit, ...(hasSpread ? ['lowest–highest'] : []), ...further],
    rows.map((row) => [
      row.name,
      row.median === null ? `not measured: ${row.why ?? ''}` : figure(row.median),
      ...(hasSpread ? [spread(row)] : []),
      ...further.map((column) => (row.columns?.[column] === undefined ? '' : figure(row.columns[column]))),
    ]),
  );
}

function figure(value: number): string {
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
