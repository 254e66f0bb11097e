import type pg from 'pg';

/**
 * The one question that all strategies answer: how often a customer has paid, and how much. It is an aggregate over some
 * hundred rows of a larger table.
 */
export interface Paid {
  count: number;
  total: number;
}

/** How much there is to ask about. */
export interface Size {
  customers: number;
  salesEach: number;
}

const AGGREGATES = 'count(*)::int AS count, sum(amount)::int AS total';

/** The answer of now, by SQL. */
export async function ask(pool: pg.Pool, table: string, customer: number): Promise<Paid> {
  const text = `SELECT ${AGGREGATES} FROM ${table} WHERE customer_id = $1 AND status = 'paid'`;
  return (await pool.query<Paid>({ name: `ask ${table}`, text, values: [customer] })).rows[0]!;
}

/** The question of all customers at once. */
export function paidByAll(table: string): string {
  return `SELECT customer_id, ${AGGREGATES} FROM ${table} WHERE status = 'paid' GROUP BY customer_id`;
}

/** A table of sales, each customer's spread over all of its pages, as they come in. One in ten is not paid. */
export function createSales(table: string, { customers, salesEach }: Size): string {
  return `
    CREATE TABLE ${table} (id int PRIMARY KEY, customer_id int NOT NULL, status text NOT NULL, amount int NOT NULL);
    INSERT INTO ${table}
    SELECT i, i % ${customers}, CASE WHEN i / ${customers} % 10 = 9 THEN 'open' ELSE 'paid' END, 100 + i % 9900
      FROM generate_series(0, ${customers * salesEach - 1}) i;
    CREATE INDEX ON ${table} (customer_id);`;
}
