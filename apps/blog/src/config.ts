/** How this process was asked to run. */
export interface Config {
  /** TCP port; 0 lets the system choose. */
  port: number;
  /** A database to use instead of an embedded server. */
  databaseUrl: string | undefined;
  /** How much to seed, as a share of the full blog. */
  scale: number;
}

/** An environment variable cannot be used; the message is one line that says what to write. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * Read `PORT` (default 3000), `DATABASE_URL` and `BLOG_SCALE` (default 1).
 *
 * @throws ConfigError
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  // A variable set to nothing counts as not set: that is how shells and compose files leave one out.
  const port = environment['PORT'] || '3000';
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new ConfigError(`PORT: ${JSON.stringify(port)} is not a port; write a whole number from 0 to 65535`);
  }
  const scale = environment['BLOG_SCALE'] || '1';
  if (!/^\d*\.?\d+$/.test(scale) || Number(scale) <= 0 || Number(scale) > 100) {
    throw new ConfigError(
      `BLOG_SCALE: ${JSON.stringify(scale)} is not a scale; write a number above 0 and up to 100, like 0.01`,
    );
  }
  return { port: Number(port), databaseUrl: environment['DATABASE_URL'] || undefined, scale: Number(scale) };
}
