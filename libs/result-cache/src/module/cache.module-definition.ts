import { ConfigurableModuleBuilder } from '@nestjs/common';
import { type CacheModuleOptions } from './options.js';

/** Extras of `forRoot` and `forRootAsync` beside the options. */
export interface CacheModuleExtras {
  /** Whether other modules see the cache without importing this one. Default `true`, so that decorators find it everywhere. */
  isGlobal?: boolean;
}

export const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN, ASYNC_OPTIONS_TYPE, OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<CacheModuleOptions>()
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createCacheOptions')
    .setExtras<CacheModuleExtras>({ isGlobal: true }, (definition, { isGlobal }) => ({
      ...definition,
      global: isGlobal,
    }))
    .build();

/** Options of `CacheModule.forRootAsync`: one of `useFactory` (with `inject`), `useClass` and `useExisting`; `imports`, `isGlobal`. */
export type CacheModuleAsyncOptions = typeof ASYNC_OPTIONS_TYPE;
