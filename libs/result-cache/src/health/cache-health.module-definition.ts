import { ConfigurableModuleBuilder } from '@nestjs/common';
import { type CacheHealthOptions } from './health-options.js';

export const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN: CACHE_HEALTH_OPTIONS } =
  new ConfigurableModuleBuilder<CacheHealthOptions>({ moduleName: 'CacheHealth' })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createCacheHealthOptions')
    .build();
