import { type Environment } from './environment.js';
import { type Report } from './report.js';

/** What every part is given. */
export interface Bench {
  environment: Environment;
  report: Report;
  /** Counted rounds of each contender, and how long each takes. */
  rounds: number;
  ms: number;
  quick: boolean;
}
