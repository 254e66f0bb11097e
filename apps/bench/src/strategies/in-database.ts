import { ask, createSales, paidByAll, type Paid } from './question.js';
import { type Strategy, type Workbench } from './strategy.js';

/** Asking each time, with the index that any such table has. */
export function liveQuery({ pool, plain }: Workbench): Strategy {
  return { name: 'live query', table: plain, read: (customer) => ask(pool, plain, customer) };
}

/** The same with an index of those rows, and those columns, that the question is about. */
export async function partialIndex({ pool, size }: Workbench): Promise<Strategy> {
  const table = 'sales_partial_index';
  await pool.query(createSales(table, size));
  await pool.query(`CREATE INDEX ON ${table} (customer_id) INCLUDE (amount) WHERE status = 'paid'`);
  await pool.query(`VACUUM ANALYZE ${table}`);
  return { name: 'live query, partial covering index', table, read: (customer) => ask(pool, table, customer) };
}

/**
 * The generated column of the text, which counts rows of another table.
 * @returns why PostgreSQL refuses it.
 */
export async function generatedColumnOverRows({ pool, plain }: Workbench): Promise<string> {
  try {
    await pool.query(`CREATE TABLE customers_generated (id int PRIMARY KEY, paid bigint GENERATED ALWAYS AS
      ((SELECT sum(amount) FROM ${plain} WHERE customer_id = id AND status = 'paid')) STORED)`);
  } catch (error) {
    return `PostgreSQL: ${(error as Error).message}`;
  }
  throw new Error('PostgreSQL takes a generated column over other rows now: measure it');
}

/** What can be done in its place: a trigger keeps the totals, and a generated column has the answer made of them. */
export async function totalsByTrigger({ pool, size }: Workbench): Promise<Strategy> {
  const table = 'sales_totals';
  await pool.query(createSales(table, size));
  await pool.query(`
    CREATE TABLE customer_totals (
      customer_id int PRIMARY KEY, count int NOT NULL, total int NOT NULL,
      -- As text: jsonb_build_object() is not immutable, which the expression of a generated column has to be.
      answer text NOT NULL GENERATED ALWAYS AS ('{"count":' || count::text || ',"total":' || total::text || '}') STORED
    );
    INSERT INTO customer_totals ${paidByAll(table)};
    CREATE FUNCTION keep_totals() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO customer_totals AS totals (customer_id, count, total)
        SELECT customer_id, sum(sales), sum(amount)
          FROM (SELECT OLD.customer_id, -1 AS sales, -OLD.amount AS amount WHERE TG_OP <> 'INSERT' AND OLD.status = 'paid'
                UNION ALL
                SELECT NEW.customer_id, 1, NEW.amount WHERE TG_OP <> 'DELETE' AND NEW.status = 'paid') AS changes
         GROUP BY customer_id
         ORDER BY customer_id
        ON CONFLICT (customer_id) DO UPDATE
          SET count = totals.count + EXCLUDED.count, total = totals.total + EXCLUDED.total;
        RETURN NULL;
      END $$;
    CREATE TRIGGER keep_totals AFTER INSERT OR UPDATE OR DELETE ON ${table} FOR EACH ROW EXECUTE FUNCTION keep_totals();`);
  await pool.query(`VACUUM ANALYZE ${table}`);
  await pool.query('VACUUM ANALYZE customer_totals');
  const text = 'SELECT answer FROM customer_totals WHERE customer_id = $1';
  return {
    name: 'totals kept by a trigger, generated column',
    table,
    read: async (customer) =>
      JSON.parse((await pool.query({ name: 'totals', text, values: [customer] })).rows[0].answer) as Paid,
  };
}

/** Two of them: one that a timer refreshes, which does not run out here, and one that each writer refreshes. */
export async function materializedViews({ pool, plain }: Workbench): Promise<Strategy[]> {
  const views = { timer: 'paid_by_timer', writer: 'paid_by_writers' };
  for (const view of Object.values(views))
    await pool.query(`
      CREATE MATERIALIZED VIEW ${view} AS ${paidByAll(plain)};
      CREATE UNIQUE INDEX ON ${view} (customer_id);`);
  const read = async (view: string, customer: number): Promise<Paid> => {
    const text = `SELECT count, total FROM ${view} WHERE customer_id = $1`;
    return (await pool.query<Paid>({ name: view, text, values: [customer] })).rows[0]!;
  };
  return [
    {
      name: 'materialized view, refreshed by a timer',
      table: plain,
      read: (customer) => read(views.timer, customer),
    },
    {
      name: 'materialized view, refreshed by each writer',
      table: plain,
      read: (customer) => read(views.writer, customer),
      afterWrite: () => pool.query(`REFRESH MATERIALIZED VIEW CONCURRENTLY ${views.writer}`),
    },
  ];
}
