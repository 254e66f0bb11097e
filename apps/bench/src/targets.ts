/** A ratio that is claimed: measured in one run, side by side. */
export interface Target {
  what: string;
  goal: number;
  measured: number;
  /** Whether more is better. */
  atLeast: boolean;
}

export function met({ goal, measured, atLeast }: Target): boolean {
  return atLeast ? measured >= goal : measured <= goal;
}

export function printTargets(targets: readonly Target[]): void {
  for (const target of targets) {
    const sign = target.atLeast ? '≥' : '≤';
    console.log(
      `${met(target) ? 'met   ' : 'MISSED'}  ${target.measured.toFixed(2).padStart(8)}  ${sign} ${String(target.goal).padEnd(6)} ${target.what}`,
    );
  }
}
