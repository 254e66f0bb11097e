import { type Random } from '../checks/random.js';

export interface Statement {
  text: string;
  values: unknown[];
}

const INTEGERS = ['id', 'x', 'n'];
const TEXTS = ['t', 'label'];

/** A statement over the tables a, b, c and d, each with the columns id, t, label, x and n. Not each is accepted. */
export function randomStatement(random: Random): Statement {
  const writer = new Writer(random);
  return { text: writer.statement(), values: writer.values };
}

class Writer {
  readonly values: unknown[] = [];
  private readonly kinds: ('integer' | 'text')[] = [];
  private aliases = 0;
  private depth = 0;
  private readonly common: string[] = [];

  constructor(private readonly random: Random) {}

  statement(): string {
    const { random } = this;
    if (random.chance(0.12)) {
      const recursive = random.chance(0.4);
      const body = recursive
        ? `SELECT id, t, label, x, n FROM ${this.table()} z WHERE ${this.condition(['z'])} UNION SELECT y.id, y.t, y.label, y.x, y.n FROM ${this.table()} y JOIN w ON w.x = y.id AND ${this.condition(['y', 'w'])}`
        : this.columns();
      this.common.push('w');
      return `WITH ${recursive ? 'RECURSIVE ' : ''}w (id, t, label, x, n) AS ${random.pick(recursive ? [''] : ['', 'MATERIALIZED ', 'NOT MATERIALIZED '])}(${body}) ${this.select()}`;
    }
    if (random.chance(0.12))
      return `${this.columns()} ${random.pick(['UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT', 'EXCEPT ALL'])} ${this.columns()}`;
    return this.select();
  }

  private select(): string {
    const { random } = this;
    const scope: string[] = [];
    const from = this.from(scope, []);
    const where = this.where(scope);
    const one = (): string => `${random.pick(scope)}.${random.pick([...INTEGERS, ...TEXTS])}`;
    const body = `FROM ${from}${where}`;
    return random.pick([
      () => `SELECT ${one()}, ${one()}, ${one()} ${body}`,
      () => `SELECT * ${body}`,
      () => `SELECT count(*), sum(${random.pick(scope)}.n) ${body}`,
      () => `SELECT count(*) FILTER (WHERE ${this.condition(scope)}), max(${one()}) ${body}`,
      () => {
        const by = one();
        return `SELECT ${by}, count(*) ${body} GROUP BY ${by}${random.chance(0.5) ? ` HAVING count(*) > 1 OR ${by} IS NULL` : ''}`;
      },
      () => {
        const [g, h] = [one(), one()];
        return `SELECT ${g}, ${h}, count(*) ${body} GROUP BY ${random.pick([`GROUPING SETS ((${g}), (${h}), ())`, `ROLLUP (${g}, ${h})`, `CUBE (${g}, ${h})`])}`;
      },
      () => {
        const by = one();
        return `SELECT DISTINCT ON (${by}) ${by}, ${scope.map((each) => `${each}.id`).join(', ')} ${body} ORDER BY ${by}, ${scope.map((each) => `${each}.id`).join(', ')}`;
      },
      () =>
        `SELECT ${scope.map((each) => `${each}.id`).join(', ')}, ${one()} ${body} ORDER BY ${scope.map((each) => `${each}.id`).join(', ')}, ${scope.length + 1} LIMIT ${random.below(3) + 1} OFFSET ${random.below(2)}`,
      () => `SELECT ${one()}, rank() OVER (PARTITION BY ${one()} ORDER BY ${one()}), count(*) OVER () ${body}`,
      () => `SELECT (SELECT count(*) FROM (${this.columns(scope)}) s), ${one()} ${body}`,
      () => `SELECT ${random.pick(scope)}, ${this.condition(scope)} ${body}`,
    ])();
  }

  /** A sub-select with the columns of a table. */
  private columns(outer: readonly string[] = []): string {
    this.depth++;
    const scope: string[] = [];
    const from = this.from(scope, outer);
    const main = this.random.pick(scope);
    const where = this.where([...scope, ...(this.random.chance(0.4) ? outer : [])], scope);
    this.depth--;
    const limit = this.random.chance(0.1) ? ` ORDER BY 1, 2, 3, 4, 5 LIMIT 2` : '';
    const text = `SELECT ${main}.id, ${main}.t, ${main}.label, ${main}.x, ${main}.n FROM ${from}${where}${limit}`;
    return limit === '' ? text : `(${text})`;
  }

  private from(scope: string[], outer: readonly string[]): string {
    const { random } = this;
    let text = this.item(scope, outer);
    for (let more = random.pick(this.depth > 0 ? [0, 0, 1] : [0, 0, 1, 1, 2, 3]); more > 0; more--) {
      if (random.chance(0.15)) {
        text = `${text}, ${random.chance(0.3) ? `LATERAL (${this.columns([...scope])}) ${this.alias(scope)}` : this.item(scope, outer)}`;
        continue;
      }
      // A comma binds less than JOIN: what is left of it is not visible in ON.
      const visible = text.includes(',') ? [] : [...scope];
      const type = random.pick(['JOIN', 'LEFT JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN', 'JOIN']);
      if (random.chance(0.1)) {
        text = `${text} ${random.pick(['JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN', 'CROSS JOIN'])} ${this.item(scope, outer)}`;
        if (!text.includes('CROSS JOIN')) text += ` USING (${random.pick(['t', 'x', 't, x', 'n'])})`;
        continue;
      }
      const right: string[] = [];
      const item =
        random.chance(0.25) && this.depth < 2
          ? `(${this.joined(right)})`
          : random.chance(0.1) && /^(LEFT )?JOIN$/.test(type)
            ? `LATERAL (${this.columns(visible)}) ${this.alias(right)}`
            : this.item(right, outer);
      scope.push(...right);
      const both = [...(visible.length > 0 ? visible : right), ...right];
      const on = `${this.narrowing(both, 0.3)}${this.condition(both, type === 'FULL JOIN')}`;
      text = `${text} ${type} ${item} ON ${on}`;
      if (random.chance(0.1)) text = text.includes(',') ? text : `(${text})`;
    }
    return text;
  }

  private joined(scope: string[]): string {
    const left = this.item(scope, []);
    const right = this.item(scope, []);
    return `${left} ${this.random.pick(['JOIN', 'LEFT JOIN', 'RIGHT JOIN'])} ${right} ON ${this.narrowing(scope, 0.3)}${this.condition([...scope])}`;
  }

  private item(scope: string[], outer: readonly string[]): string {
    if (this.random.chance(0.12) && this.depth < 2) {
      const inner = this.columns(outer.length > 0 && this.random.chance(0) ? outer : []);
      return `(${inner}) ${this.alias(scope)}`;
    }
    return `${this.table()} ${this.alias(scope)}`;
  }

  private table(): string {
    return this.random.pick(['a', 'b', 'c', 'd', 'a', 'b', ...this.common, ...this.common]);
  }

  private alias(scope: string[]): string {
    const name = `s${this.aliases++}`;
    scope.push(name);
    return name;
  }

  private where(scope: readonly string[], own: readonly string[] = scope): string {
    const { random } = this;
    if (random.chance(0.1)) return '';
    const narrowing = this.narrowing(own, 0.4);
    if (narrowing !== '' && random.chance(0.4)) return ` WHERE ${narrowing}true`;
    return ` WHERE ${narrowing}${this.condition(scope)}`;
  }

  /** What may tell which rows are read: equalities with parameters, and between tables. */
  private narrowing(scope: readonly string[], chance: number): string {
    const { random } = this;
    return scope
      .filter(() => random.chance(chance))
      .map((each) => {
        const column = random.pick(['t', 't', 't', 'x', 'id', 'label']);
        const isText = column === 't' || column === 'label';
        const other = random.chance(0.35)
          ? `${random.pick(scope)}.${column}`
          : this.parameter(isText ? 'text' : 'integer');
        return `${each}.${column} = ${other} AND `;
      })
      .join('');
  }

  private condition(scope: readonly string[], isHashable = false): string {
    const { random } = this;
    const simple = (): string => {
      const kind = random.pick(['integer', 'text'] as const);
      const columns = kind === 'integer' ? INTEGERS : TEXTS;
      const one = `${random.pick(scope)}.${random.pick(columns)}`;
      const other = `${random.pick(scope)}.${random.pick(columns)}`;
      const choices = [
        () => `${one} = ${other}`,
        () => `${one} = ${other}`,
        () => `${one} = ${this.parameter(kind)}`,
        () => `${this.parameter(kind)} = ${one}`,
        () => `${one} = ${kind === 'integer' ? random.below(5) : "'p'"}`,
        () => `${one} <> ${this.parameter(kind)}`,
        () => `${one} IS NOT DISTINCT FROM ${this.parameter(kind)}`,
        () => `${one} IN (${this.parameter(kind)}, ${this.parameter(kind)})`,
        () => `coalesce(${one}, ${this.parameter(kind)}) = ${this.parameter(kind)}`,
        () => `(${one} = ${this.parameter(kind)}) IS NOT FALSE`,
        () => `(${one}, ${other}) = (${this.parameter(kind)}, ${this.parameter(kind)})`,
        () => `CASE WHEN ${one} = ${this.parameter(kind)} THEN true ELSE ${other} IS NULL END`,
        () => `${one} IS NULL`,
        () => (kind === 'integer' ? `${one} > ${other}` : `lower(${one}) = ${this.parameter(kind)}`),
        () => (kind === 'text' ? `${one}::varchar = ${this.parameter(kind)}` : `${one}::bigint = ${other}`),
        () => `${one} = NULLIF(${this.parameter(kind)}, ${other})`,
        () => `${this.parameter(kind)} = ${this.parameter(kind)}`,
      ];
      if (this.depth < 2 && random.chance(0.12) && !isHashable)
        return random.pick([
          () => `${random.pick(scope)}.x IN (SELECT v.id FROM (${this.columns(scope)}) v)`,
          () => `EXISTS (${this.columns(scope)})`,
          () => `NOT EXISTS (${this.columns(scope)})`,
          () => `${random.pick(scope)}.n = (SELECT max(v.n) FROM (${this.columns(scope)}) v)`,
        ])();
      return random.pick(choices)();
    };
    if (!isHashable && random.chance(0.5)) return 'true';
    let text = simple();
    while (random.chance(0.45))
      text = random.pick([
        () => `${text} AND ${simple()}`,
        () => `${text} AND ${simple()}`,
        () => `(${text} OR ${simple()})`,
        () => `NOT (${text})`,
        () => `(${simple()} AND ${text})`,
      ])();
    return isHashable ? `${random.pick(scope)}.x = ${scope.at(-1)!}.x AND ${text}` : text;
  }

  private parameter(kind: 'integer' | 'text'): string {
    const { random } = this;
    const same = this.kinds.flatMap((each, index) => (each === kind ? [index + 1] : []));
    if (same.length > 0 && random.chance(0.6)) return `$${random.pick(same)}`;
    this.kinds.push(kind);
    this.values.push(
      kind === 'integer'
        ? random.pick([1, 2, 3, 4, '2', ' 3 ', '01', '+1', null, 2n])
        : random.pick(['p', 'q', 'r', 'p', 'q', '1', 1, 'P', 'p ', null, '*']),
    );
    return `$${this.kinds.length}`;
  }
}
