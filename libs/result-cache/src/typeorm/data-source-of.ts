import { type DataSource } from 'typeorm';

/** The DataSource of a manager, query builder or metadata. Older TypeORM calls it the connection. */
export function dataSourceOf(owner: { readonly dataSource?: DataSource }): DataSource {
  return owner.dataSource ?? (owner as unknown as { connection: DataSource }).connection;
}

/** Whether it reads from replicas, which may be behind. */
export function isReplicated({ options }: DataSource): boolean {
  return 'replication' in options && options.replication !== undefined;
}
