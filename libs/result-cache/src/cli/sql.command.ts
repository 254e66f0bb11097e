import { Command, InvalidArgumentError } from 'commander';
import { CacheConfigurationError } from '../core/errors.js';
import { ttlToMs } from '../core/duration.js';
import { entityTables } from '../entities/entity-tables.js';
import { domainOf } from '../postgres/domain-of.js';
import { installScript } from '../postgres/install-script.js';
import { type RowLevelSecurity } from '../postgres/postgres-cache-options.js';
import { type WatchedTable } from '../postgres/watched-table.js';
import { loadDataSource } from './data-source.js';

interface SqlOptions {
  watch: WatchedTable[];
  dataSource?: string;
  tenantColumn?: string;
  role?: string;
  tableName?: string;
  partitions?: number;
  maxTtl?: number;
  rowLevelSecurity?: boolean | RowLevelSecurity;
}

/** Prints the SQL that installs the cache: for a migration, where the application's role may create nothing. */
export function sqlCommand(print: (text: string) => void): Command {
  return new Command('sql')
    .description('print the SQL that installs the cache and its triggers: npx result-cache sql > migration.sql')
    .option(
      '--watch <table[:domain[:tenant_column]]>',
      'a table to watch, as in users:user:tenant_id; may be repeated',
      (text: string, tables: WatchedTable[]) => [...tables, watchedTable(text)],
      [] as WatchedTable[],
    )
    .option('--data-source <file>', 'a module that exports a TypeORM DataSource, all of whose entities are watched')
    .option('--tenant-column <name>', 'the property or column of the entities that says whose row it is')
    .option('--role <name>', 'the role that the application connects as')
    .option('--table-name <name>', 'the table of the entries, as in CacheModule.forRoot({ tableName })')
    .option('--partitions <count>', 'partitions of that table', wholeNumber)
    .option(
      '--row-level-security [setting]',
      'lock that table: other roles than its owner see the rows of the tenant in this setting (app.current_tenant_id)',
      (setting: string) => ({ setting }),
    )
    .option('--max-ttl <ttl>', 'the longest TTL, in seconds or as text: 12h', seconds)
    .action(async ({ watch, dataSource, tenantColumn, ...options }: SqlOptions) => {
      if (tenantColumn !== undefined && dataSource === undefined)
        throw new CacheConfigurationError(
          '--tenant-column is for the entities of a --data-source; in --watch it is the third part: users:user:tenant_id',
        );
      const found =
        dataSource === undefined
          ? []
          : entityTables(await loadDataSource(dataSource), { watch: 'all', tenantColumn }, '--data-source');
      print(installScript({ ...options, watch: [...watch, ...found] }));
    });
}

function watchedTable(text: string): WatchedTable {
  const [table, domain, tenantColumn, ...rest] = text.split(':');
  if (!table || rest.length > 0 || domain === '' || tenantColumn === '')
    throw new InvalidArgumentError('Write it as users, users:user or users:user:tenant_id.');
  const name = table.split('.').at(-1)!.replace(/^"|"$/g, '');
  return { table, domain: domain ?? domainOf(name), tenantColumn };
}

function wholeNumber(text: string): number {
  if (!/^\d{1,4}$/.test(text) || Number(text) > 1_024) throw new InvalidArgumentError('Write a number from 0 to 1024.');
  return Number(text);
}

function seconds(text: string): number {
  try {
    return ttlToMs(/^\d+$/.test(text) ? Number(text) : text, '--max-ttl') / 1000;
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
