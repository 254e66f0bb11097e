import { CacheConfigurationError } from '../core/errors.js';
import { type CacheModuleAsyncOptions, type CacheModuleExtras } from './cache.module-definition.js';

const SOURCES = ['useFactory', 'useClass', 'useExisting'] as const;
export const ASYNC_KEYS: readonly string[] = [
  ...SOURCES,
  'inject',
  'imports',
  'isGlobal',
  'provideInjectionTokensFrom',
];

/**
 * What Nest itself would take without a word, or answer with a riddle.
 * @throws CacheConfigurationError
 */
export function checkAsyncOptions(options: CacheModuleAsyncOptions): void {
  const where = 'CacheModule.forRootAsync';
  const remedy =
    "write useFactory: (config: ConfigService) => ({ connection: config.get('DATABASE_URL'), tenancy: 'off' }), inject: [ConfigService]; or useClass or useExisting with a CacheOptionsFactory";
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(`${where}() needs a source of options; ${remedy}`);
  const unknown = Object.keys(options).find((key) => !ASYNC_KEYS.includes(key));
  if (unknown !== undefined)
    throw new CacheConfigurationError(
      `${where}: there is no option '${unknown}' here; what the source returns holds it; ${remedy}`,
    );
  const given = SOURCES.filter((source) => options[source] !== undefined);
  if (given.length !== 1)
    throw new CacheConfigurationError(
      `${where}: ${given.length === 0 ? 'there is no source of options' : `${given.join(' and ')} are two sources of options`}; ${remedy}`,
    );
  const [source] = given;
  if (typeof options[source!] !== 'function' && source !== 'useExisting')
    throw new CacheConfigurationError(
      `${where}: ${source} is no ${source === 'useClass' ? 'class' : 'function'}; ${remedy}`,
    );
}

/** @throws CacheConfigurationError */
export function checkExtras({ isGlobal }: CacheModuleExtras, where: string): CacheModuleExtras {
  if (isGlobal !== undefined && typeof isGlobal !== 'boolean')
    throw new CacheConfigurationError(
      `${where}: isGlobal is neither true nor false; write isGlobal: false, or leave it out`,
    );
  return isGlobal === undefined ? {} : { isGlobal };
}
