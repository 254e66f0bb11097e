import { type INestApplication, Injectable, type LoggerService, type ModuleMetadata } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  CacheModule,
  type CacheModuleOptions,
  CacheResult,
  CacheService,
  InvalidatesDomain,
} from 'nestjs-result-cache';

/** A service whose answers tell whether they were computed. */
@Injectable()
export class Names {
  calls = 0;

  @CacheResult({ domains: ['user'] })
  async names(): Promise<number> {
    return ++this.calls;
  }

  @InvalidatesDomain('user')
  async rename(): Promise<string> {
    return 'done';
  }
}

export interface TestApplication {
  app: INestApplication;
  names: Names;
  cache: CacheService;
  /** Every line of level warn or above. */
  warnings: string[];
  /** Call {@link Names.names} until it is served from the cache; the first may be refused while an older transaction of the server runs. */
  cached(): Promise<void>;
}

const started: INestApplication[] = [];

/** Close what {@link startApplication} started. */
export async function closeApplications(): Promise<void> {
  for (const app of started.splice(0)) await app.close();
}

/** A real Nest application with a cache, its log captured. */
export async function startApplication(
  options: Partial<CacheModuleOptions>,
  imports: NonNullable<ModuleMetadata['imports']> = [],
): Promise<TestApplication> {
  const warnings: string[] = [];
  const warn = (message: unknown): void => void warnings.push(String(message));
  const logger: LoggerService = { log: () => undefined, warn, error: warn, fatal: warn };
  const module = await Test.createTestingModule({
    imports: [
      ...imports,
      // What is a hit must not depend on how busy the machine is.
      CacheModule.forRoot({
        tenancy: 'off',
        purgeInterval: false,
        timeout: Infinity,
        ...options,
      } as CacheModuleOptions),
    ],
    providers: [Names],
  })
    .setLogger(logger)
    .compile();
  const app = module.createNestApplication();
  started.push(app);
  await app.init();
  const names = app.get(Names);
  const cache = app.get(CacheService);
  const cached = async (): Promise<void> => {
    // A store that was turned away from is back when its probe says so, which nobody waits for.
    for (const end = Date.now() + 20_000; Date.now() < end; await new Promise(setImmediate)) {
      const { calls } = names;
      await names.names();
      if (names.calls === calls) return;
      await cache.engine.drain();
    }
    throw new Error(`nothing is ever cached: ${warnings.join('\n')}`);
  };
  return { app, names, cache, warnings, cached };
}
