import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import pg from 'pg';
import { observeStatements, type PgClasses } from '../postgres/inference/index.js';

/** For `domains: 'infer'`: finds the DataSources that bring a copy of `pg` of their own, whose statements nobody would see. */
@Injectable()
export class ObservedDataSources implements OnApplicationBootstrap {
  constructor(@Inject(ModulesContainer) private readonly modules: ModulesContainer) {}

  onApplicationBootstrap(): void {
    for (const module of this.modules.values())
      for (const { instance, isAlias } of module.providers.values()) {
        if (isAlias || typeof instance !== 'object' || instance === null) continue;
        if (!('isInitialized' in instance) || !('driver' in instance)) continue;
        const { postgres } = instance.driver as { postgres?: PgClasses };
        if (postgres?.Client === undefined || postgres.Client === (pg.Client as unknown)) continue;
        observeStatements(postgres);
      }
  }
}
