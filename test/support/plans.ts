import type pg from 'pg';

/** A node of a plan, as `auto_explain` prints it. */
export interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Actual Rows'?: number;
  'Actual Loops'?: number;
  'Rows Removed by Filter'?: number;
  Plans?: PlanNode[];
}

/** Every node of the plans that ran while `work` did on this connection, also those inside functions. */
export async function plansOf(client: pg.PoolClient, work: () => Promise<unknown>): Promise<PlanNode[]> {
  const nodes: PlanNode[] = [];
  const listen = ({ message }: { message?: string }): void => {
    const plan = /plan:\s*(\{[\s\S]*\})/.exec(message ?? '')?.[1];
    if (plan !== undefined) collect((JSON.parse(plan) as { Plan: PlanNode }).Plan, nodes);
  };
  await client.query(`LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
    SET auto_explain.log_analyze = on; SET auto_explain.log_format = json; SET client_min_messages = log`);
  client.on('notice', listen);
  try {
    await work();
  } finally {
    client.off('notice', listen);
    await client.query('RESET client_min_messages; SET auto_explain.log_min_duration = -1');
  }
  return nodes;
}

function collect(node: PlanNode, into: PlanNode[]): void {
  into.push(node);
  for (const child of node.Plans ?? []) collect(child, into);
}

/** Rows that a node looked at. */
export function rowsRead(node: PlanNode): number {
  return ((node['Actual Rows'] ?? 0) + (node['Rows Removed by Filter'] ?? 0)) * (node['Actual Loops'] ?? 1);
}
