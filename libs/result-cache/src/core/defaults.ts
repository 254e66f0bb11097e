/** Seconds a value lives where nothing else is said. */
export const DEFAULT_TTL = 300;

/** Seconds a value can live at most where nothing else is said. */
export const DEFAULT_MAX_TTL = 86_400;

/** What all keys begin with where nothing else is said. */
export const DEFAULT_PREFIX = 'fraiseql';

/** Seconds a lease lasts where nothing else is said. */
export const DEFAULT_LEASE_TTL = 10;
