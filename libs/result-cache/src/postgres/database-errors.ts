const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT', // no socket file
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  '57P03', // starting up or shutting down
  '53300', // too many connections
  '3D000', // no such database
  '28000', // this role may not connect
  '28P01', // wrong password
]);

/**
 * Whether there is no database to talk to, so that the next statement would fare no better. A connection that was cut
 * is not among these: the pool has another, or opens one, and then we know.
 */
export function isUnreachable(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  if (code !== undefined) return UNREACHABLE.has(code);
  // pg's own time-outs carry no code: waiting for a connection, connecting, waiting for an answer.
  return /\btimeout\b/i.test(message ?? '');
}

/** Whether pg gave up waiting for an answer: the statement may still be running. */
export function isUnanswered(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  return code === undefined && message === 'Query read timeout';
}

/** Whether a table, function or schema is gone. */
export function isMissingObject(error: unknown): boolean {
  return ['42P01', '42883', '3F000'].includes((error as { code?: string }).code ?? '');
}

/** Whether the server understood and refused the data: its encoding, a constraint, a limit. */
export function isRefusedData(error: unknown): boolean {
  return /^(22|23|54)/.test((error as { code?: string }).code ?? '');
}
