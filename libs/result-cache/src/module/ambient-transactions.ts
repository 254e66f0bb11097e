import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { transactionOf, transactions, type OpenTransaction } from '../core/transactions.js';

/** `TransactionHost` of `@nestjs-cls/transactional`, by shape: the package need not be installed. */
interface TransactionHost {
  isTransactionActive(): boolean;
  tx: unknown;
}

/** A TypeORM `DataSource`, whose `manager` is the open transaction's where `typeorm-transactional` is in use. */
interface TransactionalDataSource {
  manager: unknown;
}

/** Finds what the application uses to carry transactions in the async context, so that they are seen without being passed. */
@Injectable()
export class AmbientTransactions implements OnApplicationBootstrap, OnApplicationShutdown {
  private stops: (() => void)[] = [];

  constructor(@Inject(ModulesContainer) private readonly modules: ModulesContainer) {}

  onApplicationBootstrap(): void {
    const found = new Set<object>();
    for (const module of this.modules.values()) {
      for (const { instance, isAlias } of module.providers.values()) {
        if (isAlias || typeof instance !== 'object' || instance === null || found.has(instance)) continue;
        found.add(instance);
        const probe = probeOf(instance);
        if (probe !== undefined) this.stops.push(transactions.watch(probe));
      }
    }
  }

  onApplicationShutdown(): void {
    for (const stop of this.stops.splice(0)) stop();
  }
}

function probeOf(instance: object): (() => OpenTransaction | undefined) | undefined {
  if (
    instance.constructor?.name === 'TransactionHost' &&
    typeof (instance as TransactionHost).isTransactionActive === 'function'
  ) {
    const host = instance as TransactionHost;
    return () => (host.isTransactionActive() ? (transactionOf(host.tx) ?? { queryable: undefined }) : undefined);
  }
  if ('isInitialized' in instance && 'driver' in instance && 'manager' in instance) {
    const dataSource = instance as TransactionalDataSource;
    return () => transactionOf(dataSource.manager);
  }
  return undefined;
}
