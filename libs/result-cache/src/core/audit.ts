import { type Computation } from './computation.js';

/** For tests: what looks at every computation that has ended, and makes its caller fail if it rejects. */
export const audit: { check: ((computation: Computation) => void) | null } = { check: null };
