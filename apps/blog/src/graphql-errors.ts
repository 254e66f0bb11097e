import { unwrapResolverError } from '@apollo/server/errors';
import { HttpException, Logger } from '@nestjs/common';
import { type GraphQLFormattedError } from 'graphql';

const CODES: Record<number, string> = { 400: 'BAD_USER_INPUT', 403: 'FORBIDDEN', 404: 'NOT_FOUND', 409: 'CONFLICT' };
const logger = new Logger('GraphQL');

/** The caller's mistakes go out in full, with a code to switch on. Ours go to the log: they may quote SQL or rows. */
export function formatGraphqlError(formatted: GraphQLFormattedError, error: unknown): GraphQLFormattedError {
  const original = unwrapResolverError(error);
  const { locations, path } = formatted;
  const code = original instanceof HttpException ? CODES[original.getStatus()] : undefined;
  if (original instanceof HttpException && code !== undefined) {
    return { message: original.message, locations, path, extensions: { code } };
  }
  if (formatted.extensions?.['code'] !== 'INTERNAL_SERVER_ERROR') return formatted;
  logger.error(original);
  return { message: 'internal server error', locations, path, extensions: { code: 'INTERNAL_SERVER_ERROR' } };
}
