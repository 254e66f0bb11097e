/** A ratio that is claimed: measured in one run, side by side. */
export interface Target {
  what: string;
  goal: number;
  /** `null` where what it is measured against was not there. */
  measured: number | null;
  /** Whether more is better. */
  atLeast: boolean;
}

/** `null` where it was not measured. */
export function met({ goal, measured, atLeast }: Target): boolean | null {
  if (measured === null) return null;
  return atLeast ? measured >= goal : measured <= goal;
}
